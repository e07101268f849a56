//! The program on files: no server needed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod backtest;
mod cli;
mod coverage;
mod damage;
mod decisions;
mod demo;
mod drift;
mod field;
mod grown;
mod huge;
mod lying;
mod tidy;

use phiwatch_testkit::Program;

/// The program under test.
pub(crate) fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_phiwatch"))
}

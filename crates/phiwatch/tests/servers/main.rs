//! The program on real servers: MySQL, MariaDB and Kafka of deploy/dev/up.sh.
//!
//! Runs with `--test-threads=1`: the tests share the servers' binlogs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod canary;
mod cascade;
mod crash;
mod disk_full;
mod durable;
mod gate;
mod kafka_away;
mod live;
mod migration;
mod names;
mod names_again;
mod notices;
mod operator;
mod own;
mod reload;
mod reset;
mod row_image;
mod shop;
mod topic;
mod values;
mod xa;

use phiwatch_testkit::Program;

/// The program under test.
pub(crate) fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_phiwatch"))
}

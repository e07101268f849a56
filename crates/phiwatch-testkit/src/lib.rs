//! Test support: the built program as a process, real servers, damaged binlogs, tidy checks.
//!
//! Development only. Everything here panics with a sentence that says what is wrong and what to do
//! next: a test that cannot run fails, it is never skipped.
//!
//! # Invariants
//! - Nothing here is part of the program, and nothing links the program's crates: what is checked
//!   is what an operator sees.
//! - Randomness comes from a seed that the failing test prints.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test support: a panic is how a test fails"
)]

pub mod binlog;
pub mod certificate;
pub mod free_text;
pub mod http;
pub mod identifiers;
pub mod liar;
pub mod months;
pub mod ocsf;
pub mod own;
pub mod program;
pub mod random;
pub mod repository;
pub mod servers;

pub use program::{Daemon, Finished, Program};
pub use random::Random;
pub use servers::{Incident, Server};

//! The decoder against recorded binlogs of real servers, and against damage of any kind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::string_slice,
    unreachable_pub,
    reason = "tests: a panic is how they fail"
)]

mod build;
mod damage;
mod field;
mod files;
mod fuzz;
mod large;
mod oracle;
mod partial;
mod projection;
mod rows;
mod transactions;

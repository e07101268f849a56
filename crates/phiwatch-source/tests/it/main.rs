//! Files and made-up servers: no service needed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests; small numbers"
)]

mod build;
mod files;
mod lying;

//! The engine over made-up transactions.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "small made-up numbers, and tables of cases"
)]

mod access;
mod checkpoint;
mod eight_weeks;
mod findings;
mod noise;
mod phi;
mod retention;
mod rules;
mod shadows;
mod shop;
mod traffic;
mod trails;
mod volume;

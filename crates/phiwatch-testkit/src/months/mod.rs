//! Months of a multi-tenant shop, simulated: what each tenant's people and jobs write, with labels.
//!
//! [`model`] makes the counts of every 5-minute bin (season, noise, jobs, hard negatives, attacks);
//! [`people`] says who is written in a bin, transaction by transaction. Both follow from a seed, bin
//! by bin, so that a run can begin anywhere and an attacked run has the same noise as the one beside
//! it without the attack.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts drawn from distributions over positive numbers"
)]

pub mod attack;
pub mod binlog;
pub mod model;
pub mod people;

/// Length of a bin, seconds.
pub const BIN_SECS: i64 = 300;
/// Bins of an hour.
pub const HOUR: usize = 12;
/// Bins of a day.
pub const DAY: usize = 24 * HOUR;
/// Bins of a week.
pub const WEEK: usize = 7 * DAY;
/// Begin of every simulation: Monday 2026-01-05 00:00:00 UTC.
pub const EPOCH: i64 = 1_767_571_200;

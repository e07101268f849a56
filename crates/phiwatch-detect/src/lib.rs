//! Observations to alerts.
//!
//! Input: transactions and their observations, in binlog order ([`Engine`]). Output: [`Alert`]s.
//! Times in µs since 1970 UTC (event time); counts in rows or distinct persons.
//!
//! # Invariants
//! - A deterministic function of (state, events): no clock, no randomness, no hash order. Restart
//!   from a checkpoint at any transaction's end gives the same alerts.
//! - Alerts are decided at commits, never by waiting; time passes by event time alone.
//! - No token and no column value in an alert.

mod alert;
mod engine;
mod finding;
mod info;
mod marks;
mod notice;
mod own;
mod persons;
mod rules;
mod settings;
mod signs;
mod state;
mod stats;
mod summary;
mod volume;

pub use alert::{
    Activity, Alert, Analysis, Attack, Confidence, Evidence, EvidenceTables, RuleId, RuleKind,
    Severity, TableCounts,
};
pub use engine::Engine;
pub use info::RuleInfo;
pub use notice::source_notice;
pub use settings::{Exception, MaintenanceWindow, Settings};
pub use state::CheckpointError;
pub use stats::Stats;

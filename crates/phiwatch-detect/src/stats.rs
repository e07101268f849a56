//! Counters of the engine, for metrics. They are not part of the state: a restart begins at zero.

use std::collections::BTreeMap;

use crate::alert::{Activity, RuleId};

/// Counters since the engine was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Transactions judged (committed).
    pub transactions: u64,
    /// Observations taken.
    pub observations: u64,
    /// Transactions rolled back or torn: not judged.
    pub discarded: u64,
    /// Transactions whose commit time was before one already seen: judged as of the latest time.
    pub late: u64,
    /// Signals per rule, told or not.
    pub signals: BTreeMap<RuleId, u64>,
    /// Alerts given out per rule and activity.
    pub alerts: BTreeMap<(RuleId, Activity), u64>,
    /// States of findings not given out, because the rule is off or the severity too low.
    pub withheld: u64,
    /// Findings open.
    pub findings_open: u64,
    /// Findings closed early, because too many were open.
    pub findings_evicted: u64,
    /// Keys with a baseline.
    pub keys: u64,
    /// Baselines forgotten, because there were too many.
    pub keys_evicted: u64,
    /// Prepared XA transactions held.
    pub prepared: u64,
    /// Prepared XA transactions forgotten, because there were too many.
    pub prepared_evicted: u64,
    /// XA commits of a transaction whose rows were not seen.
    pub prepared_unknown: u64,
    /// Facts dropped, because a transaction had too many.
    pub facts_dropped: u64,
    /// Invariants not judged, because a tenant is unknown.
    pub unverified: u64,
    /// Tail probabilities that could not be computed.
    pub scores_failed: u64,
}

impl Stats {
    pub(crate) fn signal(&mut self, rule: RuleId) {
        *self.signals.entry(rule).or_default() += 1;
    }

    pub(crate) fn told(&mut self, rule: RuleId, activity: Activity) {
        *self.alerts.entry((rule, activity)).or_default() += 1;
    }
}

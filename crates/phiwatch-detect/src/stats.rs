//! Counters of the engine, for metrics. They are not part of the state: a restart begins at zero.

use std::collections::BTreeMap;

use crate::{
    alert::{Activity, RuleId},
    settings::Settings,
};

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
    /// Acts of an open finding that were not told at once, because it had been told just before.
    pub put_off: BTreeMap<RuleId, u64>,
    /// Findings told as expected, per exception.
    pub excepted: BTreeMap<String, u64>,
    /// Transactions that a maintenance window explained, per window.
    pub maintained: BTreeMap<String, u64>,
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
    /// What the settings name is counted from the start, also what never fits.
    pub(crate) fn new(settings: &Settings) -> Self {
        let exceptions = settings.exceptions.iter().map(|one| (one.name.clone(), 0));
        let windows = settings.maintenance.iter().map(|one| (one.name.clone(), 0));
        Self { excepted: exceptions.collect(), maintained: windows.collect(), ..Self::default() }
    }

    pub(crate) fn signal(&mut self, rule: RuleId) {
        *self.signals.entry(rule).or_default() += 1;
    }

    pub(crate) fn put_off(&mut self, rule: RuleId) {
        *self.put_off.entry(rule).or_default() += 1;
    }

    pub(crate) fn told(&mut self, rule: RuleId, activity: Activity) {
        *self.alerts.entry((rule, activity)).or_default() += 1;
    }
}

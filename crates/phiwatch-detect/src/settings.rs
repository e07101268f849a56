//! What the operator sets, as the engine uses it.

use std::collections::BTreeSet;

use phiwatch_binlog::EventTime;

use crate::alert::{Evidence, RuleId, Severity};

/// Settings of the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Budget of the statistical rules, alerts a week over the whole deployment. Clamped to
    /// 0.001..=1,000.
    pub false_alerts_per_week: f64,
    /// Findings below it are tracked, not told.
    pub severity_min: Severity,
    /// Rules that are tracked, not told.
    pub rules_off: BTreeSet<RuleId>,
    /// The same of the operator's own rules, by their ids.
    pub operator_off: BTreeSet<String>,
    /// Announced maintenance.
    pub maintenance: Vec<MaintenanceWindow>,
    /// Findings that are expected; the first that fits counts.
    pub exceptions: Vec<Exception>,
    /// The shop's cron clock minus UTC, seconds.
    pub time_zone_offset_secs: i32,
    /// How long the action log must be kept, days.
    pub action_log_retention_days: u32,
    /// How often the source's log began anew: its transactions' numbers and places come again, and
    /// a finding of one of them must not take the id of an earlier one.
    pub resets: u32,
}

impl Settings {
    /// A transaction's or place's identity among all that this installation has read.
    pub(crate) fn identity(&self, here: String) -> String {
        match self.resets {
            0 => here,
            resets => format!("{here}|reset {resets}"),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            false_alerts_per_week: 1.0,
            severity_min: Severity::Low,
            rules_off: BTreeSet::new(),
            operator_off: BTreeSet::new(),
            maintenance: Vec::new(),
            exceptions: Vec::new(),
            time_zone_offset_secs: 0,
            action_log_retention_days: 60,
            resets: 0,
        }
    }
}

/// An announced maintenance: bulk findings of its tables, in its hours and size, are severity 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceWindow {
    /// Its name, told in the alert.
    pub name: String,
    /// Tables (without prefix) that it may write; empty = any.
    pub tables: Vec<String>,
    /// Start, seconds after midnight of the shop's clock.
    pub from_secs: u32,
    /// End, seconds after midnight of the shop's clock; at or before the start: of the next day.
    pub until_secs: u32,
    /// Rows that it may write in one occurrence.
    pub rows_max: u64,
    /// When it ends to apply.
    pub expires: EventTime,
}

impl MaintenanceWindow {
    /// The day (of its start) whose occurrence covers `time`, if one does.
    pub(crate) fn occurrence(&self, time: EventTime, offset_secs: i32) -> Option<i64> {
        const DAY: i64 = 86_400;
        if time >= self.expires {
            return None;
        }
        let local = time.secs() + i64::from(offset_secs);
        let (day, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (from, until) = (i64::from(self.from_secs), i64::from(self.until_secs));
        if from < until {
            return (from..until).contains(&second).then_some(day);
        }
        if second >= from {
            Some(day)
        } else if second < until {
            Some(day - 1)
        } else {
            None
        }
    }
}

/// A finding that somebody answers for: while it fits, it is told with severity 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Its name, told in the alert.
    pub name: String,
    /// Who answers for it, told in the alert.
    pub owner: String,
    /// Rows that are committed from here on are not expected any more.
    pub expires: EventTime,
    /// The same in words, told in the alert.
    pub until: String,
    /// Rules whose findings are expected.
    pub rules: BTreeSet<RuleId>,
    /// `website-2`, `global`; empty = any.
    pub tenants: Vec<String>,
    /// Schemas; empty = any.
    pub databases: Vec<String>,
    /// Tables (without prefix) that the finding may have rows of; empty = any.
    pub tables: Vec<String>,
    /// Distinct persons that it may be about.
    pub persons_max: Option<u64>,
}

/// What of a finding an exception is compared with.
pub(crate) struct Candidate<'a> {
    pub(crate) rule: RuleId,
    pub(crate) tenant: String,
    pub(crate) database: Option<&'a str>,
    pub(crate) persons: u64,
    pub(crate) last_seen: EventTime,
}

impl Exception {
    pub(crate) fn fits<'a>(
        &self,
        found: &Candidate<'_>,
        mut evidence: impl Iterator<Item = &'a Evidence>,
    ) -> bool {
        let is_in = |list: &[String], one: &str| list.is_empty() || list.iter().any(|x| x == one);
        self.rules.contains(&found.rule)
            && found.rule.may_be_excepted()
            && found.last_seen < self.expires
            && is_in(&self.tenants, &found.tenant)
            && is_in(&self.databases, found.database.unwrap_or_default())
            && self.persons_max.is_none_or(|most| found.persons <= most)
            && (self.tables.is_empty() || evidence.all(|one| self.covers(one)))
    }

    /// Every table of the transaction is named. One without rows, as a statement is, does not tell
    /// which tables it changed.
    fn covers(&self, evidence: &Evidence) -> bool {
        let mut tables = evidence.tables.keys().chain(evidence.inferred.keys()).peekable();
        tables.peek().is_some()
            && tables.all(|table| self.tables.iter().any(|name| **name == **table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from_secs: u32, until_secs: u32, at_secs: i64, want: Option<i64>) {
        let window = MaintenanceWindow {
            name: "night".into(),
            tables: Vec::new(),
            from_secs,
            until_secs,
            rows_max: 1,
            expires: EventTime(i64::MAX),
        };
        assert_eq!(window.occurrence(EventTime(at_secs * 1_000_000), 3600), want);
    }

    #[test]
    fn hours_of_the_shops_clock() {
        check(7_200, 10_800, 86_400 + 3_600, Some(1));
        check(7_200, 10_800, 86_400 + 7_200, None);
        check(82_800, 3_600, 2 * 86_400 - 3_600, Some(1));
        check(82_800, 3_600, 86_400 + 79_200, Some(1));
        check(82_800, 3_600, 86_400 + 7_200, None);
    }
}

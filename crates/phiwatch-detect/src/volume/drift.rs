//! Slow drift: changes per order, week by week.
//!
//! A theft that grows by a little each day teaches every baseline that follows the traffic. What it
//! does not bring along are orders. Input: changed persons and orders of a week. Output: a report
//! when their ratio has left what it was in the oldest weeks that are kept. It is a report and no
//! alert: a ratio changes for good reasons as well.

use std::collections::VecDeque;

use crate::state::{CheckpointError, state_struct};

/// Weeks kept.
const WEEKS_MAX: usize = 26;
/// Oldest weeks that are compared with, and newest that are: few for haste, more for small tenants.
const REFERENCE: usize = 4;
const CURRENT: [usize; 2] = [2, 4];
/// Standard deviation of the ratio's logarithm from week to week beside sampling.
const OWN_SD: f64 = 0.06;
/// Standard deviations from which it is reported.
const REPORTED: f64 = 3.0;

/// Sums by week.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Drift {
    /// Persons changed and orders; the last is the open week.
    weeks: VecDeque<(u64, u64)>,
    /// To be told with the tenant's next transaction.
    pub(crate) report: Option<Report>,
}

/// Changes per order, of old and of late.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) changed: u64,
    pub(crate) expected: f64,
    /// Standard deviations.
    pub(crate) z: f64,
    /// Weeks compared, and weeks of history.
    pub(crate) current: u64,
    pub(crate) weeks: u64,
}

impl Drift {
    /// Counts what a closed bin had.
    pub(crate) fn add(&mut self, changed: u64, orders: u64) {
        if self.weeks.is_empty() {
            self.weeks.push_back((0, 0));
        }
        if let Some(week) = self.weeks.back_mut() {
            *week = (week.0.saturating_add(changed), week.1.saturating_add(orders));
        }
    }

    /// Ends the open week.
    pub(crate) fn end_week(&mut self) {
        self.report = self.compare();
        self.weeks.push_back((0, 0));
        if self.weeks.len() > WEEKS_MAX {
            self.weeks.pop_front();
        }
    }

    /// The clearest of the comparisons.
    fn compare(&self) -> Option<Report> {
        let reports = CURRENT.iter().filter_map(|current| self.compare_with(*current));
        reports.max_by(|a, b| a.z.total_cmp(&b.z))
    }

    fn compare_with(&self, current: usize) -> Option<Report> {
        // The first week may be a part of one.
        let whole = self.weeks.len().checked_sub(1).filter(|n| *n >= REFERENCE + current)?;
        let sum = |weeks: &mut dyn Iterator<Item = &(u64, u64)>| {
            weeks.fold((0u64, 0u64), |sum, week| {
                (sum.0.saturating_add(week.0), sum.1.saturating_add(week.1))
            })
        };
        let old = sum(&mut self.weeks.iter().skip(1).take(REFERENCE));
        let new = sum(&mut self.weeks.iter().rev().take(current));
        let part = |count: u64| count as f64 + 5.0;
        let ratio = |(changed, orders)| part(changed) / part(orders);
        let sampling: f64 = [old.0, old.1, new.0, new.1].map(|n| 1.0 / part(n)).iter().sum();
        let z = libm::log(ratio(new) / ratio(old)) / libm::sqrt(sampling + OWN_SD * OWN_SD);
        let expected = part(new.1) * ratio(old);
        let weeks = u64::try_from(whole).unwrap_or(u64::MAX);
        let current = u64::try_from(current).unwrap_or_default();
        (z >= REPORTED).then_some(Report { changed: new.0, expected, z, current, weeks })
    }

    /// Refuses a loaded one of another shape.
    pub(crate) fn check(&self) -> Result<(), CheckpointError> {
        let is_sound = self.weeks.len() <= WEEKS_MAX;
        if is_sound { Ok(()) } else { Err(CheckpointError::Damaged("drift")) }
    }
}

state_struct!(Drift { weeks, report });
state_struct!(Report { changed, expected, z, current, weeks });

#[cfg(test)]
mod tests {
    use super::*;

    /// The first week with a report, if any, of weeks with so many changes and orders.
    fn first_report(weeks: impl Iterator<Item = (u64, u64)>) -> Option<usize> {
        let mut drift = Drift::default();
        for (number, (changed, orders)) in weeks.enumerate() {
            drift.add(changed, orders);
            drift.end_week();
            if drift.report.is_some() {
                return Some(number);
            }
        }
        None
    }

    #[test]
    fn growth_of_both_is_no_drift_and_growth_of_changes_is() {
        let both = (0..20u64).map(|week| (1_000 + 100 * week, 400 + 40 * week));
        assert_eq!(first_report(both), None);
        // 1 % a day from the fifth week on.
        let weeks = [1_000, 1_000, 1_000, 1_000, 1_000, 1_070, 1_145, 1_225, 1_311, 1_403, 1_501];
        let taught = weeks.into_iter().map(|changed| (changed, 400));
        let found = first_report(taught).unwrap();
        assert!((7..11).contains(&found), "{found}");
    }
}

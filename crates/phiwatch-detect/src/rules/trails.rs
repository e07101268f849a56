//! `audit-tampered`: rows of an audit trail that went or changed outside of rotation, trails that
//! were emptied, and their settings cut.
//!
//! Rotation removes what is older than its lifetime. A shop that keeps its log for less than the
//! policy says is told so once, not every night. All of a database is one finding while it is open.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{AccountChange, Keep, Period, Sign, TrailHow, Weight};

use super::{Excuse, retention::Retention};
use crate::{
    alert::{Confidence, RuleId, Severity},
    finding::{Key, Signal},
    persons::Kinds,
    settings::Settings,
    signs::Trail,
    state::state_struct,
    summary::Summary,
};

/// Databases remembered.
const SHOPS_MAX: usize = 1024;
/// Nights of rotation from which its hour is known.
const NIGHTS_MIN: u32 = 3;

/// When rotation ran, by hour of the shop's day; each day counts once.
#[derive(Debug, Clone, PartialEq, Default)]
struct Rotation {
    nights: BTreeMap<u8, u32>,
    day: i64,
}

/// What is known of rotations.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Trails {
    /// Databases whose short rotation was told, and the days that it keeps.
    short: BTreeMap<Arc<str>, u64>,
    rotations: BTreeMap<Arc<str>, Rotation>,
}

impl Trails {
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        settings: &Settings,
        retention: &Retention,
        excuse: &Excuse,
        out: &mut Vec<Signal>,
    ) {
        if summary.signs.is_empty() {
            return;
        }
        for signed in &summary.signs.list {
            let (weight, lead) = match &signed.sign {
                Sign::TrailEmptied { weight, dropped } => {
                    let how = if *dropped { "dropped" } else { "truncated" };
                    let what = format!("The audit trail {} was {how}", signed.table);
                    (*weight, format!("{what}; its rows are not in the log"))
                }
                Sign::TrailSetting { path, why } => {
                    (Weight::High, format!("The audit trail was cut by setting {path}: {why}"))
                }
                _ => continue,
            };
            let is_setting = matches!(signed.sign, Sign::TrailSetting { .. });
            let excuse = if is_setting { None } else { excuse.upgrade.as_ref() };
            out.push(signal(&signed.database, severity(weight), lead, 1, excuse));
        }
        for ((database, table, how), trail) in &summary.signs.trails {
            let judged = match how {
                TrailHow::Removed => {
                    self.removed(summary, database, table, trail, now, settings, retention)
                }
                TrailHow::Changed => Some((severity(trail.weight), "were changed".to_owned())),
                TrailHow::Unlinked => {
                    let words = "lost their user, who was not deleted".to_owned();
                    (!is_user_gone(summary, database)).then(|| (severity(trail.weight), words))
                }
            };
            let Some((severity, words)) = judged else { continue };
            let rows = super::count(trail.rows, "row", "rows");
            let lead = format!("{rows} of the audit trail {table} {words}");
            out.push(signal(database, severity, lead, trail.rows, excuse.reason.as_ref()));
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one act and what it is judged by")]
    fn removed(
        &mut self,
        summary: &Summary,
        database: &Arc<str>,
        table: &Arc<str>,
        trail: &Trail,
        now: EventTime,
        settings: &Settings,
        retention: &Retention,
    ) -> Option<(Severity, String)> {
        let weight = severity(trail.weight);
        match trail.keep {
            Keep::Always => {
                // A person's own trail goes with the person.
                let of = summary.groups.iter().filter(|group| group.database == *database);
                let gone: u64 = of.map(|group| group.persons.of(Kinds::DELETED)).sum();
                let words = "were deleted, which Magento never does".to_owned();
                (gone < trail.rows || trail.weight == Weight::High).then_some((weight, words))
            }
            Keep::WithParent => {
                let has_parent = summary.signs.trails.iter().any(|((of, other, how), _)| {
                    of == database && other != table && *how == TrailHow::Removed
                });
                let words = "were deleted without the rows that they belong to".to_owned();
                (!has_parent).then_some((weight, words))
            }
            // A user's sessions go with the user, where the server logs cascades.
            Keep::Day if is_user_gone(summary, database) => None,
            Keep::Day => early(trail, 1).map(|early| (weight, young(early, trail.rows, 1))),
            Keep::ActionLog => {
                let policy = u64::from(settings.action_log_retention_days);
                let set = retention.period(database, Period::ActionLog).map(|secs| secs / 86_400);
                let Some(count) = early(trail, policy) else {
                    return self.at_hour(database, now, settings);
                };
                let kept = set.filter(|days| *days < policy && early(trail, *days).is_none());
                let Some(days) = kept else {
                    return Some((weight, young(count, trail.rows, policy)));
                };
                // The shop's own rotation, shorter than policy allows.
                let is_told = self.short.get(database) == Some(&days);
                if self.short.len() < SHOPS_MAX {
                    self.short.insert(Arc::clone(database), days);
                }
                let words = format!(
                    "were deleted by a rotation after {days} days, where {policy} are the policy"
                );
                (!is_told).then_some((Severity::Medium, words))
            }
        }
    }

    /// Rows old enough to go: a weak sign where rotation always ran at another hour.
    fn at_hour(
        &mut self,
        database: &Arc<str>,
        now: EventTime,
        settings: &Settings,
    ) -> Option<(Severity, String)> {
        let local = now.secs() + i64::from(settings.time_zone_offset_secs);
        let (day, hour) = (local.div_euclid(86_400), local.rem_euclid(86_400) / 3_600);
        let hour = u8::try_from(hour).unwrap_or(0);
        if !self.rotations.contains_key(database) && self.rotations.len() >= SHOPS_MAX {
            return None;
        }
        let rotation = self.rotations.entry(Arc::clone(database)).or_default();
        let near: BTreeSet<u8> = [hour, (hour + 1) % 24, (hour + 23) % 24].into();
        let nights: u32 = rotation.nights.values().fold(0, |sum, n| sum.saturating_add(*n));
        let is_near = rotation.nights.iter().any(|(at, n)| near.contains(at) && *n * 4 >= nights);
        let is_known = nights >= NIGHTS_MIN;
        if rotation.day != day && (is_near || !is_known) {
            rotation.day = day;
            let count = rotation.nights.entry(hour).or_default();
            *count = count.saturating_add(1).min(1_000);
        }
        let words = "old enough to go were deleted at another hour than rotation's".to_owned();
        (is_known && !is_near).then_some((Severity::Low, words))
    }
}

/// Whether a user of the admin area was deleted.
fn is_user_gone(summary: &Summary, database: &Arc<str>) -> bool {
    let removed = |change: &AccountChange| matches!(change, AccountChange::UserRemoved { .. });
    summary.accounts.iter().any(|(of, change)| of == database && removed(change))
}

/// Rows younger than so many days, if there are any.
fn early(trail: &Trail, days: u64) -> Option<u64> {
    let early: u64 = trail.ages.range(..days).map(|(_, rows)| rows).sum();
    // Without a time there is nothing that says that they were old.
    let timeless = trail.rows.saturating_sub(trail.ages.values().sum());
    let early = early + timeless;
    (early > 0).then_some(early)
}

fn young(early: u64, rows: u64, days: u64) -> String {
    let stay = super::count(days, "day", "days");
    if early == rows {
        format!("were deleted before they were {stay} old")
    } else {
        format!("were deleted, {early} of them before they were {stay} old")
    }
}

fn severity(weight: Weight) -> Severity {
    match weight {
        Weight::High => Severity::High,
        Weight::Medium => Severity::Medium,
        Weight::Low => Severity::Low,
    }
}

fn signal(
    database: &Arc<str>,
    severity: Severity,
    lead: String,
    rows: u64,
    excuse: Option<&String>,
) -> Signal {
    let tenant = phiwatch_magento::Tenant::Global;
    let key = Key { database: super::named(database), tenant, what: String::new() };
    let mut signal = Signal::exact(RuleId::AuditTampered, key, severity, lead);
    signal.rows = rows;
    signal.is_news = true;
    if let Some(reason) = excuse {
        signal.severity = Severity::Informational;
        signal.confidence = Confidence::Medium;
        signal.benign = Some(reason.clone());
    }
    signal
}

/// Whether a setting's change is told as the audit trail's.
pub(crate) fn is_told(summary: &Summary, database: &Arc<str>, path: &str) -> bool {
    summary.signs.list.iter().any(|signed| {
        signed.database == *database
            && matches!(&signed.sign, Sign::TrailSetting { path: cut, .. } if &**cut == path)
    })
}

state_struct!(Rotation { nights, day });
state_struct!(Trails { short, rotations });

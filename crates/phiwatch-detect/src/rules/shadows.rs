//! `bulk-copy` of tables that look like the shadow of an online schema change.
//!
//! gh-ost and pt-online-schema-change copy a table into a shadow, which then takes the table's
//! place. Until it does, only its name tells it from a copy made to be carried away, and names can
//! be forged: so a shadow is told at severity 1 while it is filled, and as a copy if it is dropped
//! or renamed without having taken the place, or has not taken it in time.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{PhiClasses, Tenant};

use super::{Excuse, Known};
use crate::{
    alert::{EvidenceTables, RuleId, Severity, TableCounts},
    finding::{Key, Signal},
    state::state_struct,
    summary::{Copied, Item, Origin, Scope, Summary},
};

/// Shadows followed at a time; over it the longest idle one is told as a copy.
const SHADOWS_MAX: usize = 256;
/// Without a row for so long, a migration has stopped, seconds.
const IDLE_SECS: i64 = 3_600;
/// A shadow takes its table's place within so long of its first sign, seconds.
const DONE_SECS: i64 = 86_400;
/// Rows that make a copy a large one.
const ROWS_LARGE: u64 = 500;
/// Persons known from which a table that comes back with less than half of them has lost some.
const PERSONS_MIN: f64 = 50.0;

#[derive(Debug, Clone, PartialEq)]
struct Shadow {
    of: Arc<str>,
    first: EventTime,
    last: EventTime,
    rows: u64,
    classes: PhiClasses,
    /// Its making was seen, so its rows were, too.
    is_made: bool,
    /// Told as a copy.
    is_told: bool,
    /// The last transaction that wrote to it.
    origin: Origin,
}

/// Schema and name.
type Id = (Arc<str>, Arc<str>);

/// Shadows that have not taken their table's place.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Shadows {
    pending: BTreeMap<Id, Shadow>,
}

impl Shadows {
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        excuse: &Excuse,
        known: &dyn Known,
        out: &mut Vec<Signal>,
    ) {
        let from = out.len();
        self.overdue(now, known, out);
        for (id, copied) in summary.copies.iter().filter(|(_, copied)| copied.is_shadow) {
            out.extend(self.filled(id, copied, summary, now, known));
        }
        for note in summary.notes() {
            let Item::Migration { shadow, is_swapped } = &note.item else { continue };
            let id = (Arc::clone(&note.database), Arc::clone(shadow));
            let found = self.pending.remove(&id);
            if *is_swapped {
                out.push(swapped(&id, &note.table, found.as_ref()));
                out.extend(found.and_then(|found| emptied(&id, &found, known)));
            } else if let Some(found) = found.filter(|found| found.rows > 0) {
                out.push(lost(&id, &found, "is gone without having taken its place", known));
            }
        }
        if let Some(reason) = &excuse.upgrade {
            for signal in out.iter_mut().skip(from) {
                signal.severity = Severity::Informational;
                signal.benign = Some(reason.clone());
            }
        }
    }

    /// What a migration should have done by now.
    fn overdue(&mut self, now: EventTime, known: &dyn Known, out: &mut Vec<Signal>) {
        let is_older = |time: EventTime, secs: i64| now.0.saturating_sub(time.0) > secs * 1_000_000;
        for (id, shadow) in self.pending.iter_mut().filter(|(_, shadow)| !shadow.is_told) {
            if is_older(shadow.last, IDLE_SECS) || is_older(shadow.first, DONE_SECS) {
                shadow.is_told = true;
                if shadow.rows > 0 {
                    out.push(late(id, shadow, known));
                }
            }
        }
        // One without rows is of no interest until it takes some.
        self.pending.retain(|_, shadow| !(shadow.is_told && shadow.rows == 0));
    }

    fn filled(
        &mut self,
        id: &Id,
        copied: &Copied,
        summary: &Summary,
        now: EventTime,
        known: &dyn Known,
    ) -> Vec<Signal> {
        let mut out = Vec::new();
        if !self.pending.contains_key(id) && self.pending.len() >= SHADOWS_MAX {
            let idle = self.pending.iter().min_by_key(|(id, shadow)| (shadow.last, *id));
            if let Some(idle) = idle.map(|(id, _)| id.clone())
                && let Some(shadow) = self.pending.remove(&idle).filter(|shadow| !shadow.is_told)
            {
                out.push(late(&idle, &shadow, known));
            }
        }
        let shadow = self.pending.entry(id.clone()).or_insert_with(|| Shadow {
            of: copied.sources.first().map_or_else(|| Arc::from(""), Arc::clone),
            first: now,
            last: now,
            rows: 0,
            classes: PhiClasses::default(),
            is_made: copied.rows == 0,
            is_told: false,
            origin: summary.origin.clone(),
        });
        shadow.last = now;
        shadow.rows += copied.rows;
        shadow.classes = shadow.classes.union(copied.classes);
        shadow.origin.clone_from(&summary.origin);
        if copied.rows == 0 {
            return out;
        }
        let mut signal = if shadow.is_told {
            lost(id, shadow, "has not taken its place", known)
        } else {
            let rows = super::count(shadow.rows, "row", "rows");
            let lead = format!("Table {} took {rows} as the shadow of {}", id.1, shadow.of);
            let mut signal = signal(id, shadow, Severity::Informational, lead);
            signal.benign = Some(format!("an online schema change of {} under way", shadow.of));
            signal
        };
        signal.rows = copied.rows;
        out.push(signal);
        out
    }
}

fn signal(id: &Id, shadow: &Shadow, severity: Severity, lead: String) -> Signal {
    let key = Key { database: super::named(&id.0), tenant: Tenant::Global, what: id.1.to_string() };
    let mut signal = Signal::exact(RuleId::BulkCopy, key, severity, lead);
    signal.phi = shadow.classes;
    signal.scope = Scope { database: Some(Arc::clone(&id.0)), tenant: None };
    signal
}

/// A shadow that took its table's place.
fn swapped(id: &Id, of: &Arc<str>, found: Option<&Shadow>) -> Signal {
    let rows = found.map_or(0, |shadow| shadow.rows);
    let taken = if rows > 0 {
        format!(" after it had taken {}", super::count(rows, "row", "rows"))
    } else {
        String::new()
    };
    let lead = format!("Table {} took the place of {of}{taken}", id.1);
    let key = Key { database: super::named(&id.0), tenant: Tenant::Global, what: id.1.to_string() };
    let mut signal = Signal::exact(RuleId::BulkCopy, key, Severity::Informational, lead);
    signal.benign = Some(format!("an online schema change of {of}"));
    signal.phi = found.map(|shadow| shadow.classes).unwrap_or_default();
    signal.scope = Scope { database: Some(Arc::clone(&id.0)), tenant: None };
    signal.is_news = true;
    signal
}

/// A copy that was not swapped in.
fn lost(id: &Id, shadow: &Shadow, how: &str, known: &dyn Known) -> Signal {
    let whole = known.persons(&id.0);
    #[allow(clippy::cast_precision_loss, reason = "a threshold, not a count")]
    let is_whole = whole >= PERSONS_MIN && shadow.rows as f64 >= 0.9 * whole;
    let is_large = shadow.rows > ROWS_LARGE || is_whole;
    let severity = if is_large { Severity::High } else { Severity::Medium };
    let rows = super::count(shadow.rows, "row", "rows");
    let classes = shadow.classes.names().join(", ");
    let lead = format!(
        "Table {}, by its name the shadow of {} in an online schema change, took {rows} of \
         personal data ({classes}) and {how}",
        id.1, shadow.of,
    );
    signal(id, shadow, severity, lead)
}

/// The same, told by the time that passed: the evidence is what last wrote to it.
fn late(id: &Id, shadow: &Shadow, known: &dyn Known) -> Signal {
    let mut signal = lost(id, shadow, "has not taken its place", known);
    let counts = TableCounts { inserts: shadow.rows, ..TableCounts::default() };
    let tables = EvidenceTables::from([(Arc::clone(&id.1), counts)]);
    signal.evidence = Some(shadow.origin.evidence(shadow.last, tables, (0, true)));
    signal
}

/// A table of customers that came back with less than half of the persons known.
fn emptied(id: &Id, shadow: &Shadow, known: &dyn Known) -> Option<Signal> {
    let persons = known.persons(&id.0);
    #[allow(clippy::cast_precision_loss, reason = "a threshold, not a count")]
    let is_lost = persons >= PERSONS_MIN && (shadow.rows as f64) < 0.5 * persons;
    if !is_lost || !shadow.is_made || &*shadow.of != "customer_entity" {
        return None;
    }
    let lead = format!(
        "Table {} took the place of {} with {} of about {persons:.0} persons known",
        id.1,
        shadow.of,
        super::count(shadow.rows, "row", "rows"),
    );
    let key =
        Key { database: super::named(&id.0), tenant: Tenant::Global, what: shadow.of.to_string() };
    Some(Signal::exact(RuleId::MassDeletion, key, Severity::High, lead))
}

state_struct!(Shadow { of, first, last, rows, classes, is_made, is_told, origin });
state_struct!(Shadows { pending });

//! `bulk-copy` and `phi-surface` by values: persons that the catalogue's tables hold turn up in a
//! table outside it, whatever that table and its columns are called, or in a body inside it.
//!
//! One statement that copies many is told in its own transaction. Rows that drip in one by one are
//! added up over a week. An extension's own table gets its rows when the shop works on the same
//! person, so persons that were written just now do not count there; a copy walks through persons
//! at rest. Of a table that was made under our eyes, all count for a day.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::EventTime;
use phiwatch_magento::Tenant;

use super::{Excuse, Known, count};
use crate::{
    alert::{Confidence, RuleId, Severity},
    finding::{Key, Signal},
    marks::Values,
    persons::Persons,
    state::state_struct,
    summary::{Scope, Summary},
};

/// Tables remembered; over it the one longest without rows is forgotten.
const TABLES_MAX: usize = 4096;
/// Persons counted exactly per table.
const PERSONS_EXACT_MAX: usize = 512;
/// Distinct persons from which rows are a copy.
const PERSONS_MIN: u64 = 25;
/// The same where nothing is known of them but that their addresses look like some.
const SHAPED_MIN: u64 = 100;
/// Persons of a large copy.
const PERSONS_LARGE: u64 = 500;
/// Distinct persons from which a table is a place of personal data.
const SURFACE_MIN: u64 = 5;
/// Drips are added up for so long, seconds.
const DRIP_SECS: i64 = 7 * 86_400;
/// How long a table counts as new, seconds.
const NEW_SECS: i64 = 86_400;

#[derive(Debug, Clone, PartialEq)]
struct Sink {
    last: EventTime,
    /// Its CREATE was seen, and nothing explains it.
    made: Option<EventTime>,
    /// Since when drips are added up.
    since: EventTime,
    rows: u64,
    rows_known: u64,
    dripped: Persons,
    /// Persons of any kind that were ever seen in it, up to the bound from which that is told.
    shaped: Persons,
    is_told: bool,
}

/// Tables that values of persons went into.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sinks {
    tables: BTreeMap<(Arc<str>, Arc<str>), Sink>,
}

impl Sinks {
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        excuse: &Excuse,
        known: &dyn Known,
        out: &mut Vec<Signal>,
    ) {
        let made = summary.copies.iter().filter(|(_, copied)| copied.created.is_some());
        for (id, _) in made {
            let made = excuse.upgrade.is_none().then_some(now);
            let sink = self.sink(id, now);
            *sink = Sink { made, ..Sink::new(now) };
        }
        for (id, values) in &summary.marks.values {
            let is_made = summary.copies.get(id).is_some_and(|copied| copied.created.is_some());
            let sink = self.sink(id, now);
            sink.add(values, now);
            let whole = known.persons(&id.0);
            let copy = copied(sink, values, is_made, whole);
            let is_copy = copy.is_some();
            if let Some((severity, persons)) = copy {
                out.push(signal(id, values, severity, persons, excuse));
            }
            // By names of columns, the table is told elsewhere.
            let is_named = summary.copies.get(id).is_some_and(|copied| copied.columns > 0);
            if !is_copy && !is_named && sink.is_surface(values) {
                out.push(surface(id, values, excuse));
            }
            sink.is_told |= is_copy;
        }
    }

    fn sink(&mut self, id: &(Arc<str>, Arc<str>), now: EventTime) -> &mut Sink {
        if !self.tables.contains_key(id) && self.tables.len() >= TABLES_MAX {
            let oldest = self.tables.iter().min_by_key(|(id, sink)| (sink.last, *id));
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.tables.remove(&oldest);
            }
        }
        self.tables.entry(id.clone()).or_insert_with(|| Sink::new(now))
    }
}

impl Sink {
    fn new(now: EventTime) -> Self {
        Self {
            last: now,
            made: None,
            since: now,
            rows: 0,
            rows_known: 0,
            dripped: Persons::new(),
            shaped: Persons::new(),
            is_told: false,
        }
    }

    fn add(&mut self, values: &Values, now: EventTime) {
        let age = |from: EventTime| now.0.saturating_sub(from.0) / 1_000_000;
        self.last = now;
        if age(self.since) >= DRIP_SECS {
            (self.since, self.rows, self.rows_known) = (now, 0, 0);
            self.dripped = Persons::new();
        }
        self.rows += values.rows;
        self.rows_known += values.rows_known;
        let is_new = self.made.is_some_and(|made| age(made) < NEW_SECS);
        let counted = if is_new { &values.known } else { &values.idle };
        self.dripped.absorb(counted, None, PERSONS_EXACT_MAX);
        if !self.is_told {
            self.shaped.absorb(&values.shaped, None, PERSONS_EXACT_MAX);
        }
    }

    /// Whether the table is a new place of personal data; told once.
    fn is_surface(&mut self, values: &Values) -> bool {
        let is_one = !self.is_told && !values.is_body && self.shaped.total().0 >= SURFACE_MIN;
        if is_one {
            self.is_told = true;
            self.shaped = Persons::new();
        }
        is_one
    }
}

/// Whether it is a copy: how bad, and whose.
fn copied(sink: &Sink, values: &Values, is_made: bool, whole: f64) -> Option<(Severity, Persons)> {
    let at_once = values.known.total().0;
    let shaped = values.shaped.total().0;
    let is_most = |part: u64, rows: u64| part.saturating_mul(2) >= rows;
    // The bodies of one import or bulk operation are Magento's own work.
    if values.is_own && values.is_body {
        return (at_once >= PERSONS_MIN).then(|| (Severity::Informational, values.known.clone()));
    }
    let shaped_min = if is_made { PERSONS_MIN } else { SHAPED_MIN };
    let persons = if at_once >= PERSONS_MIN && is_most(values.rows_known, values.rows) {
        &values.known
    } else if sink.dripped.total().0 >= PERSONS_MIN && is_most(sink.rows_known, sink.rows) {
        &sink.dripped
    } else if shaped >= shaped_min && is_most(values.rows_shaped, values.rows) && !values.is_body {
        &values.shaped
    } else {
        return None;
    };
    let number = persons.total().0;
    #[expect(clippy::cast_precision_loss, reason = "a threshold, not a count")]
    let is_whole = whole >= 50.0 && number as f64 >= 0.9 * whole;
    let severity =
        if number > PERSONS_LARGE || is_whole { Severity::High } else { Severity::Medium };
    Some((severity, persons.clone()))
}

fn signal(
    id: &(Arc<str>, Arc<str>),
    values: &Values,
    severity: Severity,
    persons: Persons,
    excuse: &Excuse,
) -> Signal {
    let (number, is_exact) = persons.total();
    let about = if is_exact { "" } else { "about " };
    let what = values.classes.names().join(", ");
    let place = if values.is_body { "the bodies of table" } else { "table" };
    let lead = format!(
        "Values ({what}) of {about}{} went into {place} {}",
        count(number, "person", "persons"),
        id.1,
    );
    let key = key_of(id, id.1.to_string());
    let mut signal = Signal::exact(RuleId::BulkCopy, key, severity, lead);
    signal.rows = values.rows_shaped;
    signal.phi = values.classes;
    signal.scope = Scope { database: Some(Arc::clone(&id.0)), tenant: None };
    signal.own = Some(persons);
    if values.known.total().0 == 0 {
        signal.confidence = Confidence::Medium;
    }
    if severity == Severity::Informational {
        signal.benign = Some("in the form in which Magento stages an import or a bulk".to_owned());
    } else if let Some(reason) = &excuse.upgrade {
        signal.severity = Severity::Informational;
        signal.benign = Some(reason.clone());
    } else if let Some(reason) = excuse.reason.as_ref().filter(|_| values.is_body) {
        signal.severity = Severity::Informational;
        signal.benign = Some(reason.clone());
    }
    signal
}

fn surface(id: &(Arc<str>, Arc<str>), values: &Values, excuse: &Excuse) -> Signal {
    let lead = format!(
        "Table {}, which is not in the catalogue, holds values of persons ({})",
        id.1,
        values.classes.names().join(", "),
    );
    let key = key_of(id, format!("values {}", id.1));
    let mut signal = Signal::exact(RuleId::PhiSurface, key, Severity::Low, lead);
    signal.rows = values.rows_shaped;
    signal.phi = values.classes;
    signal.own = Some(values.shaped.clone());
    if let Some(reason) = &excuse.upgrade {
        signal.severity = Severity::Informational;
        signal.benign = Some(reason.clone());
    }
    signal
}

fn key_of(id: &(Arc<str>, Arc<str>), what: String) -> Key {
    Key { database: super::named(&id.0), tenant: Tenant::Global, what }
}

state_struct!(Sink { last, made, since, rows, rows_known, dripped, shaped, is_told });
state_struct!(Sinks { tables });

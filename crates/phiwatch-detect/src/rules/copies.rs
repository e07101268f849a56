//! `bulk-copy`: personal data written into tables that the catalogue does not know.
//!
//! One finding per target table. A table made under our eyes is watched for a day; a table that was
//! there before may be an extension's own, so single rows of it are told once and only bulk after.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{CopyForm, Tenant};

use super::{Excuse, Known};
use crate::{
    alert::{RuleId, Severity},
    finding::{Key, Signal},
    state::state_struct,
    summary::{Copied, Scope, Summary},
};

/// Tables remembered; over it the one longest without rows is forgotten.
const TABLES_MAX: usize = 4096;
/// How long a table counts as new, seconds.
const NEW_SECS: i64 = 86_400;
/// Rows in one transaction from which an old table's rows are bulk.
const ROWS_MIN: u64 = 20;
/// Rows (persons) that make a copy a large one.
const ROWS_LARGE: u64 = 500;

#[derive(Debug, Clone, PartialEq)]
struct Target {
    first: EventTime,
    last: EventTime,
    /// Its CREATE was seen.
    is_made: bool,
    rows: u64,
    /// Largest ordinary transaction.
    rows_max: u64,
}

/// Tables outside the catalogue that hold personal data.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Copies {
    targets: BTreeMap<(Arc<str>, Arc<str>), Target>,
}

impl Copies {
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        excuse: &Excuse,
        known: &dyn Known,
        out: &mut Vec<Signal>,
    ) {
        let judged =
            |copied: &Copied| !copied.is_shadow && copied.created != Some(CopyForm::CreatePlain);
        for (id, copied) in summary.copies.iter().filter(|(_, copied)| judged(copied)) {
            let target = self.target(id, copied, now);
            let Some(mut severity) = judge(target, copied, now) else { continue };
            let rows = target.rows;
            let is_fresh = target.is_made;
            let whole = known.persons(&id.0);
            #[allow(clippy::cast_precision_loss, reason = "a threshold, not a count")]
            let is_whole = whole >= 50.0 && rows as f64 >= 0.9 * whole;
            if is_fresh && (rows > ROWS_LARGE || is_whole) {
                severity = Severity::High;
            }
            let key = Key {
                database: super::named(&id.0),
                tenant: Tenant::Global,
                what: id.1.to_string(),
            };
            let mut signal =
                Signal::exact(RuleId::BulkCopy, key, severity, lead(&id.1, copied, rows));
            signal.rows = copied.rows;
            signal.phi = copied.classes;
            signal.scope = Scope { database: Some(Arc::clone(&id.0)), tenant: None };
            if let Some(reason) = &excuse.upgrade {
                signal.severity = Severity::Informational;
                signal.benign = Some(reason.clone());
            }
            out.push(signal);
        }
    }

    fn target(&mut self, id: &(Arc<str>, Arc<str>), copied: &Copied, now: EventTime) -> &Target {
        if !self.targets.contains_key(id) && self.targets.len() >= TABLES_MAX {
            let oldest = self.targets.iter().min_by_key(|(id, target)| (target.last, *id));
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.targets.remove(&oldest);
            }
        }
        let target = self.targets.entry(id.clone()).or_insert(Target {
            first: now,
            last: now,
            is_made: false,
            rows: 0,
            rows_max: 0,
        });
        if copied.created.is_some() {
            *target = Target { first: now, last: now, is_made: true, rows: 0, rows_max: 0 };
        }
        target.last = now;
        if now.0.saturating_sub(target.first.0) >= NEW_SECS * 1_000_000 {
            target.is_made = false;
        }
        target.rows += copied.rows;
        if copied.rows < ROWS_MIN {
            target.rows_max = target.rows_max.max(copied.rows);
        }
        target
    }
}

fn judge(target: &Target, copied: &Copied, now: EventTime) -> Option<Severity> {
    match copied.created {
        Some(CopyForm::CreateSelect | CopyForm::CreateLike) => return Some(Severity::Medium),
        // Empty until rows come; `phi-surface` tells of the table itself.
        Some(CopyForm::CreateColumns) if copied.rows == 0 => return None,
        Some(CopyForm::CreateColumns | CopyForm::RowUnknownTable) | None => {}
        // Judged apart.
        Some(CopyForm::CreateShadow | CopyForm::RowShadow | CopyForm::CreatePlain) => {}
    }
    if target.is_made {
        return Some(Severity::Medium);
    }
    if copied.rows >= ROWS_MIN.max(target.rows_max.saturating_mul(3)) {
        let is_large = copied.rows > ROWS_LARGE;
        return Some(if is_large { Severity::High } else { Severity::Medium });
    }
    // The first rows ever seen of the table are told once.
    (target.rows == copied.rows && target.first == now && copied.rows > 0).then_some(Severity::Low)
}

fn lead(table: &str, copied: &Copied, rows: u64) -> String {
    let classes = copied.classes.names();
    let what = if classes.is_empty() {
        "personal data".to_owned()
    } else {
        format!("personal data ({})", classes.join(", "))
    };
    let from = if copied.sources.is_empty() {
        String::new()
    } else {
        let names: Vec<&str> = copied.sources.iter().map(|name| &**name).collect();
        format!(" from {}", names.join(", "))
    };
    match copied.created {
        Some(CopyForm::CreateSelect) => {
            let so_far = if rows > 0 { format!(", {rows} rows") } else { String::new() };
            format!("Table {table} was made as a copy of {what}{from}{so_far}")
        }
        Some(CopyForm::CreateLike) => {
            format!("Table {table} was made like a table of {what}{from}")
        }
        Some(CopyForm::CreateColumns) => format!(
            "Table {table} was made and filled with {} of {what}{from}",
            super::count(copied.rows, "row", "rows"),
        ),
        Some(
            CopyForm::RowUnknownTable
            | CopyForm::CreateShadow
            | CopyForm::RowShadow
            | CopyForm::CreatePlain,
        )
        | None => {
            format!(
                "{} with {what} went into table {table}, which is not in the catalogue",
                super::count(copied.rows, "row", "rows"),
            )
        }
    }
}

state_struct!(Target { first, last, is_made, rows, rows_max });
state_struct!(Copies { targets });

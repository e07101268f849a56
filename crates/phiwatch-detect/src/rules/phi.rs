//! Rules that speak on what a row's values are: `canary-touched`, `plaintext-phi`,
//! `phi-in-free-text`.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{Because, Cleartext, Identifier, Tenant};

use super::{Excuse, count};
use crate::{
    alert::{Confidence, RuleId, Severity},
    finding::{Key, QUIET_SECS, Signal},
    marks::{Canary, Clear, Column, Counts, Text},
    state::state_struct,
    summary::{Scope, Summary},
};

/// Columns with identifiers that are remembered.
const COLUMNS_MAX: usize = 4096;
/// A column that was told is told again when it shows another class, or after so long, seconds.
const AGAIN_SECS: i64 = 7 * 86_400;

/// Seeded persons, and columns that should hold ciphertext.
pub(crate) fn judge(summary: &Summary, excuse: &Excuse, out: &mut Vec<Signal>) {
    for ((database, tenant, which), canary) in &summary.marks.canaries {
        out.push(touched(database, *tenant, *which, canary, excuse));
    }
    for ((column, _), clear) in &summary.marks.clear {
        out.push(in_clear(column, clear));
    }
}

fn touched(
    database: &Arc<str>,
    tenant: Tenant,
    (is_email, number): (bool, u32),
    canary: &Canary,
    excuse: &Excuse,
) -> Signal {
    let list = if is_email { "canary_emails" } else { "canary_customers" };
    let mut acts = Vec::new();
    for (is_it, act) in [
        (canary.is_copied, "copied"),
        (canary.is_changed, "changed"),
        (canary.is_deleted, "deleted"),
    ] {
        if is_it {
            acts.push(act);
        }
    }
    let tables: Vec<&str> = canary.tables.iter().map(|table| &**table).collect();
    let lead = format!(
        "The seeded person {number} of {list} was {} ({} of {})",
        acts.join(" and "),
        count(canary.rows, "row", "rows"),
        tables.join(", "),
    );
    let key = Key { database: super::named(database), tenant, what: format!("{list} {number}") };
    let mut signal = Signal::exact(RuleId::CanaryTouched, key, Severity::High, lead);
    let benign = if canary.is_seeding {
        Some("this transaction makes the seeded person".to_owned())
    } else {
        excuse.reason.clone().or_else(|| excuse.upgrade.clone())
    };
    if benign.is_some() {
        signal.severity = Severity::Informational;
        signal.benign = benign;
    }
    signal.rows = canary.rows;
    signal.phi = canary.phi;
    signal.is_news = true;
    signal.scope = Scope { database: Some(Arc::clone(database)), tenant: scope_of(tenant) };
    signal
}

/// Rows of a website are one tenant's; others may be of any.
fn scope_of(tenant: Tenant) -> Option<Tenant> {
    matches!(tenant, Tenant::Website(_)).then_some(tenant)
}

fn key_of(column: &Column, suffix: &str) -> Key {
    let (database, table, name, tenant) = column;
    let what = format!("{table}.{name}{suffix}");
    Key { database: super::named(database), tenant: *tenant, what }
}

fn in_clear(column: &Column, clear: &Clear) -> Signal {
    let (database, table, name, tenant) = column;
    let because = match clear.because {
        Because::Policy => "must hold ciphertext",
        Because::Before => "held ciphertext in the same row before",
        Because::History => "held nothing but ciphertext so far",
    };
    let (what, severity, suffix) = match clear.form {
        Cleartext::Card => ("a card number in clear", Severity::High, ""),
        Cleartext::Plain => ("plaintext", Severity::Medium, ""),
        Cleartext::Corrupt => {
            ("corrupt ciphertext, cut or damaged", Severity::Medium, " (corrupt)")
        }
    };
    let rows = count(clear.rows, "row", "rows");
    let lead = format!("{name} of table {table}, which {because}, received {what} in {rows}");
    let key = key_of(column, suffix);
    let mut signal = Signal::exact(RuleId::PlaintextPhi, key, severity, upper(&lead));
    if clear.because == Because::History {
        signal.confidence = Confidence::Medium;
    }
    signal.rows = clear.rows;
    signal.phi = clear.phi;
    signal.scope = Scope { database: Some(Arc::clone(database)), tenant: scope_of(*tenant) };
    signal
}

/// A column's name keeps its letters; words begin with a capital.
fn upper(lead: &str) -> String {
    format!("Column {lead}")
}

/// What a column showed since its finding was opened.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    last: EventTime,
    told: EventTime,
    counts: Counts,
}

/// Columns with identifiers.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Texts {
    columns: BTreeMap<Column, Shown>,
}

impl Texts {
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        excuse: &Excuse,
        out: &mut Vec<Signal>,
    ) {
        for (column, text) in &summary.marks.texts {
            let (shown, is_follow_up) = self.shown(column, text, now);
            let mut signal = found(column, text, shown);
            signal.is_follow_up = is_follow_up;
            if let Some(reason) = &excuse.upgrade {
                signal.severity = Severity::Informational;
                signal.benign = Some(reason.clone());
            }
            out.push(signal);
        }
    }

    /// What the column showed so far, with this; and whether it was told lately.
    fn shown(&mut self, column: &Column, text: &Text, now: EventTime) -> (Counts, bool) {
        if !self.columns.contains_key(column) && self.columns.len() >= COLUMNS_MAX {
            let oldest = self.columns.iter().min_by_key(|(column, shown)| (shown.last, *column));
            if let Some(oldest) = oldest.map(|(column, _)| column.clone()) {
                self.columns.remove(&oldest);
            }
        }
        let secs = |from: EventTime| now.0.saturating_sub(from.0) / 1_000_000;
        let Some(shown) = self.columns.get_mut(column) else {
            let shown = Shown { last: now, told: now, counts: text.counts };
            self.columns.insert(column.clone(), shown);
            return (text.counts, false);
        };
        let has = |counts: Counts, class| counts.each().any(|(known, _)| known == class);
        let is_new = text.counts.each().any(|(class, _)| !has(shown.counts, class));
        let is_again = secs(shown.told) >= AGAIN_SECS;
        if is_again && secs(shown.last) >= QUIET_SECS {
            shown.counts = Counts::default();
        }
        if is_new || is_again {
            shown.told = now;
        }
        shown.last = now;
        shown.counts.add(text.counts);
        (shown.counts, !is_new && !is_again)
    }
}

fn found(column: &Column, text: &Text, shown: Counts) -> Signal {
    let (database, table, name, tenant) = column;
    let (severity, confidence) = grade(text.counts);
    let lead = format!("Column {name} of table {table} holds identifiers: {}", words(shown));
    let key = key_of(column, "");
    let mut signal = Signal::exact(RuleId::PhiInFreeText, key, severity, lead);
    signal.confidence = confidence;
    signal.rows = text.rows;
    signal.phi = text.phi;
    signal.scope = Scope { database: Some(Arc::clone(database)), tenant: scope_of(*tenant) };
    signal
}

/// The worst class decides. What has a check digit or a form of its own is sure.
fn grade(counts: Counts) -> (Severity, Confidence) {
    let of = |class: Identifier| match class {
        Identifier::Card => (Severity::High, Confidence::High),
        Identifier::Ssn | Identifier::Itin | Identifier::Mbi => {
            (Severity::Medium, Confidence::High)
        }
        Identifier::RecordNumber
        | Identifier::BirthDate
        | Identifier::Icd10
        | Identifier::Email
        | Identifier::Phone => (Severity::Medium, Confidence::Medium),
        // Of prescribers and drugs: about the treatment, not the person.
        Identifier::Npi | Identifier::Dea | Identifier::Ndc => (Severity::Low, Confidence::Medium),
    };
    let worst = counts.each().map(|(class, _)| of(class)).max();
    worst.unwrap_or((Severity::Low, Confidence::Low))
}

/// "2 social security numbers, 1 card number".
fn words(counts: Counts) -> String {
    let one = |(class, number): (Identifier, u64)| match (class, number) {
        (class, 1) => format!("1 {}", class.name()),
        (Identifier::Email, _) => format!("{number} e-mail addresses"),
        (Identifier::BirthDate, _) => format!("{number} dates of birth"),
        (class, _) => format!("{number} {}s", class.name()),
    };
    counts.each().map(one).collect::<Vec<_>>().join(", ")
}

state_struct!(Shown { last, told, counts });
state_struct!(Texts { columns });

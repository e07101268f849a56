//! Rules that speak on a single fact: `config-weakened`, `code-injected`, `phi-surface`, the exact
//! part of `mass-deletion`, and statements whose rows nobody saw (`coverage-gap`).

use phiwatch_magento::TableClass;

use super::{Excuse, Known, trails};
use crate::{
    alert::{Confidence, RuleId, Severity},
    finding::Signal,
    summary::{Item, Note, Summary},
};

pub(crate) fn judge(summary: &Summary, excuse: &Excuse, known: &dyn Known, out: &mut Vec<Signal>) {
    for note in summary.notes() {
        let signal = match &note.item {
            Item::Config { path, scope, scope_id, opened, why } => {
                let severity = if *opened { Severity::High } else { Severity::Medium };
                let lead = format!("Setting {path} ({scope} {scope_id}) was weakened: {why}");
                let key = super::key(note, format!("{path} {scope} {scope_id}"));
                let mut signal = Signal::exact(RuleId::ConfigWeakened, key, severity, lead);
                if trails::is_told(summary, &note.database, path) {
                    let rule = RuleId::AuditTampered;
                    signal.severity = Severity::Informational;
                    signal.benign = Some(format!("the same change is reported as {rule}"));
                }
                Some(signal)
            }
            Item::Code { kind } => {
                let lead = format!("{} was installed (table {})", upper(kind), note.table);
                let key = super::key(note, format!("{kind} {}", note.table));
                Some(Signal::exact(RuleId::CodeInjected, key, Severity::High, lead))
            }
            Item::Surface { kind, classes } => {
                let lead = format!(
                    "A new {kind} for personal data ({}) appeared in {}",
                    classes.names().join(", "),
                    note.table,
                );
                let key = super::key(note, format!("{kind} {}", note.table));
                let mut signal = Signal::exact(RuleId::PhiSurface, key, Severity::Low, lead);
                signal.phi = *classes;
                excused(&mut signal, excuse);
                if known.persons(&note.database) < 1.0 {
                    signal.severity = Severity::Informational;
                    signal.benign = Some(super::INSTALLED.to_owned());
                }
                Some(signal)
            }
            Item::Emptied { dropped } => emptied(note, *dropped, excuse),
            // The decoder's own gap says it already.
            Item::Unseen if summary.has_gap => None,
            Item::Unseen => {
                let lead = format!(
                    "A statement changed table {} without its rows in the log, so which persons \
                     is not known",
                    note.table,
                );
                let key = super::key(note, format!("statement {}", note.table));
                Some(Signal::exact(RuleId::CoverageGap, key, Severity::Medium, lead))
            }
            Item::Remap { .. }
            | Item::ExportQueued { .. }
            | Item::ExportStatus { .. }
            | Item::ExportNotice
            | Item::ExportScheduled { .. }
            | Item::Migration { .. }
            | Item::Import { .. }
            | Item::Maintenance { .. } => None,
        };
        if let Some(mut signal) = signal {
            signal.rows = signal.rows.max(1);
            signal.is_news = true;
            signal.phi = signal.phi.union(note.phi);
            out.push(signal);
        }
    }
}

fn emptied(note: &Note, dropped: bool, excuse: &Excuse) -> Option<Signal> {
    // Derived copies are dropped and made anew by the indexer.
    if note.is_grid {
        return None;
    }
    let severity = match note.class {
        TableClass::Customer | TableClass::CustomerAddress | TableClass::Order => Severity::High,
        TableClass::Quote | TableClass::OtherPersonal => Severity::Medium,
        TableClass::Control | TableClass::Unknown => return None,
    };
    let how = if dropped { "dropped" } else { "truncated" };
    let lead =
        format!("Table {} of personal data was {how}; its rows are not in the log", note.table);
    let key = super::key(note, note.table.to_string());
    let mut signal = Signal::exact(RuleId::MassDeletion, key, severity, lead);
    excused(&mut signal, excuse);
    Some(signal)
}

fn excused(signal: &mut Signal, excuse: &Excuse) {
    if let Some(reason) = &excuse.upgrade {
        signal.severity = Severity::Informational;
        signal.confidence = Confidence::Medium;
        signal.benign = Some(reason.clone());
    }
}

/// With a capital letter.
fn upper(words: &str) -> String {
    let mut chars = words.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}

//! `bulk-export`: exports that were queued, and the notices that they leave.
//!
//! An export leaves a queue message (which names the entity), changes of its status, and a notice
//! in the inbox (which names nothing). One act, one finding: status and notice join the finding of
//! their message; those of exports without persons are silent. A notice without any message seen
//! (RabbitMQ instead of the database's queue) is a weak sign of its own.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{ExportEntity, ScheduleChange, Sign};

use crate::{
    alert::{Confidence, RuleId, Severity},
    finding::{Key, Signal},
    signs::Signed,
    state::state_struct,
    summary::{Item, Note, Summary},
};

/// Exports remembered, and for how long.
const QUEUED_MAX: usize = 1024;
const QUEUED_SECS: i64 = 86_400;
/// The action log's row comes after the message by so much at most.
const LOGGED_SECS: i64 = 120;

#[derive(Debug, Clone, PartialEq)]
struct Queued {
    time: EventTime,
    is_personal: bool,
    is_running: bool,
    /// Its notice has come.
    is_noticed: bool,
}

/// Exports seen lately.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Exports {
    queued: BTreeMap<(Arc<str>, u64), Queued>,
}

impl Exports {
    pub(crate) fn judge(&mut self, summary: &Summary, now: EventTime, out: &mut Vec<Signal>) {
        for note in summary.notes() {
            let signal = match &note.item {
                Item::ExportQueued { message, entity, is_filtered } => {
                    self.queued(note, *message, *entity, *is_filtered, now)
                }
                Item::ExportStatus { message, status } => self.status(note, *message, *status),
                Item::ExportNotice => self.notice(note),
                Item::ExportScheduled { operation, entity, change } => {
                    scheduled(note, *operation, *entity, *change)
                }
                _ => None,
            };
            out.extend(signal);
        }
        for signed in &summary.signs.list {
            if let Sign::ExportLogged { user, is_personal } = signed.sign {
                out.push(self.logged(signed, user, is_personal, now));
            }
        }
    }

    /// The action log's row of an export: the one that was just queued, else one that leaves no
    /// other trace (a grid's).
    fn logged(&self, signed: &Signed, user: u64, is_personal: bool, now: EventTime) -> Signal {
        let database = super::named(&signed.database);
        let key = |what| Key { database: database.clone(), tenant: signed.tenant, what };
        let age = |queued: &Queued| now.secs().saturating_sub(queued.time.secs());
        let latest = (self.queued.iter().rev())
            .find(|((of, _), queued)| *of == signed.database && age(queued) <= LOGGED_SECS);
        if let Some(((_, message), _)) = latest {
            let key = key(format!("export {message}"));
            let mut signal =
                Signal::exact(RuleId::BulkExport, key, Severity::Informational, String::new());
            signal.is_follow_up = true;
            return signal;
        }
        let (what, severity, confidence) = if is_personal {
            ("personal data", Severity::Medium, Confidence::High)
        } else {
            ("a grid, which one is not known,", Severity::Low, Confidence::Low)
        };
        let lead = format!("The action log says that admin user {user} exported {what}");
        let key = key(format!("user {user}"));
        let mut signal = Signal::exact(RuleId::BulkExport, key, severity, lead);
        signal.confidence = confidence;
        signal.rows = 1;
        signal.is_news = true;
        signal
    }

    fn queued(
        &mut self,
        note: &Note,
        message: u64,
        entity: ExportEntity,
        is_filtered: bool,
        now: EventTime,
    ) -> Option<Signal> {
        self.queued.retain(|_, q| now.0.saturating_sub(q.time.0) < QUEUED_SECS * 1_000_000);
        while self.queued.len() >= QUEUED_MAX {
            self.queued.pop_first();
        }
        let words = personal(entity);
        let is_sure = entity != ExportEntity::Other;
        let queued = Queued {
            time: now,
            is_personal: words.is_some(),
            is_running: false,
            is_noticed: false,
        };
        self.queued.insert((Arc::clone(&note.database), message), queued);
        let words = words?;
        let extent = if is_filtered { "with a filter" } else { "without a filter, so all of them" };
        let (severity, confidence) = match (is_sure, is_filtered) {
            (true, false) => (Severity::High, Confidence::High),
            (true, true) => (Severity::Medium, Confidence::High),
            (false, _) => (Severity::Low, Confidence::Low),
        };
        let lead = format!("An export of {words} was queued {extent}");
        let key = super::key(note, format!("export {message}"));
        let mut signal = Signal::exact(RuleId::BulkExport, key, severity, lead);
        signal.confidence = confidence;
        signal.rows = 1;
        signal.phi = note.phi;
        Some(signal)
    }

    fn status(&mut self, note: &Note, message: u64, status: u8) -> Option<Signal> {
        let queued = self.queued.get_mut(&(Arc::clone(&note.database), message))?;
        queued.is_running = status == 3 || (queued.is_running && status == 4);
        queued.is_personal.then(|| follow_up(note, message))
    }

    fn notice(&mut self, note: &Note) -> Option<Signal> {
        // The export that runs, else the oldest that has no notice yet.
        let waiting = self
            .queued
            .iter_mut()
            .filter(|((database, _), queued)| *database == note.database && !queued.is_noticed)
            .min_by_key(|((_, message), queued)| (!queued.is_running, *message));
        if let Some(((_, message), queued)) = waiting {
            queued.is_noticed = true;
            return queued.is_personal.then(|| follow_up(note, *message));
        }
        let lead =
            "The inbox says that an export file is ready, and no queued export was seen, so \
                    what it holds is not known"
                .to_owned();
        let key = super::key(note, "notice".to_owned());
        let mut signal = Signal::exact(RuleId::BulkExport, key, Severity::Low, lead);
        signal.confidence = Confidence::Low;
        signal.rows = 1;
        Some(signal)
    }
}

/// The entity in words; None if it holds no persons.
fn personal(entity: ExportEntity) -> Option<&'static str> {
    match entity {
        ExportEntity::Customer => Some("customers"),
        ExportEntity::CustomerAddress => Some("customer addresses"),
        ExportEntity::CustomerFinance => Some("customer finances"),
        ExportEntity::Other => Some("an unknown kind of entity"),
        ExportEntity::Impersonal => None,
    }
}

/// A feed that was set up is told; its runs are expected then.
fn scheduled(
    note: &Note,
    operation: u64,
    entity: ExportEntity,
    change: ScheduleChange,
) -> Option<Signal> {
    let words = personal(entity)?;
    let done = match change {
        ScheduleChange::Made => "was set up",
        ScheduleChange::SwitchedOn => "was switched on",
        ScheduleChange::Redirected => "got another content or another place for its file",
        ScheduleChange::Ran => "ran",
    };
    let (severity, confidence) = match (change, entity) {
        (ScheduleChange::Ran, _) => (Severity::Informational, Confidence::High),
        (_, ExportEntity::Other) => (Severity::Low, Confidence::Low),
        _ => (Severity::High, Confidence::High),
    };
    let what = if change == ScheduleChange::Ran { "run" } else { "set-up" };
    let key = super::key(note, format!("{what} of scheduled export {operation}"));
    let lead = format!("Scheduled export {operation} of {words} {done}");
    let mut signal = Signal::exact(RuleId::BulkExport, key, severity, lead);
    signal.confidence = confidence;
    signal.rows = 1;
    signal.is_news = severity > Severity::Informational;
    signal.phi = note.phi;
    Some(signal)
}

/// Belongs to a finding that was told when the message came.
fn follow_up(note: &Note, message: u64) -> Signal {
    let key = super::key(note, format!("export {message}"));
    let mut signal = Signal::exact(RuleId::BulkExport, key, Severity::Informational, String::new());
    signal.is_follow_up = true;
    signal
}

state_struct!(Queued { time, is_personal, is_running, is_noticed });
state_struct!(Exports { queued });

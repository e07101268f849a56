//! Announced jobs and maintenance: what makes a bulk change an expected one.
//!
//! An import announces itself with rows of its data, then a history row, then (after its writes) the
//! update of that row, on one thread. Its writes are expected as far as they fit what was announced
//! or what the shop's past imports were; such rows can be forged, so size matters. A log that names
//! no threads (MariaDB 10.11) can tell only one import at a time, whose writes are those of several
//! persons in one transaction.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::EventTime;
use phiwatch_magento::ImportPhase;

use crate::{
    alert::{RuleId, Severity},
    finding::{Key, Measure, Signal},
    persons::{Kinds, Persons},
    settings::{MaintenanceWindow, Settings},
    state::state_struct,
    summary::{Item, Note, Scope, Summary},
};

/// Imports followed at a time.
const JOBS_MAX: usize = 64;
/// Persons of an import counted exactly.
const PERSONS_EXACT_MAX: usize = 8192;
/// An import that does not end is forgotten after so long, seconds.
const JOB_SECS: i64 = 12 * 3_600;
/// Rows staged are announced for so long, seconds.
const STAGED_SECS: i64 = 86_400;
/// After an upgrade's rows or statements, new tables and columns are its own for so long, seconds.
const UPGRADE_SECS: i64 = 600;
/// What `setup:upgrade` is called.
const UPGRADE: &str = "setup upgrade";
/// Stands for an unknown thread.
const NO_THREAD: u32 = 0;
/// Shops remembered.
const SHOPS_MAX: usize = 1024;

/// Why bulk rows of a transaction are expected.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Excuse {
    /// Bulk changes are expected, because ...
    pub(crate) reason: Option<String>,
    /// New tables, columns and copies are expected, because ...
    pub(crate) upgrade: Option<String>,
    /// The maintenance window that explains it.
    pub(crate) maintenance: Option<String>,
    /// The transaction applies a data patch of an upgrade, which may change many persons.
    pub(crate) is_patch: bool,
    /// The transaction belongs to an import, expected or not.
    pub(crate) is_import: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Job {
    database: Arc<str>,
    begun: EventTime,
    announced: u64,
    /// Persons changed so far: customers, addresses and attributes come in bunches of their own.
    persons: Persons,
}

#[derive(Debug, Clone, PartialEq)]
struct Shop {
    /// Rows of import data not yet taken by a job, and when the last came.
    staged: (u64, EventTime),
    /// Persons of the largest past import that fitted.
    largest: u64,
    /// Upgrade at work until, and its kind.
    upgrade: (EventTime, String),
}

/// Announced jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Jobs {
    /// By server id and thread; 0 where the log does not name it (no session has that id).
    open: BTreeMap<(u32, u32), Job>,
    shops: BTreeMap<Arc<str>, Shop>,
    /// By maintenance window: the day of its occurrence and the rows written in it.
    windows: BTreeMap<String, (i64, u64)>,
}

impl Jobs {
    pub(crate) fn excuse(
        &mut self,
        summary: &Summary,
        now: EventTime,
        settings: &Settings,
        out: &mut Vec<Signal>,
    ) -> Excuse {
        let origin = &summary.origin;
        let thread = (origin.server_id, origin.thread.unwrap_or(NO_THREAD));
        let ended = self.follow(summary, thread, now);
        let mut excuse = Excuse::default();
        if let Some(job) = self.open.get_mut(&thread)
            && (origin.thread.is_some() || is_bunch(summary, job))
        {
            excuse.is_import = true;
            let persons = changed(summary, job);
            let largest = self.shops.get(&job.database).map_or(0, |shop| shop.largest);
            if fits(job, largest) {
                excuse.reason = Some(format!("an import that announced {} rows", job.announced));
            } else if persons > 0 {
                out.extend(oversized(job, summary, persons, now));
            }
        }
        if ended {
            self.close(thread);
        }
        excuse.upgrade = summary
            .groups
            .iter()
            .map(|group| &group.database)
            .chain(summary.copies.keys().map(|(database, _)| database))
            .chain(summary.notes().map(|note| &note.database))
            .chain(summary.signs.list.iter().map(|signed| &signed.database))
            .chain(summary.marks.databases())
            .filter_map(|database| self.shops.get(database))
            .find(|shop| now < shop.upgrade.0)
            .map(|shop| shop.upgrade.1.clone());
        let is_patch = |note: &Note| {
            &*note.table == "patch_list"
                && matches!(&note.item, Item::Maintenance { kind } if kind == UPGRADE)
        };
        excuse.is_patch = summary.notes().any(is_patch);
        for window in &settings.maintenance {
            if self.is_within(window, summary, now, settings.time_zone_offset_secs) {
                excuse.reason = Some(format!("maintenance window {}", window.name));
                excuse.upgrade = excuse.reason.clone();
                excuse.maintenance = Some(window.name.clone());
            }
        }
        excuse
    }

    /// Follows announcements; true if the thread's import ends with this transaction.
    fn follow(&mut self, summary: &Summary, thread: (u32, u32), now: EventTime) -> bool {
        let mut ended = false;
        for note in summary.notes() {
            match &note.item {
                // A reindex writes derived copies only, and new keys change no data: neither explains
                // a new table.
                Item::Maintenance { kind } if kind == UPGRADE => {
                    let until = EventTime(now.0.saturating_add(UPGRADE_SECS * 1_000_000));
                    if let Some(shop) = self.shop(&note.database) {
                        shop.upgrade = (until, kind.clone());
                    }
                }
                Item::Import { phase: ImportPhase::Begin, rows } => {
                    let staged = self.take_staged(&note.database, now);
                    self.begin(thread, &note.database, (*rows).max(staged), now);
                }
                Item::Import { phase: ImportPhase::Data, rows } => {
                    if let Some(job) = self.open.get_mut(&thread) {
                        job.announced = job.announced.saturating_add(*rows);
                    } else if let Some(shop) = self.shop(&note.database) {
                        shop.staged = (shop.staged.0.saturating_add(*rows), now);
                    }
                }
                Item::Import { phase: ImportPhase::End, .. } => ended = true,
                _ => {}
            }
        }
        ended
    }

    fn shop(&mut self, database: &Arc<str>) -> Option<&mut Shop> {
        if !self.shops.contains_key(database) && self.shops.len() >= SHOPS_MAX {
            return None;
        }
        Some(self.shops.entry(Arc::clone(database)).or_insert(Shop {
            staged: (0, EventTime(i64::MIN)),
            largest: 0,
            upgrade: (EventTime(i64::MIN), String::new()),
        }))
    }

    fn take_staged(&mut self, database: &Arc<str>, now: EventTime) -> u64 {
        let Some(shop) = self.shops.get_mut(database) else { return 0 };
        let (rows, time) = std::mem::replace(&mut shop.staged, (0, EventTime(i64::MIN)));
        let is_fresh = now.0.saturating_sub(time.0) < STAGED_SECS * 1_000_000;
        if is_fresh { rows } else { 0 }
    }

    fn begin(&mut self, thread: (u32, u32), database: &Arc<str>, announced: u64, now: EventTime) {
        self.open.retain(|_, job| now.0.saturating_sub(job.begun.0) < JOB_SECS * 1_000_000);
        if self.open.len() < JOBS_MAX {
            let database = Arc::clone(database);
            self.open
                .insert(thread, Job { database, begun: now, announced, persons: Persons::new() });
        }
    }

    fn close(&mut self, thread: (u32, u32)) {
        let Some(job) = self.open.remove(&thread) else { return };
        let largest = self.shops.get(&job.database).map_or(0, |shop| shop.largest);
        if fits(&job, largest)
            && let Some(shop) = self.shop(&job.database)
        {
            shop.largest = shop.largest.max(job.persons.total().0);
        }
    }

    fn is_within(
        &mut self,
        window: &MaintenanceWindow,
        summary: &Summary,
        now: EventTime,
        offset_secs: i32,
    ) -> bool {
        let Some(day) = window.occurrence(now, offset_secs) else { return false };
        let is_named = |table: &str| window.tables.iter().any(|name| name == table);
        let covers = window.tables.is_empty()
            || summary
                .tallies
                .iter()
                .filter(|tally| tally.class.is_personal() && !tally.is_grid)
                .all(|tally| is_named(&tally.table));
        if !covers || summary.rows() == 0 {
            return false;
        }
        let (of_day, rows) = self.windows.get(&window.name).copied().unwrap_or((day, 0));
        let rows = if of_day == day { rows } else { 0 };
        let rows = rows.saturating_add(summary.rows());
        self.windows.insert(window.name.clone(), (day, rows));
        rows <= window.rows_max
    }
}

/// Whether a transaction without a thread looks like the import's: visitors and staff change one
/// person at a time.
fn is_bunch(summary: &Summary, job: &Job) -> bool {
    let groups = summary.groups.iter().filter(|group| group.database == job.database);
    groups.map(|group| group.persons.of(Kinds::CHANGED)).sum::<u64>() > 1
}

/// Adds the persons that the transaction changed to its import; how many they are.
fn changed(summary: &Summary, job: &mut Job) -> u64 {
    let mut persons = 0;
    for group in summary.groups.iter().filter(|group| group.database == job.database) {
        job.persons.absorb(&group.persons, Some(Kinds::CHANGED), PERSONS_EXACT_MAX);
        persons += group.persons.of(Kinds::CHANGED);
    }
    persons
}

/// A tenth and a few more than announced (an address and its customer may be told apart), or twice
/// the largest before.
fn fits(job: &Job, largest: u64) -> bool {
    let announced = job.announced.saturating_add(job.announced / 10);
    job.persons.total().0 <= announced.max(largest.saturating_mul(2)).saturating_add(5)
}

/// An import that writes more than it announced; joins the finding of the tenant that it writes
/// most of.
fn oversized(job: &Job, summary: &Summary, persons: u64, now: EventTime) -> Option<Signal> {
    let total = job.persons.total().0;
    if total < 50 {
        return None;
    }
    let groups = summary.groups.iter().filter(|group| group.database == job.database);
    let tenant = groups.max_by_key(|group| group.persons.of(Kinds::CHANGED))?.tenant;
    let severity = if total > 500 { Severity::High } else { Severity::Medium };
    let lead = format!(
        "An import changed {} distinct persons where {} rows were announced",
        total, job.announced,
    );
    let key = Key { database: super::named(&job.database), tenant, what: String::new() };
    let mut signal = Signal::exact(RuleId::BulkChange, key, severity, lead);
    signal.persons = total;
    signal.rows = persons;
    signal.kind = Some(Kinds::CHANGED);
    signal.scope = Scope { database: Some(Arc::clone(&job.database)), tenant: None };
    #[allow(clippy::cast_precision_loss, reason = "shown as a figure")]
    let expected = job.announced as f64;
    signal.measure = Some(Measure {
        parameter: 8,
        target: "an announced import".to_owned(),
        window_secs: u64::try_from(now.secs() - job.begun.secs()).unwrap_or_default(),
        from: job.begun,
        until: now,
        observed: total,
        expected,
        threshold: (job.announced + job.announced / 10).saturating_add(6),
        score: 0.0,
        history_secs: 0,
    });
    Some(signal)
}

state_struct!(Job { database, begun, announced, persons });
state_struct!(Shop { staged, largest, upgrade });
state_struct!(Jobs { open, shops, windows });

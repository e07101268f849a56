//! What a transaction taught, until it is known to stand.
//!
//! Rows teach as they come, because later rows of the same transaction are judged by earlier ones.
//! If the transaction is rolled back or cut off, the lessons are taken back; if it is an XA
//! transaction that was prepared, they are taken back and kept for its commit, which may come in
//! another file, or never.
//!
//! # Invariants
//! - Between transactions a shop knows what committed rows said, and nothing else.
//! - At most [`LESSONS_MAX`] lessons are held per transaction, and over all prepared ones.

use phiwatch_binlog::{BinlogPosition, Gtid};

use crate::{
    catalog::Entity,
    map::Owner,
    shop::{REMEMBERED_MAX, Series, Shop},
};

/// Lessons held of one transaction, and of all prepared ones together (64 bytes each). What an
/// ordinary transaction teaches beyond it stays learned if it is rolled back; a prepared one
/// teaches no more.
pub(crate) const LESSONS_MAX: usize = 100_000;

/// One thing that a row said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// Whose an id is; None: the id is gone.
    Owner { entity: Entity, id: u32, owner: Option<Owner> },
    /// The website of a store; None: the store is gone.
    Store { store: u32, website: Option<u32> },
    /// Whether accounts are shared.
    Shared(Option<bool>),
    /// `entity_type_id` of the customer (0) or the address (1).
    EntityType { place: usize, id: Option<u32> },
    /// Whether the status of an export message is still to come.
    Export { message: u64, is_open: bool },
    /// What a store's order numbers begin with.
    Series { store: u32, series: Option<Series> },
}

/// A lesson, and what was known before it.
#[derive(Debug, Clone, Copy)]
struct Step {
    new: Lesson,
    old: Lesson,
}

/// The lessons of the open transaction in one shop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    steps: Vec<Step>,
    /// The transaction will be prepared.
    is_prepared: bool,
    /// Lessons that were not taken, for want of room.
    refused: u64,
}

/// What a prepared transaction taught.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) xid: String,
    pub(crate) at: BinlogPosition,
    pub(crate) gtid: Option<Gtid>,
    /// Index of a shop, and what was said of it, in order.
    pub(crate) lessons: Vec<(usize, Lesson)>,
}

impl Shop {
    /// Takes a lesson of the open transaction.
    pub(crate) fn take(&mut self, new: Lesson, ids_max: u32) {
        let journal = &mut self.journal;
        if journal.steps.len() < LESSONS_MAX {
            let old = self.known(new);
            self.journal.steps.push(Step { new, old });
        } else if journal.is_prepared {
            journal.refused += 1;
            return;
        }
        self.apply(new, ids_max);
    }

    /// The open transaction will be prepared.
    pub(crate) fn prepares(&mut self) {
        self.journal.is_prepared = true;
    }

    /// The lessons stand.
    pub(crate) fn keep_lessons(&mut self) {
        self.journal.steps.clear();
        self.journal.steps.shrink_to(64);
        self.journal.is_prepared = false;
        self.journal.refused = 0;
    }

    /// Takes the lessons back, and gives them; and whether some were refused.
    pub(crate) fn undo_lessons(&mut self, ids_max: u32) -> (Vec<Lesson>, bool) {
        let journal = std::mem::take(&mut self.journal);
        for step in journal.steps.iter().rev() {
            self.apply(step.old, ids_max);
        }
        (journal.steps.iter().map(|step| step.new).collect(), journal.refused > 0)
    }

    /// What is known of the thing that a lesson is about.
    fn known(&self, lesson: Lesson) -> Lesson {
        match lesson {
            Lesson::Owner { entity, id, .. } => {
                Lesson::Owner { entity, id, owner: self.owner(entity, id) }
            }
            Lesson::Store { store, .. } => {
                Lesson::Store { store, website: self.stores.get(&store).copied() }
            }
            Lesson::Shared(_) => Lesson::Shared(self.is_shared),
            Lesson::EntityType { place, .. } => {
                Lesson::EntityType { place, id: self.entity_types[place] }
            }
            Lesson::Export { message, .. } => {
                Lesson::Export { message, is_open: self.exports.contains(&message) }
            }
            Lesson::Series { store, .. } => {
                Lesson::Series { store, series: self.series.get(&store).copied() }
            }
        }
    }

    /// Knows what a lesson says.
    pub(crate) fn apply(&mut self, lesson: Lesson, ids_max: u32) {
        match lesson {
            Lesson::Owner { entity, id, owner: Some(owner) } => {
                self.learn(entity, id, owner, ids_max);
            }
            Lesson::Owner { entity, id, owner: None } => self.forget(entity, id),
            Lesson::Store { store, website: Some(website) } => {
                self.stores.insert(store, website);
            }
            Lesson::Store { store, website: None } => {
                self.stores.remove(&store);
            }
            Lesson::Shared(is_shared) => self.is_shared = is_shared,
            Lesson::EntityType { place, id } => self.entity_types[place] = id,
            Lesson::Export { message, is_open } => self.export(message, is_open),
            Lesson::Series { store, series: Some(series) } => {
                if self.series.contains_key(&store) || self.series.len() < REMEMBERED_MAX {
                    self.series.insert(store, series);
                }
            }
            Lesson::Series { store, series: None } => {
                self.series.remove(&store);
            }
        }
    }
}

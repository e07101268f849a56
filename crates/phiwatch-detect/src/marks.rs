//! What looks at the values of one transaction's rows said, in bounded form.
//!
//! # Invariants
//! - Each list has at most [`MARKS_MAX`] entries; what is over it is refused, for the caller to count.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::Op;
use phiwatch_magento::{
    Because, Cleartext, Found, Identifier, Mark, Observation, PhiClasses, TableClass, Tenant,
    ValuePlace, ValueSeen,
};

use crate::{
    persons::{Kinds, Persons},
    state::{CheckpointError, Reader, State, state_struct},
};

/// Entries of each list.
const MARKS_MAX: usize = 256;
/// Persons of one table counted exactly in one transaction.
const PERSONS_EXACT_MAX: usize = 8192;
/// Tables that are named of one seeded person.
const TABLES_MAX: usize = 8;

/// A column of a tenant.
pub(crate) type Column = (Arc<str>, Arc<str>, Arc<str>, Tenant);

/// Database, tenant, list (whether by e-mail address) and place in it.
pub(crate) type Seeded = (Arc<str>, Tenant, (bool, u32));

/// A seeded person in one transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Canary {
    pub(crate) tables: Vec<Arc<str>>,
    pub(crate) rows: u64,
    pub(crate) is_changed: bool,
    pub(crate) is_deleted: bool,
    /// Turned up outside the catalogue, or in a body.
    pub(crate) is_copied: bool,
    /// Made in this transaction.
    pub(crate) is_seeding: bool,
    pub(crate) phi: PhiClasses,
}

/// Rows of one column that hold something other than ciphertext.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Clear {
    pub(crate) form: Cleartext,
    pub(crate) because: Because,
    pub(crate) rows: u64,
    pub(crate) phi: PhiClasses,
}

/// Identifiers in one column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    pub(crate) rows: u64,
    pub(crate) counts: Counts,
    pub(crate) phi: PhiClasses,
}

/// Identifiers by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts(pub(crate) [u64; Identifier::COUNT]);

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// Classes of which there are some, with how many.
    pub(crate) fn each(self) -> impl Iterator<Item = (Identifier, u64)> {
        Identifier::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

impl From<Found> for Counts {
    fn from(found: Found) -> Self {
        Self(found.0.map(u64::from))
    }
}

/// Values of persons in one table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Values {
    /// Rows looked at, as far as they were told.
    pub(crate) rows: u64,
    /// Rows that hold a value that a table of the catalogue holds.
    pub(crate) rows_known: u64,
    /// Rows that hold a value that looks personal, known or not.
    pub(crate) rows_shaped: u64,
    pub(crate) classes: PhiClasses,
    /// Persons by known values, outside sentences.
    pub(crate) known: Persons,
    /// Of them those that were not written just now.
    pub(crate) idle: Persons,
    /// Persons by anything that looks personal.
    pub(crate) shaped: Persons,
    /// A body in a table of the catalogue.
    pub(crate) is_body: bool,
    /// All of it in Magento's own form.
    pub(crate) is_own: bool,
}

/// What looks at values said.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Marks {
    pub(crate) canaries: BTreeMap<Seeded, Canary>,
    pub(crate) clear: BTreeMap<(Column, bool), Clear>,
    pub(crate) texts: BTreeMap<Column, Text>,
    /// By database and table.
    pub(crate) values: BTreeMap<(Arc<str>, Arc<str>), Values>,
}

impl Marks {
    /// Adds a mark; false if there is no room.
    pub(crate) fn push(&mut self, observation: &Observation, mark: &Mark) -> bool {
        let table = &observation.table;
        let phi = table.phi;
        let column = |column: &Arc<str>| {
            let (database, name) = (Arc::clone(&table.database), Arc::clone(&table.name));
            (database, name, Arc::clone(column), observation.tenant)
        };
        match mark {
            Mark::Canary { number, is_email, op, is_seeding } => {
                self.canary(observation, (*is_email, *number), *op, *is_seeding)
            }
            Mark::Cleartext { column: name, form, because } => {
                let key = (column(name), *form == Cleartext::Corrupt);
                let new = Clear { form: *form, because: *because, rows: 0, phi };
                entry(&mut self.clear, key, new).is_some_and(|clear| {
                    clear.rows += 1;
                    clear.form = clear.form.max(*form);
                    clear.because = clear.because.max(*because);
                    true
                })
            }
            Mark::Identifiers { column: name, found } => {
                let new = Text { rows: 0, counts: Counts::default(), phi };
                entry(&mut self.texts, column(name), new).is_some_and(|text| {
                    text.rows += 1;
                    text.counts.add(Counts::from(*found));
                    true
                })
            }
            Mark::Value { place, seen, class, rows } => {
                self.value(observation, *place, *seen, *class, *rows)
            }
        }
    }

    fn canary(
        &mut self,
        observation: &Observation,
        which: (bool, u32),
        op: Op,
        is_seeding: bool,
    ) -> bool {
        let table = &observation.table;
        let tenant = match observation.tenant {
            Tenant::Website(id) => Tenant::Website(id),
            Tenant::Global | Tenant::Unknown => Tenant::Global,
        };
        let key = (Arc::clone(&table.database), tenant, which);
        entry(&mut self.canaries, key, Canary::default()).is_some_and(|canary| {
            canary.rows += 1;
            let is_copied = !table.class.is_personal() && op != Op::Delete;
            canary.is_copied |= is_copied;
            canary.is_changed |= !is_copied && op != Op::Delete;
            canary.is_deleted |= op == Op::Delete;
            canary.is_seeding |= is_seeding;
            canary.phi = canary.phi.union(table.phi);
            if canary.tables.len() < TABLES_MAX && !canary.tables.contains(&table.name) {
                canary.tables.push(Arc::clone(&table.name));
            }
            true
        })
    }

    fn value(
        &mut self,
        observation: &Observation,
        place: ValuePlace,
        seen: ValueSeen,
        class: PhiClasses,
        rows: u32,
    ) -> bool {
        let table = &observation.table;
        let key = (Arc::clone(&table.database), Arc::clone(&table.name));
        let new = Values {
            rows: 0,
            rows_known: 0,
            rows_shaped: 0,
            classes: PhiClasses::default(),
            known: Persons::new(),
            idle: Persons::new(),
            shaped: Persons::new(),
            is_body: table.class != TableClass::Unknown,
            is_own: true,
        };
        let Some(values) = entry(&mut self.values, key, new) else { return false };
        values.rows += u64::from(rows);
        values.classes = values.classes.union(class);
        values.is_own &= place == ValuePlace::OwnBody;
        let Some(subject) = observation.subject else { return true };
        let is_row = u64::from(rows > 0);
        values.rows_shaped += is_row;
        values.shaped.insert(subject, Kinds::SEEN, PERSONS_EXACT_MAX);
        if seen == ValueSeen::Shape || place == ValuePlace::Text {
            return true;
        }
        values.rows_known += is_row;
        values.known.insert(subject, Kinds::SEEN, PERSONS_EXACT_MAX);
        if seen == ValueSeen::Known {
            values.idle.insert(subject, Kinds::SEEN, PERSONS_EXACT_MAX);
        }
        true
    }

    /// Schemas of the marks, some of them more than once.
    pub(crate) fn databases(&self) -> impl Iterator<Item = &Arc<str>> {
        let canaries = self.canaries.keys().map(|(database, ..)| database);
        let values = self.values.keys().map(|(database, _)| database);
        canaries.chain(values).chain(self.texts.keys().map(|(database, ..)| database))
    }

    /// Memory that they take, bytes, estimated from above.
    pub(crate) fn bytes(&self) -> usize {
        const EACH: usize = 256;
        let lists =
            self.canaries.len() + self.clear.len() + self.texts.len() + self.values.len() * 2;
        let of =
            |values: &Values| values.known.bytes() + values.idle.bytes() + values.shaped.bytes();
        lists * EACH + self.values.values().map(of).sum::<usize>()
    }
}

/// The entry of a key, new if there is room.
fn entry<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, new: V) -> Option<&mut V> {
    if map.len() >= MARKS_MAX && !map.contains_key(&key) {
        return None;
    }
    Some(map.entry(key).or_insert(new))
}

impl State for Counts {
    fn save(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|count| count.save(out));
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let mut counts = Self::default();
        for count in &mut counts.0 {
            *count = u64::load(input)?;
        }
        Ok(counts)
    }
}

impl<A: State, B: State, C: State, D: State> State for (A, B, C, D) {
    fn save(&self, out: &mut Vec<u8>) {
        self.0.save(out);
        self.1.save(out);
        self.2.save(out);
        self.3.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        Ok((A::load(input)?, B::load(input)?, C::load(input)?, D::load(input)?))
    }
}

state_struct!(Canary { tables, rows, is_changed, is_deleted, is_copied, is_seeding, phi });
state_struct!(Clear { form, because, rows, phi });
state_struct!(Text { rows, counts, phi });
state_struct!(Values {
    rows,
    rows_known,
    rows_shaped,
    classes,
    known,
    idle,
    shaped,
    is_body,
    is_own,
});
state_struct!(Marks { canaries, clear, texts, values });

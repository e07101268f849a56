//! What was learned of one shop (one database): whose every id is.
//!
//! Input: row images in binlog order, and rows read from a live server where the log said nothing.
//! Output: the website of a row, or that it is not known.
//!
//! # Invariants
//! - The log wins: what came from a server's present state never replaces it.
//! - Ids beyond the limit are dropped oldest first and counted.
//! - An id is forgotten at the end of the transaction that deleted it, because a server may log
//!   the dependants after their parent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    AttributeOf, Catalog, Settings, ShareScope, Tenant,
    catalog::Entity,
    emails::Emails,
    inspect::{History, ShapeKey},
    journal::{Journal, Lesson},
    map::{IdMap, NO_CUSTOMER, NO_SITE, Owner},
    row::Field,
    token,
};

/// Export messages that are remembered until their status is final, and copies of tables.
pub(crate) const REMEMBERED_MAX: usize = 1_024;
/// `entity_type_id` of customers and addresses on a clean installation.
pub(crate) const ENTITY_TYPES: [u32; 2] = [1, 2];
/// Deletions that are remembered until the transaction's end; ids of further ones stay learned.
const DELETIONS_MAX: usize = 100_000;

/// Orders from which a store's series of numbers is known.
const SERIES_MIN: u32 = 20;
/// Counts of a series are halved at this.
pub(crate) const SERIES_MAX: u32 = 1_000;

/// What a store's order numbers begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Series {
    /// Hash of the prefix.
    pub(crate) prefix: u64,
    /// Orders with it, and with another.
    pub(crate) seen: u32,
    pub(crate) other: u32,
}

impl Series {
    /// With one more order.
    pub(crate) fn with(self, prefix: u64) -> Self {
        let mut next = self;
        if prefix == self.prefix {
            next.seen += 1;
        } else {
            next.other += 1;
        }
        if next.other > next.seen {
            return Self { prefix, seen: 1, other: 0 };
        }
        if next.seen >= SERIES_MAX {
            next.seen /= 2;
            next.other /= 2;
        }
        next
    }

    fn is_sure(self) -> bool {
        self.seen >= SERIES_MIN && u64::from(self.other) * 20 <= u64::from(self.seen)
    }
}

/// A site that an invariant compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// NULL, the admin scope (0), or not in the image: nothing to compare.
    Exempt,
    /// There is one, but it was never seen.
    Unknown,
    /// A website.
    Is(u32),
}

impl Site {
    pub(crate) fn tenant(self) -> Tenant {
        match self {
            Self::Exempt => Tenant::Global,
            Self::Unknown => Tenant::Unknown,
            Self::Is(website) => Tenant::Website(website),
        }
    }
}

/// State of one database.
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    pub(crate) database: Arc<str>,
    /// Fixed hash of the database's name.
    pub(crate) hash: u64,
    /// Whether a table was seen that only shops have.
    pub(crate) is_shop: bool,
    /// Store to website.
    pub(crate) stores: BTreeMap<u32, u32>,
    /// Whether accounts are shared by all websites, if the log or the server said.
    pub(crate) is_shared: Option<bool>,
    pub(crate) owners: [IdMap; Entity::COUNT],
    /// Series of order numbers by store.
    pub(crate) series: BTreeMap<u32, Series>,
    /// Customers by e-mail address, once two websites have customers. Not saved.
    emails: Option<Emails>,
    /// `entity_type_id` of the customer and the address.
    pub(crate) entity_types: [Option<u32>; 2],
    /// Ids of export messages whose status is still to come.
    pub(crate) exports: BTreeSet<u64>,
    /// Tables made from catalogue tables, and those.
    pub(crate) copies: BTreeMap<Arc<str>, Arc<str>>,
    /// Columns that were seen to hold ciphertext.
    pub(crate) shapes: BTreeMap<ShapeKey, History>,
    /// EAV attributes that policy names, by id.
    pub(crate) attributes: BTreeMap<u32, (AttributeOf, String)>,
    /// Personal tables of the catalogue that exist.
    pub(crate) seen: BTreeSet<Arc<str>>,
    deletions: Vec<(Entity, u32)>,
    /// Rows deleted in the open transaction (table, id) whose dependants are not in the log.
    gone: Vec<(Arc<str>, u32)>,
    /// What the open transaction taught.
    pub(crate) journal: Journal,
    /// Ids dropped because of the limit.
    pub(crate) dropped: u64,
}

impl Shop {
    pub(crate) fn new(database: &str, settings: &Settings) -> Self {
        Self {
            database: database.into(),
            hash: token::fixed(database.as_bytes()),
            is_shop: settings.databases.iter().any(|name| name == database),
            stores: settings.stores.clone(),
            is_shared: None,
            owners: std::array::from_fn(|_| IdMap::default()),
            series: BTreeMap::new(),
            emails: None,
            entity_types: [None; 2],
            exports: BTreeSet::new(),
            copies: BTreeMap::new(),
            shapes: BTreeMap::new(),
            attributes: BTreeMap::new(),
            seen: BTreeSet::new(),
            deletions: Vec::new(),
            gone: Vec::new(),
            journal: Journal::default(),
            dropped: 0,
        }
    }

    /// Whether customer accounts are shared by all websites.
    pub(crate) fn is_shared(&self, settings: &Settings) -> bool {
        match settings.share_scope {
            ShareScope::Auto => self.is_shared.unwrap_or(false),
            ShareScope::Website => false,
            ShareScope::Global => true,
        }
    }

    /// The store of another website whose series of order numbers a prefix is, if this store and
    /// its website have others.
    pub(crate) fn series_elsewhere(&self, store: u32, prefix: u64) -> Option<u32> {
        let website = *self.stores.get(&store)?;
        let own = self.series.get(&store).filter(|own| own.is_sure())?;
        if own.prefix == prefix {
            return None;
        }
        let like =
            self.series.iter().filter(|(_, other)| other.is_sure() && other.prefix == prefix);
        let mut of = None;
        for (other, _) in like {
            match self.stores.get(other) {
                Some(site) if *site != website && *site != 0 => of = of.or(Some(*other)),
                _ => return None,
            }
        }
        of
    }

    /// Another website's customer with the e-mail address of a new one.
    pub(crate) fn email_elsewhere(&mut self, check: u32, id: u32, website: u16) -> Option<u16> {
        if self.emails.is_none() {
            let mut sites: Vec<u32> =
                self.stores.values().copied().filter(|site| *site != 0).collect();
            sites.sort_unstable();
            sites.dedup();
            if sites.len() < 2 {
                return None;
            }
            self.emails = Some(Emails::of(&self.owners[Entity::Customer as usize]));
        }
        let customers = &self.owners[Entity::Customer as usize];
        self.emails.as_ref()?.elsewhere(check, (id, website), customers)
    }

    pub(crate) fn owner(&self, entity: Entity, id: u32) -> Option<Owner> {
        self.owners[entity as usize].get(id)
    }

    pub(crate) fn learn(&mut self, entity: Entity, id: u32, owner: Owner, ids_max: u32) {
        self.dropped += self.owners[entity as usize].insert(id, owner, ids_max);
        if let (Entity::Customer, Some(emails)) = (entity, &mut self.emails) {
            emails.insert(owner.customer, id, &self.owners[entity as usize]);
        }
    }

    /// Learns an id of which the log said nothing.
    pub(crate) fn fill(&mut self, entity: Entity, id: u32, owner: Owner, ids_max: u32) {
        if self.owner(entity, id).is_none() {
            self.learn(entity, id, owner, ids_max);
        }
    }

    /// A personal table of the catalogue exists.
    pub(crate) fn saw(&mut self, table: &Arc<str>) {
        if !self.seen.contains(table) {
            self.seen.insert(Arc::clone(table));
        }
    }

    /// The personal table whose shadow in an online schema change this is, by its name: one of a
    /// table that does not exist here is none.
    pub(crate) fn shadowed(
        &self,
        catalog: &Catalog,
        prefix: &str,
        table: &str,
    ) -> Option<Arc<str>> {
        self.seen.get(catalog.migrated(table, prefix)?).map(Arc::clone)
    }

    /// Whose attributes an `entity_type_id` is about.
    pub(crate) fn attribute_of(&self, entity_type: u32) -> Option<AttributeOf> {
        let types = [AttributeOf::Customer, AttributeOf::Address];
        let ids = [0, 1].map(|n| self.entity_types[n].unwrap_or(ENTITY_TYPES[n]));
        ids.iter().zip(types).find(|(id, _)| **id == entity_type).map(|(_, of)| of)
    }

    /// Forgets an id when the transaction ends.
    pub(crate) fn forget_later(&mut self, entity: Entity, id: u32) {
        if self.deletions.len() < DELETIONS_MAX {
            self.deletions.push((entity, id));
        }
    }

    /// A row is deleted whose dependants the server does not log.
    pub(crate) fn gone(&mut self, table: &Arc<str>, id: u32) {
        if self.gone.len() < DELETIONS_MAX {
            self.gone.push((Arc::clone(table), id));
        }
    }

    pub(crate) fn take_gone(&mut self) -> Vec<(Arc<str>, u32)> {
        std::mem::take(&mut self.gone)
    }

    /// Ids that the open transaction deleted.
    pub(crate) fn deleted(&self, entity: Entity) -> BTreeSet<u32> {
        let its = self.deletions.iter().filter(|(of, _)| *of == entity);
        its.map(|(_, id)| *id).collect()
    }

    /// The id stands again (a REPLACE deletes and inserts).
    pub(crate) fn keep(&mut self, entity: Entity, id: u32) {
        if !self.deletions.is_empty() {
            self.deletions.retain(|deletion| *deletion != (entity, id));
        }
    }

    pub(crate) fn forget(&mut self, entity: Entity, id: u32) {
        self.owners[entity as usize].remove(id);
    }

    /// The status of an export message is to come, or is final.
    pub(crate) fn export(&mut self, message: u64, is_open: bool) {
        if !is_open {
            self.exports.remove(&message);
            return;
        }
        self.exports.insert(message);
        if self.exports.len() > REMEMBERED_MAX {
            self.exports.pop_first();
        }
    }

    /// The transaction is committed: what it taught stands.
    pub(crate) fn commit(&mut self) {
        self.keep_lessons();
        for (entity, id) in std::mem::take(&mut self.deletions) {
            self.forget(entity, id);
        }
    }

    /// The transaction has no effect, or not yet: what it taught is taken back and given, and
    /// whether that is not all.
    pub(crate) fn undo(&mut self, ids_max: u32) -> (Vec<Lesson>, bool) {
        let (mut lessons, is_cut) = self.undo_lessons(ids_max);
        let gone = std::mem::take(&mut self.deletions);
        lessons.extend(gone.into_iter().map(|(entity, id)| Lesson::Owner {
            entity,
            id,
            owner: None,
        }));
        (lessons, is_cut)
    }

    /// Website of a store column.
    pub(crate) fn site_of_store(&self, store: Field) -> Site {
        match store {
            Field::Absent | Field::Null | Field::Is(0) => Site::Exempt,
            Field::Is(_) => match store.key().and_then(|store| self.stores.get(&store)) {
                Some(0) => Site::Exempt,
                Some(website) => Site::Is(*website),
                None => Site::Unknown,
            },
        }
    }

    /// Website of a column with a customer's id.
    pub(crate) fn site_of_customer(&self, customer: Field) -> Site {
        self.site_of(Entity::Customer, customer)
    }

    /// Website of a column with an entity's id.
    pub(crate) fn site_of(&self, entity: Entity, id: Field) -> Site {
        if id.id().is_none() {
            return Site::Exempt;
        }
        let owner = id.key().and_then(|id| self.owner(entity, id));
        owner.map_or(Site::Unknown, |owner| self.site_of_owner(entity, owner))
    }

    fn site_of_owner(&self, entity: Entity, owner: Owner) -> Site {
        if entity == Entity::Customer {
            return site_of_website(owner.website);
        }
        let by_store = match owner.store {
            NO_SITE => Site::Unknown,
            store => self.site_of_store(Field::Is(u64::from(store))),
        };
        match by_store {
            Site::Is(_) => by_store,
            Site::Exempt | Site::Unknown => match owner.customer {
                0 | NO_CUSTOMER => by_store,
                customer => match self.site_of_customer(Field::Is(u64::from(customer))) {
                    Site::Is(website) => Site::Is(website),
                    Site::Exempt | Site::Unknown => by_store,
                },
            },
        }
    }
}

/// Website of a column with a website's id.
pub(crate) fn site_of_website_column(website: Field) -> Site {
    match website {
        Field::Absent | Field::Null | Field::Is(0) => Site::Exempt,
        Field::Is(_) => website.key().map_or(Site::Unknown, Site::Is),
    }
}

fn site_of_website(website: u16) -> Site {
    match website {
        NO_SITE | 0 => Site::Exempt,
        website => Site::Is(u32::from(website)),
    }
}

/// A site id as the maps hold it.
pub(crate) fn narrow(id: Option<u64>) -> u16 {
    id.and_then(|id| u16::try_from(id).ok()).unwrap_or(NO_SITE)
}

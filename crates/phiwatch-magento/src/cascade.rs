//! What a server removes or empties with a parent row without logging it.
//!
//! InnoDB carries out foreign keys by itself: a deleted customer's addresses are gone and the
//! customer's orders are a guest's, and the log of MariaDB and of MySQL before 9.6 has only the
//! parent's row. Input: the parents deleted in a transaction, the catalogue's keys, and what was
//! learned of their dependants. Output: an observation for each dependant, marked as inferred, and
//! the lessons that its row would have taught.
//!
//! # Invariants
//! - Nothing is inferred for a row whose event says that cascades are logged, or not carried out.
//! - A dependant that the transaction itself deleted is not inferred again.
//! - Dependants without ids of their own in the maps (attribute values, items of an order) are not
//!   counted: they are of the same persons.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use phiwatch_binlog::{End, Op, Transaction};

use crate::{
    Catalog, Classifier, Observation, Settings, TableInfo,
    catalog::{Cascade, CascadeAction, Entity, Step},
    journal::Lesson,
    map::{NO_CUSTOMER, NO_SITE, Owner},
    row::Field,
    shop::Shop,
    token,
};

/// Which part of an owner names the parent.
#[derive(Debug, Clone, Copy)]
enum Link {
    Customer,
    Store,
    Website,
}

impl Link {
    fn of(parent: &str) -> Option<Self> {
        match parent {
            "customer_entity" => Some(Self::Customer),
            "store" => Some(Self::Store),
            "store_website" => Some(Self::Website),
            _ => None,
        }
    }

    /// The parent's id in a dependant's owner.
    fn parent(self, entity: Entity, owner: Owner) -> Option<u32> {
        match self {
            // Of a customer itself, the field holds something else.
            Self::Customer if entity != Entity::Customer => {
                Some(owner.customer).filter(|id| !matches!(*id, 0 | NO_CUSTOMER))
            }
            Self::Store if owner.store != NO_SITE => Some(owner.store.into()),
            Self::Website if owner.website != NO_SITE => Some(owner.website.into()),
            Self::Customer | Self::Store | Self::Website => None,
        }
    }

    fn emptied(self, owner: Owner) -> Owner {
        match self {
            Self::Customer => Owner { customer: 0, ..owner },
            Self::Store => Owner { store: NO_SITE, ..owner },
            Self::Website => Owner { website: NO_SITE, ..owner },
        }
    }
}

impl Classifier {
    /// Before the end of a transaction that counts: gives an observation for each dependant that
    /// the log leaves out.
    pub fn infer(
        &mut self,
        _transaction: &Transaction,
        end: &End,
        mut out: impl FnMut(&Observation),
    ) {
        let counts = matches!(end, End::Commit | End::XaPrepared(_));
        let catalog = Arc::clone(self.catalog());
        for shop in &mut self.shops.list {
            let gone = shop.take_gone();
            if !gone.is_empty() && counts {
                infer(&catalog, &self.settings, shop, gone, &mut out);
            }
        }
    }
}

fn infer(
    catalog: &Catalog,
    settings: &Settings,
    shop: &mut Shop,
    gone: Vec<(Arc<str>, u32)>,
    out: &mut impl FnMut(&Observation),
) {
    let mut parents: BTreeMap<Arc<str>, BTreeSet<u32>> = BTreeMap::new();
    for (table, id) in gone {
        parents.entry(table).or_default().insert(id);
    }
    for cascade in catalog.cascades() {
        let (Some(ids), Some(link)) = (parents.get(&cascade.parent), Link::of(&cascade.parent))
        else {
            continue;
        };
        let spec = catalog.spec(&cascade.child);
        let defines = spec.and_then(|spec| Some((spec, spec.defines.as_ref()?.step)));
        let Some((spec, Step::Entity(entity))) = defines else { continue };
        let table = Arc::new(TableInfo {
            database: Arc::clone(&shop.database),
            name: Arc::clone(&cascade.child),
            class: spec.class,
            phi: spec.classes(),
            is_grid: spec.is_grid,
        });
        for (id, owner) in dependants(shop, entity, link, ids) {
            out(&observation(shop, cascade, &table, entity, id, owner));
            let owner = match cascade.action {
                CascadeAction::Delete => None,
                CascadeAction::Empty => Some(link.emptied(owner)),
            };
            shop.take(Lesson::Owner { entity, id, owner }, settings.limits.ids_max);
        }
    }
}

fn dependants(shop: &Shop, entity: Entity, link: Link, ids: &BTreeSet<u32>) -> Vec<(u32, Owner)> {
    let owners = shop.owners[entity as usize].iter();
    let linked = owners.filter(|(_, owner)| {
        link.parent(entity, *owner).is_some_and(|parent| ids.contains(&parent))
    });
    let deleted = shop.deleted(entity);
    linked.filter(|(id, _)| !deleted.contains(id)).collect()
}

fn observation(
    shop: &Shop,
    cascade: &Cascade,
    table: &Arc<TableInfo>,
    entity: Entity,
    id: u32,
    owner: Owner,
) -> Observation {
    let customer = match (entity, owner.customer) {
        (Entity::Customer, _) => Some(id),
        (_, 0 | NO_CUSTOMER) => None,
        (_, customer) => Some(customer),
    };
    Observation {
        offset: 0,
        statement: 0,
        table: Arc::clone(table),
        op: Some(match cascade.action {
            CascadeAction::Delete => Op::Delete,
            CascadeAction::Empty => Op::Update,
        }),
        tenant: shop.site_of(entity, Field::Is(id.into())).tenant(),
        subject: customer.map(|customer| token::customer(shop.hash, customer.into())),
        ordinal: None,
        columns_changed: 0,
        is_touch: false,
        is_inferred: true,
        fact: None,
    }
}

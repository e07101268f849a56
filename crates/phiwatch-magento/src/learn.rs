//! Bootstrap: rows read from a live server, for what the log did not say.
//!
//! # Invariants
//! - Nothing that the log said is replaced.

use crate::{
    Classifier,
    catalog::Entity,
    map::{NO_CUSTOMER, NO_SITE, Owner},
    shop::{Shop, narrow},
};

/// Ids are as the server gives them; 0 and None = there is none. Rows of a database over
/// [`crate::Limits::databases_max`] are not learned.
impl Classifier {
    /// A row of `store`. Its ids have 16 bits: more is no store.
    pub fn learn_store(&mut self, database: &str, store_id: u32, website_id: u32) {
        if store_id > u32::from(u16::MAX) {
            return;
        }
        if let Some(shop) = self.shop(database) {
            shop.stores.entry(store_id).or_insert(website_id);
            shop.is_shop = true;
        }
    }

    /// A row of `customer_entity`.
    pub fn learn_customer(&mut self, database: &str, entity_id: u64, website_id: Option<u64>) {
        let owner = Owner { customer: 0, store: NO_SITE, website: narrow(website_id) };
        self.fill(database, Entity::Customer, entity_id, owner);
    }

    /// A row of `customer_address_entity`.
    pub fn learn_address(&mut self, database: &str, entity_id: u64, parent_id: Option<u64>) {
        let owner = Owner { customer: customer(parent_id), ..Owner::UNKNOWN };
        self.fill(database, Entity::Address, entity_id, owner);
    }

    /// A row of `sales_order`.
    pub fn learn_order(
        &mut self,
        database: &str,
        entity_id: u64,
        store_id: Option<u64>,
        customer_id: Option<u64>,
    ) {
        let owner = owned(store_id, customer_id);
        self.fill(database, Entity::Order, entity_id, owner);
    }

    /// A row of `quote`.
    pub fn learn_quote(
        &mut self,
        database: &str,
        entity_id: u64,
        store_id: Option<u64>,
        customer_id: Option<u64>,
    ) {
        let owner = owned(store_id, customer_id);
        self.fill(database, Entity::Quote, entity_id, owner);
    }

    /// `customer/account_share/scope` of the default scope: whether accounts are shared by all
    /// websites.
    pub fn learn_share_scope(&mut self, database: &str, is_shared: bool) {
        if let Some(shop) = self.shop(database) {
            shop.is_shared.get_or_insert(is_shared);
        }
    }

    /// A row of `eav_entity_type`.
    pub fn learn_entity_type(&mut self, database: &str, entity_type_id: u32, code: &str) {
        let place = match code {
            "customer" => 0,
            "customer_address" => 1,
            _ => return,
        };
        if let Some(shop) = self.shop(database) {
            shop.entity_types[place].get_or_insert(entity_type_id);
        }
    }

    /// A row of `eav_attribute`; needed of attributes that policy names.
    pub fn learn_attribute(&mut self, database: &str, id: u32, entity_type_id: u32, code: &str) {
        let Some(shop) = self.shops.open(database, &self.settings) else { return };
        let named = shop.attribute_of(entity_type_id).map(|of| (of, code.to_owned()));
        if let Some(named) = named.filter(|named| self.watch.attributes.contains(named)) {
            shop.attributes.entry(id).or_insert(named);
        }
    }

    /// Values of one person, as `customer_entity` and `customer_address_entity` have them: they are
    /// known again where they turn up. Nothing of them is kept but tokens.
    pub fn learn_person(&mut self, email: &str, names: [&str; 2], phone: &str) {
        let hasher = &self.watch.hasher;
        let names = names.map(str::as_bytes);
        let values =
            [hasher.email(email.as_bytes()), hasher.name(&names), hasher.phone(phone.as_bytes())];
        let max = self.settings.limits.values_max as usize;
        for value in values.into_iter().flatten() {
            self.taint.keep(value.token, max);
        }
    }

    fn shop(&mut self, database: &str) -> Option<&mut Shop> {
        self.shops.open(database, &self.settings)
    }

    fn fill(&mut self, database: &str, entity: Entity, id: u64, owner: Owner) {
        let ids_max = self.settings.limits.ids_max;
        if let (Ok(id), Some(shop)) = (u32::try_from(id), self.shop(database))
            && id != 0
        {
            if let Some(table) = table_of(entity) {
                shop.saw(&table.into());
            }
            shop.fill(entity, id, owner, ids_max);
        }
    }
}

/// The table that an entity's rows were read from.
fn table_of(entity: Entity) -> Option<&'static str> {
    match entity {
        Entity::Customer => Some("customer_entity"),
        Entity::Address => Some("customer_address_entity"),
        Entity::Order => Some("sales_order"),
        Entity::Quote => Some("quote"),
        _ => None,
    }
}

fn owned(store_id: Option<u64>, customer_id: Option<u64>) -> Owner {
    Owner { customer: customer(customer_id), store: narrow(store_id), website: NO_SITE }
}

fn customer(id: Option<u64>) -> u32 {
    id.map_or(0, |id| u32::try_from(id).unwrap_or(NO_CUSTOMER))
}

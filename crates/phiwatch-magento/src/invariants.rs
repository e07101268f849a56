//! Tenancy invariants of single rows: a breach is a write across tenants.
//!
//! Input: a row change with its binding, and what was learned of the shop before it. Output: the
//! gravest breach, or the invariant that could not be judged, or nothing.
//!
//! # Invariants
//! - NULL, the admin scope (0) and columns that are not in the image never break anything.
//! - An UPDATE is judged only by the columns that it wrote: what was wrong before is not said again.
//! - Numbers and words are those of the list in docs/rules/cross-tenant-write.md.

use crate::{
    CrossTenant, Fact, Tenant, Weight,
    binding::Binding,
    catalog::{Entity, Rule},
    map::{NO_CUSTOMER, NO_SITE, Owner},
    row::{Field, Row, Slot},
    shop::{Shop, Site, site_of_website_column},
    token::{self, Tokens},
};

/// What a row is judged with.
pub(crate) struct Judge<'a> {
    pub(crate) binding: &'a Binding,
    pub(crate) row: &'a Row<'a>,
    pub(crate) shop: &'a Shop,
    pub(crate) tokens: &'a Tokens,
    /// Accounts are shared by all websites.
    pub(crate) is_shared: bool,
}

/// The outcome of one row.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    breach: Option<CrossTenant>,
    unverified: Option<u8>,
}

impl Verdict {
    pub(crate) fn into_fact(self) -> Option<Fact> {
        self.breach.map(Fact::CrossTenant).or(self.unverified.map(Fact::Unverified))
    }

    /// Keeps the gravest breach; of equally grave ones, the first.
    fn breach(&mut self, breach: CrossTenant) {
        if self.breach.as_ref().is_none_or(|known| known.weight < breach.weight) {
            self.breach = Some(breach);
        }
    }

    /// Both websites must be the same.
    fn same(&mut self, (invariant, weight, statement): Law, found: Site, expected: Site) {
        match (found, expected) {
            (Site::Exempt, _) | (_, Site::Exempt) => {}
            (Site::Unknown, _) | (_, Site::Unknown) => {
                self.unverified = self.unverified.or(Some(invariant));
            }
            (Site::Is(a), Site::Is(b)) if a == b => {}
            (Site::Is(_), Site::Is(_)) => {
                let (found, expected) = (found.tenant(), expected.tenant());
                self.breach(CrossTenant { invariant, statement, found, expected, weight });
            }
        }
    }

    /// An id moved that must not.
    pub(crate) fn moved(
        &mut self,
        (invariant, weight, statement): Law,
        found: Site,
        expected: Site,
    ) {
        let tenant = |site: Site| match site {
            Site::Exempt => Tenant::Unknown,
            Site::Unknown | Site::Is(_) => site.tenant(),
        };
        let (found, expected) = (tenant(found), tenant(expected));
        self.breach(CrossTenant { invariant, statement, found, expected, weight });
    }
}

pub(crate) type Law = (u8, Weight, &'static str);

const CUSTOMER_STORE: Law =
    (1, Weight::Medium, "a customer's store belongs to the customer's website");
const CUSTOMER_WEBSITE: Law = (2, Weight::High, "a customer stays in one website");
const ORDER_CUSTOMER: Law = (3, Weight::High, "an order's store belongs to its customer's website");
const ORDER_STORE: Law = (4, Weight::High, "an order stays in the stores of one website");
const ORDER_REASSIGNED: Law =
    (5, Weight::High, "an order never passes from one customer to another");
const ORDER_EMAIL: Law = (6, Weight::Medium, "an order's e-mail address is its customer's");
const ORDER_PART: Law =
    (7, Weight::High, "what belongs to an order is in a store of the order's website");
const ORDER_COPY: Law = (8, Weight::High, "a grid row is of the order that it copies");
const ORDER_ADDRESS: Law =
    (9, Weight::Medium, "an order's address stays with the order and its customer");
const ADDRESS_OWNER: Law = (10, Weight::High, "an address stays with its customer");
const ATTRIBUTE_OWNER: Law =
    (11, Weight::High, "an attribute's value stays with its person and its attribute");
const QUOTE_CUSTOMER: Law = (12, Weight::High, "a cart's store belongs to its customer's website");
const QUOTE_STORE: Law = (12, Weight::High, "a cart stays in the stores of one website");
const QUOTE_REASSIGNED: Law =
    (12, Weight::High, "a cart never passes from one customer to another");
const QUOTE_PART: Law =
    (13, Weight::Medium, "what belongs to a cart moves only to a cart of the same person");
const SUBSCRIBER: Law =
    (14, Weight::Medium, "a subscriber's store belongs to the customer's website");
const VAULT_OWNER: Law = (15, Weight::High, "a stored payment stays with its customer");
const VAULT_WEBSITE: Law = (15, Weight::High, "a stored payment is of its customer's website");
const SESSION_WEBSITE: Law =
    (16, Weight::Medium, "a persistent session is of its customer's website");
const CUSTOMER_COPY: Law =
    (17, Weight::Medium, "a customer's grid row is of the customer's website");
const REVIEWER: Law = (18, Weight::Low, "a review or wish is in a store of its customer's website");
const RMA_STORE: Law = (20, Weight::Medium, "a return is in a store of its order's website");
const ORDER_NUMBER: Law = (21, Weight::Low, "an order's number is of its own store's series");
const RMA_CUSTOMER: Law = (20, Weight::Medium, "a return is of its order's customer");

impl Judge<'_> {
    /// Judges the row by the invariants of its table.
    pub(crate) fn verdict(&self, rule: Rule) -> Verdict {
        let mut verdict = Verdict::default();
        let out = &mut verdict;
        match rule {
            Rule::Customer => self.customer(out),
            Rule::CustomerAttribute => self.attribute(out, Entity::Customer),
            Rule::AddressAttribute => self.attribute(out, Entity::Address),
            Rule::Address => self.address(out),
            Rule::CustomerGrid => self.customer_grid(out),
            Rule::Order => self.order(out),
            Rule::OrderAddress => self.order_address(out),
            Rule::OrderChild => self.order_child(out, ORDER_PART),
            Rule::OrderChildGrid => self.grid(|out| self.order_child(out, ORDER_COPY), out),
            Rule::OrderGrid => self.grid(|out| self.order_grid(out), out),
            Rule::Quote => self.quote(out),
            Rule::QuoteChild => self.quote_child(out),
            Rule::Newsletter => self.store_of_customer(out, SUBSCRIBER),
            Rule::Reviewer => self.store_of_customer(out, REVIEWER),
            Rule::WishlistItem => self.wishlist_item(out),
            Rule::VaultToken => self.vault_token(out),
            Rule::PersistentSession => self.website_of_customer(out, SESSION_WEBSITE),
            Rule::Rma => self.rma(out),
            Rule::CompanyMember => self.company_member(out),
            Rule::Company => self.company_row(out),
            Rule::CompanyUserRole => self.company_user_role(out),
            Rule::CompanyNode => self.company_node(out),
            Rule::CompanyOrder => self.company_order(out),
            Rule::StoreWebsite
            | Rule::StoreGroup
            | Rule::Store
            | Rule::Setting
            | Rule::AdminUser
            | Rule::AdminPassword
            | Rule::Role
            | Rule::Permission
            | Rule::Integration
            | Rule::OauthToken
            | Rule::TwoFactor
            | Rule::UserExpiration
            | Rule::EntityType
            | Rule::Attribute
            | Rule::QueueMessage
            | Rule::QueueStatus
            | Rule::ScheduledOperation
            | Rule::Inbox
            | Rule::ImportData
            | Rule::ImportHistory
            | Rule::Content
            | Rule::Patch
            | Rule::Module
            | Rule::TokenRequest
            | Rule::ResetRequest
            | Rule::ActionLog
            | Rule::LoginAs
            | Rule::LoginAsLog
            | Rule::CronJob
            | Rule::Bulk
            | Rule::CompanyRole
            | Rule::Payment => {}
        }
        verdict
    }

    pub(crate) fn slot(&self, n: usize) -> Slot {
        self.binding.key(n)
    }

    pub(crate) fn now(&self, n: usize) -> Field {
        self.row.now(self.slot(n))
    }

    pub(crate) fn old(&self, n: usize) -> Field {
        self.row.old(self.slot(n))
    }

    /// Whether one of the rule's columns was written by this change.
    pub(crate) fn wrote(&self, columns: &[usize]) -> bool {
        columns.iter().any(|n| self.row.is_written(self.slot(*n)))
    }

    /// Old and new id of an UPDATE that changed a column from one entity to another. What the
    /// before image lacks (row image MINIMAL) is `learned`.
    pub(crate) fn change(&self, n: usize, learned: impl Fn() -> Field) -> Option<(Field, Field)> {
        if self.row.op != phiwatch_binlog::Op::Update || !self.row.is_written(self.slot(n)) {
            return None;
        }
        let new = self.now(n);
        let old = match self.old(n) {
            Field::Absent => learned(),
            known => known,
        };
        (old.id().is_some() && new.id().is_some() && old != new).then_some((old, new))
    }

    fn customer(&self, out: &mut Verdict) {
        let learned = || self.learned(Entity::Customer, |owner| site_field(owner.website));
        if let Some((old, new)) = self.change(1, learned) {
            out.same(CUSTOMER_WEBSITE, site_of_website_column(new), site_of_website_column(old));
        }
        if !self.is_shared && self.wrote(&[1, 2]) {
            // What the images lack (row image MINIMAL) is learned.
            let website =
                self.known_now(1, || self.learned(Entity::Customer, |o| site_field(o.website)));
            let store =
                self.known_now(2, || self.learned(Entity::Customer, |o| site_field(o.store)));
            out.same(
                CUSTOMER_STORE,
                self.shop.site_of_store(store),
                site_of_website_column(website),
            );
        }
        self.company_group(out, 6);
    }

    /// What is known of the row's own entity, whose id is the rule's first column.
    fn learned(&self, entity: Entity, part: impl Fn(Owner) -> Field) -> Field {
        let owner = self.now(0).key().and_then(|id| self.shop.owner(entity, id));
        owner.map_or(Field::Absent, part)
    }

    fn attribute(&self, out: &mut Verdict, entity: Entity) {
        let absent = || Field::Absent;
        let site = |id| self.shop.site_of(entity, id);
        if let Some((old, new)) = self.change(0, absent) {
            out.moved(ATTRIBUTE_OWNER, site(new), site(old));
        } else if self.change(1, absent).is_some() {
            let site = site(self.now(0));
            out.moved(ATTRIBUTE_OWNER, site, site);
        }
    }

    fn address(&self, out: &mut Verdict) {
        let learned = || self.learned(Entity::Address, |owner| customer_field(owner.customer));
        if let Some((old, new)) = self.change(1, learned) {
            let site = |id| self.shop.site_of_customer(id);
            out.moved(ADDRESS_OWNER, site(new), site(old));
        }
    }

    /// Grids are rebuilt of rows older than the log: what cannot be judged there says nothing.
    fn grid(&self, judge: impl Fn(&mut Verdict), out: &mut Verdict) {
        judge(out);
        out.unverified = None;
    }

    fn customer_grid(&self, out: &mut Verdict) {
        if self.wrote(&[0, 1]) {
            let customer = self.shop.site_of_customer(self.now(0));
            out.same(CUSTOMER_COPY, site_of_website_column(self.now(1)), customer);
        }
        out.unverified = None;
    }

    fn order(&self, out: &mut Verdict) {
        let store = |id| self.shop.site_of_store(id);
        let customer = |id| self.shop.site_of_customer(id);
        let learned = || self.learned(Entity::Order, |owner| site_field(owner.store));
        if let Some((old, new)) = self.change(1, learned) {
            out.same(ORDER_STORE, store(new), store(old));
        }
        let learned = || self.learned(Entity::Order, |owner| customer_field(owner.customer));
        if let Some((old, new)) = self.change(2, learned) {
            out.moved(ORDER_REASSIGNED, customer(new), customer(old));
        }
        if !self.is_shared && self.wrote(&[1, 2]) {
            let place = self.known_now(1, || self.learned(Entity::Order, |o| site_field(o.store)));
            let owner =
                self.known_now(2, || self.learned(Entity::Order, |o| customer_field(o.customer)));
            out.same(ORDER_CUSTOMER, store(place), customer(owner));
        }
        self.order_email(out);
        self.order_number(out);
    }

    /// The number's series is another website's store's, and this store has one of its own.
    fn order_number(&self, out: &mut Verdict) {
        if self.row.op != phiwatch_binlog::Op::Create {
            return;
        }
        let (Some(store), Some(number)) = (self.now(1).key(), self.row.text_now(self.slot(4)))
        else {
            return;
        };
        if let Some(of) = self.shop.series_elsewhere(store, series(&number)) {
            let site = |store| self.shop.site_of_store(Field::Is(u64::from(store)));
            out.same(ORDER_NUMBER, site(store), site(of));
        }
    }

    /// The field after the change; where the images lack it, what was learned.
    fn known_now(&self, n: usize, learned: impl Fn() -> Field) -> Field {
        match self.now(n) {
            Field::Absent => learned(),
            known => known,
        }
    }

    /// A guest's order given to a customer, or its address changed, must have the customer's
    /// address. An order placed by a customer may name another one.
    fn order_email(&self, out: &mut Verdict) {
        if self.row.op != phiwatch_binlog::Op::Update || !self.wrote(&[2, 3]) {
            return;
        }
        let Some(customer) = self.now(2).key() else { return };
        let Some(owner) = self.shop.owner(Entity::Customer, customer) else { return };
        let address = self.row.text_now(self.slot(3));
        let Some(check) = address.and_then(|text| self.tokens.email_check(&text)) else { return };
        if owner.customer != 0 && owner.customer != check {
            let order = self.shop.site_of_store(self.now(1));
            out.moved(ORDER_EMAIL, order, self.shop.site_of_customer(self.now(2)));
        }
    }

    fn order_child(&self, out: &mut Verdict, law: Law) {
        if self.wrote(&[0, 1]) {
            let order = self.shop.site_of(Entity::Order, self.now(0));
            out.same(law, self.shop.site_of_store(self.now(1)), order);
        }
    }

    fn order_grid(&self, out: &mut Verdict) {
        if !self.wrote(&[0, 1, 2]) {
            return;
        }
        let order = self.shop.site_of(Entity::Order, self.now(0));
        out.same(ORDER_COPY, self.shop.site_of_store(self.now(1)), order);
        let owner = self.now(0).key().and_then(|id| self.shop.owner(Entity::Order, id));
        self.named_customer(out, ORDER_COPY, owner, self.now(2), order);
    }

    fn order_address(&self, out: &mut Verdict) {
        let order = |id| self.shop.site_of(Entity::Order, id);
        if let Some((old, new)) = self.change(0, || Field::Absent) {
            out.moved(ORDER_ADDRESS, order(new), order(old));
        }
        if !self.wrote(&[1, 2]) {
            return;
        }
        let Some(owner) = self.now(0).key().and_then(|id| self.shop.owner(Entity::Order, id))
        else {
            if self.now(0).id().is_some() && self.now(1).id().is_some() {
                out.unverified = out.unverified.or(Some(ORDER_ADDRESS.0));
            }
            return;
        };
        let book = self.now(2).key().and_then(|id| self.shop.owner(Entity::Address, id));
        let of_book = book.map_or(Field::Absent, |book| customer_field(book.customer));
        for customer in [self.now(1), of_book] {
            self.named_customer(out, ORDER_ADDRESS, Some(owner), customer, order(self.now(0)));
        }
    }

    /// A row of an order that names another customer than the order does: a breach if that one is
    /// of another website. Within a website it is untidy, and crosses nothing.
    fn named_customer(
        &self,
        out: &mut Verdict,
        law: Law,
        order: Option<Owner>,
        named: Field,
        order_site: Site,
    ) {
        let Some(order) = order.filter(|order| is_person(order.customer)) else { return };
        if !self.is_shared && named.key().is_some_and(|customer| customer != order.customer) {
            out.same(law, self.shop.site_of_customer(named), order_site);
        }
    }

    fn quote(&self, out: &mut Verdict) {
        let store = |id| self.shop.site_of_store(id);
        let customer = |id| self.shop.site_of_customer(id);
        let learned_store = || self.learned(Entity::Quote, |owner| site_field(owner.store));
        let learned_customer =
            || self.learned(Entity::Quote, |owner| customer_field(owner.customer));
        if let Some((old, new)) = self.change(2, learned_customer) {
            out.moved(QUOTE_REASSIGNED, customer(new), customer(old));
        }
        if let Some((old, new)) = self.change(1, learned_store) {
            out.same(QUOTE_STORE, store(new), store(old));
        }
        if !self.is_shared && self.wrote(&[1, 2]) {
            let place = self.known_now(1, learned_store);
            let owner = self.known_now(2, learned_customer);
            out.same(QUOTE_CUSTOMER, store(place), customer(owner));
        }
    }

    fn quote_child(&self, out: &mut Verdict) {
        let Some((old, new)) = self.change(0, || Field::Absent) else { return };
        let site = |id| self.shop.site_of(Entity::Quote, id);
        out.same(QUOTE_PART, site(new), site(old));
        let customer = |id: Field| {
            id.key().and_then(|id| self.shop.owner(Entity::Quote, id)).map(|owner| owner.customer)
        };
        if let (Some(old_customer), Some(new_customer)) = (customer(old), customer(new))
            && is_person(old_customer)
            && is_person(new_customer)
            && old_customer != new_customer
        {
            out.moved(QUOTE_PART, site(new), site(old));
        }
    }

    fn store_of_customer(&self, out: &mut Verdict, law: Law) {
        if !self.is_shared && self.wrote(&[0, 1]) {
            let customer = self.shop.site_of_customer(self.now(1));
            out.same(law, self.shop.site_of_store(self.now(0)), customer);
        }
    }

    fn website_of_customer(&self, out: &mut Verdict, law: Law) {
        if !self.is_shared && self.wrote(&[0, 1]) {
            let customer = self.shop.site_of_customer(self.now(0));
            out.same(law, site_of_website_column(self.now(1)), customer);
        }
    }

    fn wishlist_item(&self, out: &mut Verdict) {
        if !self.is_shared && self.wrote(&[0, 1]) {
            let wishlist = self.shop.site_of(Entity::Wishlist, self.now(1));
            out.same(REVIEWER, self.shop.site_of_store(self.now(0)), wishlist);
        }
    }

    fn vault_token(&self, out: &mut Verdict) {
        if let Some((old, new)) = self.change(0, || Field::Absent) {
            let site = |id| self.shop.site_of_customer(id);
            out.moved(VAULT_OWNER, site(new), site(old));
        }
        self.website_of_customer(out, VAULT_WEBSITE);
    }

    fn rma(&self, out: &mut Verdict) {
        if !self.wrote(&[0, 1, 2]) {
            return;
        }
        let order = self.shop.site_of(Entity::Order, self.now(0));
        out.same(RMA_STORE, self.shop.site_of_store(self.now(1)), order);
        let owner = self.now(0).key().and_then(|id| self.shop.owner(Entity::Order, id));
        self.named_customer(out, RMA_CUSTOMER, owner, self.now(2), order);
    }
}

/// Hash of what stands before a number: `<prefix><nine digits>` by default (sales_sequence_profile).
pub(crate) fn series(number: &[u8]) -> u64 {
    let digits = number.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let prefix = number.len() - if digits >= 9 { 9 } else { digits };
    token::fixed(&number[..prefix])
}

fn is_person(customer: u32) -> bool {
    customer != 0 && customer != NO_CUSTOMER
}

fn site_field(site: u16) -> Field {
    if site == NO_SITE { Field::Absent } else { Field::Is(u64::from(site)) }
}

fn customer_field(customer: u32) -> Field {
    if customer == NO_CUSTOMER { Field::Absent } else { Field::Is(u64::from(customer)) }
}

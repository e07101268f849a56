//! Invariant 19: a company (B2B) is a tenant within a website.
//!
//! Input: rows of companies, their users, roles, structure and orders. Output: breaches, and what
//! was learned: the company of a user, a role and a node; the administrator and group of a company.
//!
//! # Invariants
//! - A user of several companies is of none that is known: no verdict.
//! - What is not known gives no verdict here; most rows are older than the log.

use phiwatch_binlog::Op;

use crate::{
    AccountChange, Weight,
    binding::Binding,
    catalog::{Entity, Rule},
    invariants::{Judge, Law, Verdict},
    journal::Lesson,
    map::{NO_CUSTOMER, NO_SITE, Owner},
    row::{Field, Row},
    shop::{Shop, narrow},
};

const MEMBER: Law = (19, Weight::High, "a company's user stays in the company");
const ROLE: Law = (19, Weight::High, "a company's role is held by the company's own users");
const ADMINISTRATOR: Law = (19, Weight::High, "a company's administrator is one of its own users");
const GROUP: Law = (19, Weight::High, "a company's user is in no other company's customer group");
const NODE: Law = (19, Weight::High, "what is below a node of a company is of the same company");
const ORDER: Law = (19, Weight::High, "a company's order is of one of its own users");

/// `company_structure.entity_type` of a customer (else a team).
const CUSTOMER_NODE: u64 = 0;

impl Judge<'_> {
    /// `company_advanced_customer_entity`: customer, company.
    pub(crate) fn company_member(&self, out: &mut Verdict) {
        let is_moved = match self.row.op {
            Op::Update => self.change(1, || Field::Absent).is_some(),
            // Deleted and inserted in one transaction.
            Op::Create => {
                let customer = self.now(0).key();
                let known = customer.and_then(|id| company_of(self.shop, Entity::Member, id));
                let is_deleted =
                    customer.is_some_and(|id| self.shop.deleted(Entity::Member).contains(&id));
                is_deleted && known.is_some_and(|known| Some(known) != self.now(1).key())
            }
            Op::Delete => false,
        };
        if is_moved {
            self.within(out, MEMBER, self.now(0));
        }
    }

    /// `company_user_roles`: user, role.
    pub(crate) fn company_user_role(&self, out: &mut Verdict) {
        if self.wrote(&[0, 1]) {
            let user = self.company(Entity::Member, self.now(0));
            self.same_company(out, ROLE, user, self.company(Entity::CompanyRole, self.now(1)));
        }
    }

    /// `company`: id, administrator, customer group.
    pub(crate) fn company_row(&self, out: &mut Verdict) {
        if self.wrote(&[1]) {
            let user = self.company(Entity::Member, self.now(1));
            self.same_company(out, ADMINISTRATOR, user, self.now(0).key());
        }
    }

    /// `company_order_entity`: order, company.
    pub(crate) fn company_order(&self, out: &mut Verdict) {
        let order = self.now(0).key().and_then(|id| self.shop.owner(Entity::Order, id));
        let customer = order.map(|order| order.customer).filter(|id| *id != 0);
        if self.wrote(&[0, 1])
            && let Some(customer) = customer.filter(|id| *id != NO_CUSTOMER)
        {
            let user = company_of(self.shop, Entity::Member, customer);
            self.same_company(out, ORDER, user, self.now(1).key());
        }
    }

    /// `company_structure`: node, its parent, what it is of, and of which kind.
    pub(crate) fn company_node(&self, out: &mut Verdict) {
        if self.wrote(&[1, 2]) {
            let node = node_company(self.shop, self.binding, self.row);
            let parent = self.company(Entity::CompanyNode, self.now(1));
            let is_customer = self.now(3) == Field::Is(CUSTOMER_NODE);
            let known =
                if is_customer { node } else { self.company(Entity::CompanyNode, self.now(0)) };
            self.same_company(out, NODE, known, parent);
        }
    }

    /// A customer (the rule's column `n` is the group) comes into the group of another company.
    pub(crate) fn company_group(&self, out: &mut Verdict, n: usize) {
        if self.row.op != Op::Update || !self.row.is_written(self.binding.key(n)) {
            return;
        }
        let Some(own) = self.company(Entity::Member, self.now(0)) else { return };
        let companies = &self.shop.owners[Entity::Company as usize];
        let group = narrow(self.now(n).id());
        let of_own = companies.get(own).map_or(NO_SITE, |owner| owner.store);
        if group == NO_SITE || of_own == NO_SITE || group == of_own {
            return;
        }
        let mut others = companies.iter().filter(|(_, owner)| owner.store == group);
        if others.next().is_some() && others.next().is_none() {
            self.within(out, GROUP, self.now(0));
        }
    }

    fn company(&self, entity: Entity, id: Field) -> Option<u32> {
        company_of(self.shop, entity, id.key()?)
    }

    fn same_company(&self, out: &mut Verdict, law: Law, one: Option<u32>, other: Option<u32>) {
        if let (Some(one), Some(other)) = (one, other)
            && one != other
        {
            let member = match self.binding.kind.rule() {
                Some(Rule::Company) => self.now(1),
                _ => self.now(0),
            };
            self.within(out, law, member);
        }
    }

    /// A breach within the website of a customer, as far as it is known.
    fn within(&self, out: &mut Verdict, law: Law, customer: Field) {
        let site = self.shop.site_of_customer(customer);
        out.moved(law, site, site);
    }
}

fn company_of(shop: &Shop, entity: Entity, id: u32) -> Option<u32> {
    let company = shop.owner(entity, id)?.customer;
    (company != 0 && company != NO_CUSTOMER).then_some(company)
}

/// The company of a node: its customer's, else its parent's.
fn node_company(shop: &Shop, binding: &Binding, row: &Row<'_>) -> Option<u32> {
    let field = |n: usize| row.now(binding.key(n));
    let of_customer = (field(3) == Field::Is(CUSTOMER_NODE))
        .then(|| field(2).key().and_then(|id| company_of(shop, Entity::Member, id)))
        .flatten();
    of_customer.or_else(|| field(1).key().and_then(|id| company_of(shop, Entity::CompanyNode, id)))
}

/// Who else may see a company's data from now on.
pub(crate) fn changes(binding: &Binding, row: &Row<'_>) -> Vec<AccountChange> {
    let field = |n: usize| row.now(binding.key(n));
    let is_new = |n: usize| {
        row.op == Op::Update && row.is_written(binding.key(n)) && field(n).id().is_some()
    };
    let company_id = field(0).id().unwrap_or(0);
    let mut changes = Vec::new();
    if is_new(1) {
        changes.push(AccountChange::CompanyAdministrator { company_id });
    }
    if is_new(3) {
        let user_id = field(3).id().unwrap_or(0);
        changes.push(AccountChange::CompanyKeeper { company_id, user_id });
    }
    changes
}

/// Learns of companies what a row says.
pub(crate) fn learn(rule: Rule, binding: &Binding, row: &Row<'_>, shop: &mut Shop, ids_max: u32) {
    let field = |n: usize| row.now(binding.key(n));
    let (entity, id, company) = match rule {
        Rule::CompanyMember => (Entity::Member, field(0).key(), field(1).key()),
        Rule::CompanyRole => (Entity::CompanyRole, field(0).key(), field(1).key()),
        Rule::Company => (Entity::Company, field(0).key(), field(1).key()),
        Rule::CompanyNode => {
            (Entity::CompanyNode, field(0).key(), node_company(shop, binding, row))
        }
        _ => return,
    };
    let Some(id) = id else { return };
    let known = shop.owner(entity, id);
    if row.op == Op::Delete {
        if known.is_some_and(|known| Some(known.customer) == company || company.is_none()) {
            shop.forget_later(entity, id);
        }
        return;
    }
    let store = if rule == Rule::Company { narrow(field(2).id()) } else { NO_SITE };
    let mut owner = Owner { customer: company.unwrap_or(NO_CUSTOMER), store, ..Owner::UNKNOWN };
    let is_deleted = rule == Rule::CompanyMember && shop.deleted(entity).contains(&id);
    let is_second = rule == Rule::CompanyMember && row.op == Op::Create && !is_deleted;
    if is_second && known.is_some_and(|known| known.customer != owner.customer) {
        owner.customer = NO_CUSTOMER;
    }
    if row.op == Op::Create {
        shop.keep(entity, id);
    }
    if known != Some(owner) {
        shop.take(Lesson::Owner { entity, id, owner: Some(owner) }, ids_max);
    }
}

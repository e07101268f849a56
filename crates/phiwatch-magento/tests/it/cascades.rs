//! Dependants that the server removes or empties without logging it.

use phiwatch_binlog::{End, Op};
use phiwatch_magento::{Observation, Tenant};

use crate::world::{I, Null, World, facts};

/// Customer 11 of website 1 with two addresses and an order; others beside.
fn shop(cascades_unseen: bool) -> World {
    let mut world = World::new();
    world.cascades_unseen = cascades_unseen;
    world.people();
    for (id, customer) in [(1, 11), (2, 11), (3, 12), (4, 21)] {
        let row = [("entity_id", I(id)), ("parent_id", I(customer))];
        world.insert("customer_address_entity", &row);
    }
    world.commit();
    world
}

fn customer(id: u64, website: u64) -> [(&'static str, crate::world::V<'static>); 3] {
    [("entity_id", I(id)), ("website_id", I(website)), ("store_id", I(website))]
}

fn infer(world: &mut World, end: &End) -> Vec<Observation> {
    let mut out = Vec::new();
    world.classifier.infer(&world.transaction, end, |observation| out.push(observation.clone()));
    world.classifier.end(&world.transaction, end);
    out
}

fn said(observations: &[Observation]) -> Vec<String> {
    let word = |one: &Observation| {
        assert!(one.is_inferred && one.fact.is_none());
        format!("{} {:?} {:?}", one.table.name, one.op.unwrap(), one.tenant)
    };
    observations.iter().map(word).collect()
}

#[test]
fn addresses_and_orders_of_a_deleted_customer_are_inferred() {
    let mut world = shop(true);
    let deleted = world.delete("customer_entity", &customer(11, 1));
    let out = infer(&mut world, &End::Commit);
    let address = "customer_address_entity Delete Website(1)";
    assert_eq!(said(&out), [address, address, "sales_order Update Website(1)"]);
    assert!(out.iter().all(|one| one.subject == deleted[0].subject && one.subject.is_some()));
    // They are learned as if their rows had come: the order is a guest's, the addresses are gone.
    let again = infer(&mut world, &End::Commit);
    assert_eq!(again, []);
    let order = [("entity_id", I(110)), ("customer_id", I(21)), ("store_id", I(1))];
    let before = [("entity_id", I(110)), ("customer_id", Null), ("store_id", I(1))];
    let taken = world.update("sales_order", &before, &order);
    assert!(!facts(&taken).is_empty(), "a guest's order given to a customer of another website");
}

#[test]
fn what_the_log_has_is_not_inferred() {
    // MySQL 9.6 logs the children, and says so with the parent.
    let mut world = shop(false);
    world.delete("customer_entity", &customer(11, 1));
    assert_eq!(infer(&mut world, &End::Commit), []);
    // A shop that deletes the addresses itself before the customer.
    let mut world = shop(true);
    for id in [1, 2] {
        world.delete("customer_address_entity", &[("entity_id", I(id)), ("parent_id", I(11))]);
    }
    world.delete("customer_entity", &customer(11, 1));
    assert_eq!(said(&infer(&mut world, &End::Commit)), ["sales_order Update Website(1)"]);
}

#[test]
fn nothing_is_inferred_of_what_has_no_effect_yet_or_ever() {
    for end in [End::Rollback, End::Torn] {
        let mut world = shop(true);
        let before = world.classifier.save();
        world.delete("customer_entity", &customer(11, 1));
        assert_eq!(infer(&mut world, &end), [], "{end:?}");
        assert_eq!(world.classifier.save(), before);
    }
    // Prepared: observed with the transaction, learned with its commit.
    let mut world = shop(true);
    let xid = phiwatch_binlog::Xid("X'61',X'',1".to_owned());
    world.classifier.prepares(&world.transaction);
    world.delete("customer_entity", &customer(11, 1));
    assert_eq!(infer(&mut world, &End::XaPrepared(xid.clone())).len(), 3);
    assert_eq!(infer(&mut world, &End::XaCommit(xid)), []);
    world.delete("customer_entity", &customer(11, 1));
    assert_eq!(infer(&mut world, &End::Commit), []);
}

#[test]
fn customers_of_a_removed_website_lose_it() {
    let mut world = shop(true);
    world.delete("store_website", &[("website_id", I(2))]);
    let out = infer(&mut world, &End::Commit);
    assert_eq!(out.len(), 2);
    assert!(out.iter().all(|one| one.op == Some(Op::Update) && one.tenant == Tenant::Website(2)));
    assert!(out.iter().all(|one| &*one.table.name == "customer_entity" && one.subject.is_some()));
}

//! Invariant 19 (companies), 21 (order numbers) and 23 (copied tenants), with look-alikes.

use phiwatch_magento::{AccountChange, Fact, Observation, Sign, Weight};

use crate::world::{Cells, I, Null, T, World, facts};

/// Companies 1 (group 10, administrator 11) and 2 (group 20, administrator 12), in website 1.
fn companies() -> World {
    let mut world = World::new();
    world.people();
    for (company, group, user) in [(1, 10, 11), (2, 20, 12)] {
        let row = [
            ("entity_id", I(company)),
            ("customer_group_id", I(group)),
            ("super_user_id", I(user)),
        ];
        assert_eq!(breach(&world.insert("company", &row)), None);
        let row = [("customer_id", I(user)), ("company_id", I(company))];
        assert_eq!(breach(&world.insert("company_advanced_customer_entity", &row)), None);
        let row = [("role_id", I(company * 100)), ("company_id", I(company))];
        assert_eq!(world.insert("company_roles", &row), []);
        let node = node(company * 1_000, 0, user, 0);
        assert_eq!(world.insert("company_structure", &node), []);
    }
    world.commit();
    world
}

fn node(id: u64, parent: u64, of: u64, kind: u64) -> [(&'static str, crate::world::V<'static>); 4] {
    [
        ("structure_id", I(id)),
        ("parent_id", I(parent)),
        ("entity_id", I(of)),
        ("entity_type", I(kind)),
    ]
}

fn breach(observations: &[Observation]) -> Option<(u8, &'static str)> {
    facts(observations).into_iter().find_map(|fact| match fact {
        Fact::CrossTenant(breach) => {
            assert!(breach.invariant != 19 || breach.weight == Weight::High);
            Some((breach.invariant, breach.statement))
        }
        _ => None,
    })
}

const MEMBER: &str = "a company's user stays in the company";
const ROLE: &str = "a company's role is held by the company's own users";
const ADMINISTRATOR: &str = "a company's administrator is one of its own users";
const GROUP: &str = "a company's user is in no other company's customer group";
const NODE: &str = "what is below a node of a company is of the same company";
const ORDER: &str = "a company's order is of one of its own users";

#[test]
fn users_stay_in_their_company() {
    let table = "company_advanced_customer_entity";
    let mut world = companies();
    let row = |company| [("customer_id", I(11)), ("company_id", I(company))];
    let out = world.update(table, &row(1), &[("company_id", I(2))]);
    assert_eq!(breach(&out), Some((19, MEMBER)));
    // Deleted and inserted again in one transaction.
    let mut world = companies();
    world.delete(table, &row(1));
    assert_eq!(breach(&world.insert(table, &row(1))), None);
    world.commit();
    world.delete(table, &row(1));
    assert_eq!(breach(&world.insert(table, &row(2))), Some((19, MEMBER)));
    // Who leaves and joins later is another matter, and a second company is one more.
    let mut world = companies();
    world.delete(table, &row(1));
    world.commit();
    assert_eq!(breach(&world.insert(table, &row(2))), None);
    let mut world = companies();
    assert_eq!(breach(&world.insert(table, &row(2))), None);
    let role = [("user_id", I(11)), ("role_id", I(200))];
    assert_eq!(breach(&world.insert("company_user_roles", &role)), None);
}

#[test]
fn roles_administrators_and_orders_are_of_the_companys_users() {
    let mut world = companies();
    let role = |user, role| [("user_id", I(user)), ("role_id", I(role))];
    assert_eq!(breach(&world.insert("company_user_roles", &role(11, 100))), None);
    assert_eq!(breach(&world.insert("company_user_roles", &role(11, 200))), Some((19, ROLE)));
    assert_eq!(breach(&world.insert("company_user_roles", &role(99, 200))), None);
    assert_eq!(breach(&world.delete("company_user_roles", &role(11, 200))), None);
    let row = [("entity_id", I(1)), ("customer_group_id", I(10)), ("super_user_id", I(11))];
    let out = world.update("company", &row, &[("super_user_id", I(12))]);
    assert_eq!(breach(&out), Some((19, ADMINISTRATOR)));
    let change = AccountChange::CompanyAdministrator { company_id: 1 };
    assert!(facts(&out).contains(&&Fact::Account(change)));
    let out = world.update("company", &row, &[("super_user_id", I(99))]);
    assert_eq!(breach(&out), None);
    let out = world.update("company", &row, &[("sales_representative_id", I(3))]);
    let change = AccountChange::CompanyKeeper { company_id: 1, user_id: 3 };
    assert_eq!(facts(&out), [&Fact::Account(change)]);
    assert_eq!(facts(&world.update("company", &row, &[("city", T("x"))])), Vec::<&Fact>::new());
    let order = |order, company| [("order_id", I(order)), ("company_id", I(company))];
    let mut world = companies();
    assert_eq!(breach(&world.insert("company_order_entity", &order(110, 1))), None);
    assert_eq!(breach(&world.insert("company_order_entity", &order(110, 2))), Some((19, ORDER)));
    assert_eq!(breach(&world.insert("company_order_entity", &order(100, 2))), None);
    assert_eq!(breach(&world.insert("company_order_entity", &order(210, 2))), None);
}

#[test]
fn groups_and_structure_are_the_companys() {
    let mut world = companies();
    let customer = |group| {
        [
            ("entity_id", I(11)),
            ("website_id", I(1)),
            ("store_id", I(1)),
            ("email", T("c11@example.com")),
            ("group_id", I(group)),
        ]
    };
    let out = world.update("customer_entity", &customer(10), &[("group_id", I(20))]);
    assert_eq!(breach(&out), Some((19, GROUP)));
    // Into its own company's group, a group of no company, and one that two companies share.
    let out = world.update("customer_entity", &customer(1), &[("group_id", I(10))]);
    assert_eq!(breach(&out), None);
    let out = world.update("customer_entity", &customer(10), &[("group_id", I(1))]);
    assert_eq!(breach(&out), None);
    let third = [("entity_id", I(3)), ("customer_group_id", I(20)), ("super_user_id", I(99))];
    world.insert("company", &third);
    let out = world.update("customer_entity", &customer(10), &[("group_id", I(20))]);
    assert_eq!(breach(&out), None);

    let table = "company_structure";
    let mut world = companies();
    assert_eq!(breach(&world.insert(table, &node(1_001, 1_000, 5, 1))), None);
    assert_eq!(breach(&world.insert(table, &node(1_002, 1_001, 11, 0))), None);
    assert_eq!(breach(&world.insert(table, &node(1_003, 2_000, 11, 0))), Some((19, NODE)));
    let out = world.update(table, &node(1_001, 1_000, 5, 1), &[("parent_id", I(2_000))]);
    assert_eq!(breach(&out), Some((19, NODE)));
    assert_eq!(breach(&world.insert(table, &node(1_004, 1_000, 77, 0))), None);
}

#[test]
fn what_was_learned_of_companies_survives_a_restart_and_a_rollback() {
    let world = companies();
    let bytes = world.classifier.save();
    let mut again = World::new();
    again.classifier.restore(&bytes).unwrap();
    assert_eq!(again.classifier.save(), bytes);
    let role = [("user_id", I(11)), ("role_id", I(200))];
    assert_eq!(breach(&again.insert("company_user_roles", &role)), Some((19, ROLE)));
    again.insert("company_roles", &[("role_id", I(300)), ("company_id", I(2))]);
    again.classifier.end(&again.transaction, &phiwatch_binlog::End::Rollback);
    assert_eq!(again.classifier.save(), bytes);
}

fn order(id: u64, store: u64, number: &str) -> [(&'static str, crate::world::V<'_>); 4] {
    [
        ("entity_id", I(id)),
        ("store_id", I(store)),
        ("customer_id", Null),
        ("increment_id", T(number)),
    ]
}

/// `count` orders of each store, numbered as Magento does.
fn numbered(count: u64) -> World {
    let mut world = World::new();
    for n in 0..count {
        for (store, prefix) in [(1, ""), (2, "2"), (3, "3")] {
            let number = format!("{prefix}{n:09}");
            let out = world.insert("sales_order", &order(1_000 + n * 10 + store, store, &number));
            assert_eq!(breach(&out), None);
            world.commit();
        }
    }
    world
}

#[test]
fn order_numbers_are_of_their_stores_series() {
    let number = "an order's number is of its own store's series";
    let mut world = numbered(30);
    let out = world.insert("sales_order", &order(1, 1, "2000000999"));
    assert_eq!(breach(&out), Some((21, number)));
    let bytes = world.classifier.save();
    let mut again = World::new();
    again.classifier.restore(&bytes).unwrap();
    let out = again.insert("sales_order", &order(2, 2, "000000777"));
    assert_eq!(breach(&out), Some((21, number)));
    // Another store of the same website; a series of nobody's; a series of one's own.
    assert_eq!(breach(&again.insert("sales_order", &order(3, 1, "3000000777"))), None);
    assert_eq!(breach(&again.insert("sales_order", &order(4, 1, "WEB-12"))), None);
    assert_eq!(breach(&again.insert("sales_order", &order(5, 2, "2000000778"))), None);
    // Too few orders to know the series.
    let mut world = numbered(5);
    assert_eq!(breach(&world.insert("sales_order", &order(1, 1, "2000000999"))), None);
    // One series for all.
    let mut world = World::new();
    for n in 0..100 {
        let number = format!("{n:09}");
        let out = world.insert("sales_order", &order(1_000 + n, 1 + n % 3, &number));
        assert_eq!(breach(&out), None);
    }
}

fn same_email(world: &mut World, id: u64, website: u64, email: &str) -> Option<u32> {
    let row: Cells<'_> = &[
        ("entity_id", I(id)),
        ("website_id", I(website)),
        ("store_id", I(website)),
        ("email", T(email)),
    ];
    let out = world.insert("customer_entity", row);
    facts(&out).into_iter().find_map(|fact| match fact {
        Fact::Sign(Sign::SameEmail { website }) => Some(*website),
        _ => None,
    })
}

#[test]
fn customers_with_another_websites_address() {
    let mut world = World::new();
    world.people();
    assert_eq!(same_email(&mut world, 500, 2, "C11@example.com"), Some(1));
    assert_eq!(same_email(&mut world, 501, 1, "c12@example.com"), None);
    assert_eq!(same_email(&mut world, 502, 2, "new@example.com"), None);
    assert_eq!(same_email(&mut world, 503, 1, "new@example.com"), Some(2));
    // An address that is changed is no one's any more.
    let row = [
        ("entity_id", I(12)),
        ("website_id", I(1)),
        ("store_id", I(3)),
        ("email", T("c12@example.com")),
    ];
    world.update("customer_entity", &row, &[("email", T("other@example.com"))]);
    world.delete("customer_entity", &[("entity_id", I(501)), ("website_id", I(1))]);
    world.commit();
    assert_eq!(same_email(&mut world, 504, 2, "c12@example.com"), None);
    assert_eq!(same_email(&mut world, 505, 2, "other@example.com"), Some(1));
    // After a restart the same.
    let bytes = world.classifier.save();
    world.classifier.restore(&bytes).unwrap();
    assert_eq!(same_email(&mut world, 506, 2, "c11@example.com"), Some(1));
}

//! Tenants and persons of rows, edits and touches.

use phiwatch_magento::{Observation, Subject, TableClass, Tenant};

use crate::world::{Absent, I, Null, T, World};

fn people() -> World {
    let mut world = World::new();
    world.people();
    world
}

fn one(observations: &[Observation]) -> &Observation {
    let [observation, signs @ ..] = observations else { panic!("{observations:?}") };
    assert!(signs.iter().all(|sign| sign.op.is_none()), "{observations:?}");
    observation
}

fn subject(observations: &[Observation]) -> Subject {
    one(observations).subject.expect("a person")
}

#[test]
fn everything_of_a_customer_is_one_person_of_one_website() {
    let mut world = people();
    world.insert("customer_address_entity", &[("entity_id", I(5)), ("parent_id", I(11))]);
    world.insert("sales_invoice", &[("entity_id", I(6)), ("order_id", I(110)), ("store_id", I(1))]);
    world.insert("wishlist", &[("wishlist_id", I(7)), ("customer_id", I(11))]);
    world.insert(
        "wishlist_item",
        &[("wishlist_item_id", I(8)), ("wishlist_id", I(7)), ("store_id", Null)],
    );
    world.insert("quote_item", &[("item_id", I(9)), ("quote_id", I(110)), ("store_id", I(1))]);
    let person = subject(&world.delete(
        "customer_entity",
        &[("entity_id", I(11)), ("website_id", I(1)), ("store_id", I(1))],
    ));
    for (table, column, id) in [
        ("customer_entity_varchar", "entity_id", 11),
        ("customer_address_entity_text", "entity_id", 5),
        ("sales_order_item", "order_id", 110),
        ("sales_order_address", "parent_id", 110),
        ("sales_order_payment", "parent_id", 110),
        ("sales_order_status_history", "parent_id", 110),
        ("sales_payment_transaction", "order_id", 110),
        ("sales_invoice_comment", "parent_id", 6),
        ("sales_invoice_item", "parent_id", 6),
        ("quote_address", "quote_id", 110),
        ("quote_payment", "quote_id", 110),
        ("quote_item_option", "item_id", 9),
        ("wishlist_item", "wishlist_id", 7),
        ("wishlist_item_option", "wishlist_item_id", 8),
        ("gift_message", "customer_id", 11),
        ("login_as_customer", "customer_id", 11),
        ("rating_option_vote", "customer_id", 11),
        ("negotiable_quote", "quote_id", 110),
        ("company_order_entity", "order_id", 110),
    ] {
        let out = world.insert(table, &[(column, I(id))]);
        assert_eq!(one(&out).tenant, Tenant::Website(1), "{table}");
        assert_eq!(subject(&out), person, "{table}");
        assert!(one(&out).table.class.is_personal(), "{table}");
    }
}

#[test]
fn guests_are_persons_by_their_address() {
    let mut world = people();
    let row = |id, email| {
        [
            ("entity_id", I(id)),
            ("customer_id", Null),
            ("store_id", I(1)),
            ("customer_email", T(email)),
        ]
    };
    let first = subject(&world.insert("sales_order", &row(301, "Guest@example.com")));
    let second = subject(&world.insert("sales_order", &row(302, "guest@example.com")));
    let third = subject(&world.insert("sales_order", &row(303, "other@example.com")));
    assert_eq!(first, second);
    assert_ne!(first, third);
    assert_ne!(first.token, first.sketch);
    // A part without an address of its own has no person.
    let out = world.insert("sales_order_item", &[("order_id", I(301)), ("store_id", I(1))]);
    assert_eq!(one(&out).subject, None);
}

#[test]
fn derived_copies_are_no_persons() {
    let mut world = people();
    for (table, row) in [
        ("customer_grid_flat", [("entity_id", I(11)), ("website_id", I(1))]),
        ("sales_order_grid", [("entity_id", I(110)), ("store_id", I(1))]),
        ("sales_creditmemo_grid", [("order_id", I(110)), ("store_id", I(1))]),
    ] {
        let out = world.insert(table, &row);
        assert!(one(&out).table.is_grid, "{table}");
        assert_eq!(one(&out).subject, None, "{table}");
        assert_eq!(one(&out).tenant, Tenant::Website(1), "{table}");
    }
}

#[test]
fn time_stamps_and_logon_counters_are_no_edits() {
    let mut world = people();
    let before = [
        ("entity_id", I(11)),
        ("website_id", I(1)),
        ("store_id", I(1)),
        ("group_id", I(1)),
        ("updated_at", I(1)),
        ("failures_num", I(0)),
        ("rp_token", Null),
        ("default_billing", I(1)),
    ];
    for (after, is_touch) in [
        (("updated_at", I(2)), true),
        (("failures_num", I(1)), true),
        (("rp_token", T("x")), true),
        (("group_id", I(2)), false),
        (("default_billing", I(2)), false),
        (("email", T("x@example.com")), false),
        (("dob", T("abc")), false),
    ] {
        let out = world.update("customer_entity", &before, &[after]);
        assert_eq!(one(&out).is_touch, is_touch, "{after:?}");
        assert_eq!(one(&out).columns_changed == 0, is_touch, "{after:?}");
    }
    let order = [
        ("entity_id", I(110)),
        ("customer_id", I(11)),
        ("store_id", I(1)),
        ("updated_at", I(1)),
        ("status", T("a")),
    ];
    assert!(one(&world.update("sales_order", &order, &[("updated_at", I(2))])).is_touch);
    assert!(!one(&world.update("sales_order", &order, &[("status", T("b"))])).is_touch);
}

#[test]
fn equal_columns_give_equal_hashes() {
    let mut world = people();
    let before = |id| {
        [
            ("entity_id", I(id)),
            ("website_id", I(1)),
            ("store_id", I(1)),
            ("updated_at", I(1)),
            ("group_id", I(1)),
            ("taxvat", T("1")),
        ]
    };
    let mut hash = |id, after: &[(&str, _)]| {
        one(&world.update("customer_entity", &before(id), after)).columns_changed
    };
    let tax = hash(11, &[("taxvat", T("2"))]);
    assert_eq!(tax, hash(12, &[("taxvat", T("3")), ("updated_at", I(9))]));
    assert_ne!(tax, hash(12, &[("group_id", I(3))]));
    assert_ne!(tax, hash(12, &[("group_id", I(3)), ("taxvat", T("4"))]));
}

#[test]
fn partial_images_keep_what_is_known() {
    let mut world = people();
    // MINIMAL: the key before, the changed column after.
    let table = world.table("sales_order");
    let absent: Vec<_> = table.columns.iter().map(|c| (c.name.clone().unwrap(), Absent)).collect();
    let mut before: Vec<_> = absent.iter().map(|(name, value)| (&**name, *value)).collect();
    let mut after = before.clone();
    before.retain(|(name, _)| *name != "entity_id");
    before.push(("entity_id", I(110)));
    after.retain(|(name, _)| *name != "status");
    after.push(("status", T("closed")));
    let out = world.change(&table, phiwatch_binlog::Op::Update, Some(&before), Some(&after));
    assert_eq!(one(&out).tenant, Tenant::Website(1));
    assert!(one(&out).subject.is_some());
    assert!(!one(&out).is_touch);
    assert_eq!(one(&out).fact, None);
}

#[test]
fn rows_without_a_tenant_are_global_or_unknown() {
    let mut world = people();
    let out =
        world.insert("password_reset_request_event", &[("account_reference", T("a@example.com"))]);
    assert_eq!(one(&out).tenant, Tenant::Global);
    assert!(one(&out).subject.is_some());
    let out = world
        .insert("sales_order", &[("entity_id", I(9)), ("store_id", I(0)), ("customer_id", Null)]);
    assert_eq!(one(&out).tenant, Tenant::Global);
    let out = world.insert("sales_order_payment", &[("parent_id", I(999))]);
    assert_eq!(one(&out).tenant, Tenant::Unknown);
    let counters = world.classifier.counters();
    assert_eq!(counters.tenant_unknown_rows, 1);
    assert_eq!(counters.rows(TableClass::Order), 5);
}

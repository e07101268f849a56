//! Each invariant with breaches and look-alikes.

use phiwatch_binlog::Op;
use phiwatch_magento::{Fact, Observation, Settings, ShareScope, Sign, Tenant, Weight};

use crate::world::{Absent, Cells, I, Null, T, World, facts};

/// What a row may say about tenancy.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Say {
    Nothing,
    Unverified(u8),
    Breach(u8, Weight, u32, u32),
}

use Say::{Breach, Nothing, Unverified};
use Weight::{High, Low, Medium};

fn say(observations: &[Observation]) -> Say {
    let [observation] = observations else { panic!("one observation, not {observations:?}") };
    let website = |tenant| match tenant {
        Tenant::Website(website) => website,
        Tenant::Global | Tenant::Unknown => 0,
    };
    match &observation.fact {
        None => Nothing,
        Some(Fact::Unverified(invariant)) => Unverified(*invariant),
        Some(Fact::CrossTenant(breach)) => {
            Breach(breach.invariant, breach.weight, website(breach.found), website(breach.expected))
        }
        Some(other) => panic!("{other:?}"),
    }
}

fn people() -> World {
    let mut world = World::new();
    world.people();
    world
}

#[track_caller]
fn inserted(table: &str, row: Cells<'_>, want: Say) {
    let mut world = people();
    assert_eq!(say(&world.insert(table, row)), want, "{table} {row:?}");
}

#[track_caller]
fn updated(table: &str, before: Cells<'_>, after: Cells<'_>, want: Say) {
    let mut world = people();
    assert_eq!(say(&world.update(table, before, after)), want, "{table} {before:?} {after:?}");
}

const CUSTOMER: Cells<'_> = &[
    ("entity_id", I(11)),
    ("website_id", I(1)),
    ("store_id", I(1)),
    ("email", T("c11@example.com")),
];

#[test]
fn customers_store_is_of_the_customers_website() {
    let row = |website, store| {
        [
            ("entity_id", I(31)),
            ("website_id", website),
            ("store_id", store),
            ("email", T("n@example.com")),
        ]
    };
    inserted("customer_entity", &row(I(1), I(2)), Breach(1, Medium, 2, 1));
    inserted("customer_entity", &row(I(1), I(3)), Nothing);
    inserted("customer_entity", &row(I(1), I(0)), Nothing);
    inserted("customer_entity", &row(I(1), Null), Nothing);
    inserted("customer_entity", &row(I(1), I(9)), Unverified(1));
    updated("customer_entity", CUSTOMER, &[("store_id", I(2))], Breach(1, Medium, 2, 1));
    updated("customer_entity", CUSTOMER, &[("store_id", I(3))], Nothing);
}

#[test]
fn customers_stay_in_their_website() {
    updated("customer_entity", CUSTOMER, &[("website_id", I(2))], Breach(2, High, 2, 1));
    let both = &[("website_id", I(2)), ("store_id", I(2))];
    updated("customer_entity", CUSTOMER, both, Breach(2, High, 2, 1));
    updated("customer_entity", CUSTOMER, &[("website_id", Null)], Nothing);
    updated("customer_entity", CUSTOMER, &[("website_id", I(0))], Nothing);
    updated("customer_entity", CUSTOMER, &[("email", T("x@example.com"))], Nothing);
    // Row image MINIMAL: the old website is known from the INSERT.
    let before = &[("entity_id", I(11)), ("website_id", Absent), ("store_id", Absent)];
    updated("customer_entity", before, &[("website_id", I(2))], Breach(2, High, 2, 1));
    updated("customer_entity", before, &[("website_id", I(1))], Nothing);
}

#[test]
fn orders_are_in_their_customers_website() {
    let row =
        |customer, store| [("entity_id", I(300)), ("customer_id", customer), ("store_id", store)];
    inserted("sales_order", &row(I(11), I(2)), Breach(3, High, 2, 1));
    inserted("sales_order", &row(I(11), I(3)), Nothing);
    inserted("sales_order", &row(Null, I(2)), Nothing);
    inserted("sales_order", &row(I(0), I(2)), Nothing);
    inserted("sales_order", &row(I(11), I(0)), Nothing);
    inserted("sales_order", &row(I(11), Null), Nothing);
    inserted("sales_order", &row(I(99), I(2)), Unverified(3));
    inserted("sales_order", &row(I(11), I(9)), Unverified(3));
}

#[test]
fn an_old_breach_is_not_said_again() {
    let before =
        &[("entity_id", I(300)), ("customer_id", I(11)), ("store_id", I(2)), ("status", T("a"))];
    updated("sales_order", before, &[("status", T("b"))], Nothing);
}

const ORDER: Cells<'_> = &[
    ("entity_id", I(110)),
    ("customer_id", I(11)),
    ("store_id", I(1)),
    ("customer_email", T("c11@example.com")),
];
const GUEST: Cells<'_> = &[
    ("entity_id", I(100)),
    ("customer_id", Null),
    ("store_id", I(1)),
    ("customer_email", T("g@example.com")),
];

#[test]
fn orders_stay_in_the_stores_of_one_website() {
    updated("sales_order", ORDER, &[("store_id", I(2))], Breach(4, High, 2, 1));
    updated("sales_order", ORDER, &[("store_id", I(3))], Nothing);
    updated("sales_order", ORDER, &[("store_id", Null)], Nothing);
    updated("sales_order", GUEST, &[("store_id", I(2))], Breach(4, High, 2, 1));
    updated("sales_order", GUEST, &[("store_id", I(9))], Unverified(4));
}

#[test]
fn orders_never_pass_from_customer_to_customer() {
    updated("sales_order", ORDER, &[("customer_id", I(21))], Breach(5, High, 2, 1));
    updated(
        "sales_order",
        ORDER,
        &[("customer_id", I(12)), ("customer_email", T("c12@example.com"))],
        Breach(5, High, 1, 1),
    );
    updated("sales_order", ORDER, &[("customer_id", Null)], Nothing);
    let email = ("customer_email", T("C11@Example.com"));
    updated("sales_order", GUEST, &[("customer_id", I(11)), email], Nothing);
    updated(
        "sales_order",
        GUEST,
        &[("customer_id", I(21)), ("customer_email", T("c21@example.com"))],
        Breach(3, High, 1, 2),
    );
}

#[test]
fn an_order_given_to_a_customer_has_the_customers_address() {
    updated("sales_order", GUEST, &[("customer_id", I(11))], Breach(6, Medium, 1, 1));
    updated(
        "sales_order",
        ORDER,
        &[("customer_email", T("other@example.com"))],
        Breach(6, Medium, 1, 1),
    );
    updated("sales_order", GUEST, &[("customer_email", T("other@example.com"))], Nothing);
    // The customer's own change comes first, then all orders follow.
    let mut world = people();
    let new = ("email", T("new@example.com"));
    assert_eq!(say(&world.update("customer_entity", CUSTOMER, &[new])), Nothing);
    let change = [("customer_email", T("new@example.com"))];
    assert_eq!(say(&world.update("sales_order", ORDER, &change)), Nothing);
}

#[test]
fn parts_of_an_order_are_in_its_website() {
    for table in ["sales_order_item", "sales_invoice", "sales_shipment", "sales_creditmemo"] {
        let row = |order, store| [("order_id", I(order)), ("store_id", store)];
        inserted(table, &row(110, I(2)), Breach(7, High, 2, 1));
        inserted(table, &row(110, I(3)), Nothing);
        inserted(table, &row(110, Null), Nothing);
        inserted(table, &row(110, I(0)), Nothing);
        inserted(table, &row(999, I(1)), Unverified(7));
        updated(table, &row(110, I(1)), &[("order_id", I(210))], Breach(7, High, 1, 2));
    }
}

#[test]
fn grid_rows_are_of_their_source() {
    let row = |order, store, customer| {
        [("entity_id", I(order)), ("store_id", I(store)), ("customer_id", customer)]
    };
    inserted("sales_order_grid", &row(110, 2, I(11)), Breach(8, High, 2, 1));
    inserted("sales_order_grid", &row(110, 1, I(21)), Breach(8, High, 2, 1));
    // Another customer of the same website crosses nothing.
    inserted("sales_order_grid", &row(110, 1, I(12)), Nothing);
    inserted("sales_order_grid", &row(110, 1, I(11)), Nothing);
    inserted("sales_order_grid", &row(999, 1, I(11)), Nothing);
    let child = |order, store| [("order_id", I(order)), ("store_id", I(store))];
    inserted("sales_invoice_grid", &child(110, 2), Breach(8, High, 2, 1));
    inserted("sales_shipment_grid", &child(110, 3), Nothing);
    let customer = |website| [("entity_id", I(11)), ("website_id", website)];
    inserted("customer_grid_flat", &customer(I(2)), Breach(17, Medium, 2, 1));
    inserted("customer_grid_flat", &customer(I(1)), Nothing);
    inserted("customer_grid_flat", &[("entity_id", I(99)), ("website_id", I(1))], Nothing);
}

#[test]
fn order_addresses_stay_with_order_and_customer() {
    let row = |order, customer| [("parent_id", I(order)), ("customer_id", customer)];
    inserted("sales_order_address", &row(110, I(11)), Nothing);
    inserted("sales_order_address", &row(110, Null), Nothing);
    inserted("sales_order_address", &row(110, I(21)), Breach(9, Medium, 2, 1));
    inserted("sales_order_address", &row(100, I(21)), Nothing);
    inserted("sales_order_address", &row(999, I(21)), Unverified(9));
    updated(
        "sales_order_address",
        &row(110, I(11)),
        &[("parent_id", I(210))],
        Breach(9, Medium, 2, 1),
    );
    let mut world = people();
    world.insert("customer_address_entity", &[("entity_id", I(5)), ("parent_id", I(22))]);
    let row = [("parent_id", I(110)), ("customer_id", I(11)), ("customer_address_id", I(5))];
    assert_eq!(say(&world.insert("sales_order_address", &row)), Breach(9, Medium, 2, 1));
    let row = [("parent_id", I(210)), ("customer_id", I(21)), ("customer_address_id", I(5))];
    assert_eq!(say(&world.insert("sales_order_address", &row)), Nothing);
}

#[test]
fn addresses_stay_with_their_customer() {
    let before = &[("entity_id", I(5)), ("parent_id", I(11))];
    updated("customer_address_entity", before, &[("parent_id", I(21))], Breach(10, High, 2, 1));
    updated("customer_address_entity", before, &[("parent_id", I(12))], Breach(10, High, 1, 1));
    updated("customer_address_entity", before, &[("city", T("x"))], Nothing);
    updated("customer_address_entity", before, &[("parent_id", Null)], Nothing);
}

#[test]
fn attribute_values_stay_with_their_person() {
    let before = &[("value_id", I(1)), ("entity_id", I(11)), ("attribute_id", I(160))];
    updated("customer_entity_varchar", before, &[("entity_id", I(21))], Breach(11, High, 2, 1));
    updated("customer_entity_text", before, &[("attribute_id", I(161))], Breach(11, High, 1, 1));
    updated("customer_entity_varchar", before, &[("value", T("x"))], Nothing);
    updated(
        "customer_address_entity_varchar",
        before,
        &[("attribute_id", I(9))],
        Breach(11, High, 0, 0),
    );
}

#[test]
fn carts_are_in_their_customers_website() {
    let row =
        |customer, store| [("entity_id", I(300)), ("customer_id", customer), ("store_id", store)];
    inserted("quote", &row(I(11), I(2)), Breach(12, High, 2, 1));
    inserted("quote", &row(I(11), I(3)), Nothing);
    inserted("quote", &row(Null, I(2)), Nothing);
    inserted("quote", &row(I(99), I(2)), Unverified(12));
    updated("quote", &row(I(11), I(1)), &[("customer_id", I(12))], Breach(12, High, 1, 1));
    updated("quote", &row(I(11), I(1)), &[("store_id", I(2))], Breach(12, High, 2, 1));
    updated("quote", &row(I(11), I(1)), &[("store_id", I(3))], Nothing);
    updated("quote", &row(I(11), I(0)), &[("store_id", I(1))], Nothing);
    updated("quote", &row(Null, I(1)), &[("customer_id", I(11))], Nothing);
    updated("quote", &row(I(11), I(1)), &[("customer_id", Null)], Nothing);
}

#[test]
fn parts_of_a_cart_move_to_carts_of_the_same_person() {
    let mut world = people();
    for (id, customer, store) in [(111, I(11), 3), (120, I(12), 1)] {
        world.insert(
            "quote",
            &[("entity_id", I(id)), ("customer_id", customer), ("store_id", I(store))],
        );
    }
    for (from, to, want) in [
        (100, 110, Nothing),
        (110, 111, Nothing),
        (110, 120, Breach(13, Medium, 1, 1)),
        (110, 210, Breach(13, Medium, 2, 1)),
        (110, 999, Unverified(13)),
    ] {
        let before = [("item_id", I(1)), ("quote_id", I(from)), ("store_id", I(1))];
        let out = world.update("quote_item", &before, &[("quote_id", I(to))]);
        assert_eq!(say(&out), want, "{from} {to}");
    }
}

#[test]
fn other_tables_of_a_customer() {
    let row = |customer, store| [("customer_id", customer), ("store_id", I(store))];
    inserted("newsletter_subscriber", &row(I(11), 2), Breach(14, Medium, 2, 1));
    inserted("newsletter_subscriber", &row(I(0), 2), Nothing);
    inserted("newsletter_subscriber", &row(I(11), 3), Nothing);
    inserted("review_detail", &row(I(11), 2), Breach(18, Low, 2, 1));
    inserted("review_detail", &row(I(11), 0), Nothing);
    let row = |customer, website| [("customer_id", I(customer)), ("website_id", website)];
    inserted("vault_payment_token", &row(11, I(2)), Breach(15, High, 2, 1));
    inserted("vault_payment_token", &row(11, Null), Nothing);
    updated(
        "vault_payment_token",
        &row(11, I(1)),
        &[("customer_id", I(12))],
        Breach(15, High, 1, 1),
    );
    inserted("persistent_session", &row(11, I(2)), Breach(16, Medium, 2, 1));
    inserted("persistent_session", &row(11, I(1)), Nothing);
    let row = |order, store, customer| {
        [("order_id", I(order)), ("store_id", I(store)), ("customer_id", customer)]
    };
    inserted("magento_rma", &row(110, 2, I(11)), Breach(20, Medium, 2, 1));
    inserted("magento_rma", &row(110, 1, I(21)), Breach(20, Medium, 2, 1));
    inserted("magento_rma", &row(110, 1, I(12)), Nothing);
    inserted("magento_rma", &row(100, 1, Null), Nothing);
    let row = &[("customer_id", I(11)), ("company_id", I(1))];
    updated(
        "company_advanced_customer_entity",
        row,
        &[("company_id", I(2))],
        Breach(19, High, 1, 1),
    );
    updated("company_advanced_customer_entity", row, &[("job_title", T("x"))], Nothing);
    let mut world = people();
    world.insert("wishlist", &[("wishlist_id", I(7)), ("customer_id", I(11))]);
    let out = world.insert("wishlist_item", &[("wishlist_id", I(7)), ("store_id", I(2))]);
    assert_eq!(say(&out), Breach(18, Low, 2, 1));
}

#[test]
fn shared_accounts_belong_to_no_website() {
    let settings = Settings { share_scope: ShareScope::Global, ..Settings::default() };
    let mut world = World::with(settings);
    world.stores();
    world.people();
    let both = [("customer_id", I(11)), ("store_id", I(2)), ("entity_id", I(300))];
    for table in ["sales_order", "quote", "newsletter_subscriber", "review_detail"] {
        assert_eq!(say(&world.insert(table, &both)), Nothing, "{table}");
    }
    let out = world.insert("persistent_session", &[("customer_id", I(11)), ("website_id", I(2))]);
    assert_eq!(say(&out), Nothing);
    // These hold all the same.
    let out = world.update("sales_order", ORDER, &[("store_id", I(2))]);
    assert_eq!(say(&out), Breach(4, High, 2, 1));
    let out = world.update(
        "sales_order",
        ORDER,
        &[("customer_id", I(12)), ("customer_email", T("c12@example.com"))],
    );
    assert_eq!(say(&out), Breach(5, High, 1, 1));
}

#[test]
fn a_moved_store_is_one_fact_and_then_the_truth() {
    let mut world = people();
    let before = [("store_id", I(3)), ("website_id", I(1)), ("group_id", I(1))];
    let out = world.update("store", &before, &[("website_id", I(2))]);
    let what = "store 3 from website 1 to website 2".to_owned();
    let moved = Fact::Sign(Sign::Moved { from: 1, to: 2 });
    assert_eq!(facts(&out), [&Fact::TenantRemap { what }, &moved]);
    let row = [("entity_id", I(300)), ("customer_id", I(21)), ("store_id", I(3))];
    assert_eq!(say(&world.insert("sales_order", &row)), Nothing);
    assert_eq!(facts(&world.update("store", &before, &[("name", T("x"))])), Vec::<&Fact>::new());
    let out = world.delete("store", &before);
    assert!(matches!(facts(&out)[..], [Fact::TenantRemap { .. }]));
}

#[test]
fn unknown_is_counted_and_deletions_are_not_judged() {
    let mut world = people();
    let row = [("entity_id", I(300)), ("customer_id", I(99)), ("store_id", I(2))];
    world.insert("sales_order", &row);
    assert_eq!(say(&world.delete("sales_order", &row)), Nothing);
    let breach = [("entity_id", I(301)), ("customer_id", I(11)), ("store_id", I(2))];
    world.insert("sales_order", &breach);
    let counters = world.classifier.counters();
    assert_eq!((counters.unverified[3], counters.cross_tenant[3]), (1, 1));
}

#[test]
fn dependants_logged_after_their_parent_keep_their_tenant() {
    let mut world = people();
    let address = [("entity_id", I(5)), ("parent_id", I(11))];
    world.insert("customer_address_entity", &address);
    world.delete("customer_entity", CUSTOMER);
    let out = world.delete("customer_address_entity", &address);
    assert_eq!(out[0].tenant, Tenant::Website(1));
    assert_eq!(out[0].op, Some(Op::Delete));
    let out = world.update("sales_order", ORDER, &[("customer_id", Null)]);
    assert_eq!(say(&out), Nothing);
    world.commit();
    let out = world.insert("customer_address_entity", &[("entity_id", I(6)), ("parent_id", I(11))]);
    assert_eq!(out[0].tenant, Tenant::Unknown);
}

//! Rules on values: seeded persons, ciphertext, identifiers in text, and copies by value.

use std::sync::Arc;

use phiwatch_binlog::{End, Op, Xid};
use phiwatch_magento::{
    Because, Cleartext, CopyForm, Fact, Found, Identifier, Mark, Observation, PhiClasses, Tenant,
    ValuePlace, ValueSeen,
};

use crate::shop::{Run, Tx, check, fact, person, row, short, site, tx};

fn mark(table: &str, tenant: Tenant, mark: Mark) -> Observation {
    Observation { tenant, ..fact(table, None, Fact::Mark(mark)) }
}

fn canary(table: &str, op: Op, tenant: Tenant) -> Observation {
    mark(table, tenant, Mark::Canary { number: 1, is_email: false, op, is_seeding: false })
}

fn clear(form: Cleartext, because: Because) -> Observation {
    let column = Arc::from("cc_number_enc");
    mark("sales_order_payment", site(1), Mark::Cleartext { column, form, because })
}

fn identifiers(tenant: Tenant, classes: &[Identifier]) -> Observation {
    let mut found = Found::default();
    for class in classes {
        found.0[*class as usize] += 1;
    }
    let column = Arc::from("comment");
    mark("sales_order_status_history", tenant, Mark::Identifiers { column, found })
}

/// A row of a table that holds a value of person `who`.
fn value(table: &str, who: u64, seen: ValueSeen, place: ValuePlace) -> Observation {
    let class = PhiClasses::EMAIL;
    let new = mark(table, Tenant::Unknown, Mark::Value { place, seen, class, rows: 1 });
    Observation { subject: Some(person(who)), op: Some(Op::Create), ..new }
}

fn values(table: &str, who: std::ops::Range<u64>, seen: ValueSeen) -> Vec<Observation> {
    who.map(|who| value(table, who, seen, ValuePlace::Table)).collect()
}

fn made(table: &str) -> Observation {
    let (form, classes) = (CopyForm::CreatePlain, PhiClasses::default());
    fact(table, None, Fact::Copy { form, classes, columns: 0, sources: Vec::new() })
}

/// Transactions that each hold the values of one person.
fn drip(table: &str, who: std::ops::Range<u64>, seen: ValueSeen, every: i64) -> Vec<Tx> {
    let start = who.start;
    who.map(|who| tx((who - start) as i64 * every + 10, values(table, who..who + 1, seen)))
        .collect()
}

#[test]
fn a_seeded_person_is_told_at_its_first_row() {
    let alerts = check(
        &[tx(
            0,
            vec![
                row("customer_entity", Op::Update, site(2), 9),
                canary("customer_entity", Op::Update, site(2)),
            ],
        )],
        &["canary-touched/website-2/4/create"],
    );
    assert_eq!(
        alerts[0].message,
        "The seeded person 1 of canary_customers was changed (1 row of customer_entity)."
    );
    assert_eq!(alerts[0].evidence[0].tables["customer_entity"].updates, 1);
    check(
        &[tx(0, vec![canary("x_1", Op::Create, Tenant::Unknown)])],
        &["canary-touched/global/4/create"],
    );
}

#[test]
fn the_making_of_a_seeded_person_and_whole_table_jobs_are_quiet() {
    let seeding = Mark::Canary { number: 1, is_email: false, op: Op::Create, is_seeding: true };
    check(
        &[tx(
            0,
            vec![
                mark("customer_entity", site(1), seeding),
                canary("customer_address_entity", Op::Create, site(1)),
            ],
        )],
        &[],
    );
    let upgrade = fact("setup_module", None, Fact::Maintenance { kind: "setup upgrade" });
    check(&[tx(0, vec![upgrade]), tx(5, vec![canary("x_1", Op::Create, Tenant::Unknown)])], &[]);
}

#[test]
fn plaintext_and_corrupt_ciphertext_are_two_findings() {
    let alerts = check(
        &[
            tx(0, vec![clear(Cleartext::Plain, Because::Policy)]),
            tx(1, vec![clear(Cleartext::Corrupt, Because::Policy)]),
            tx(2, vec![clear(Cleartext::Card, Because::Policy)]),
        ],
        &[
            "plaintext-phi/website-1/3/create",
            "plaintext-phi/website-1/3/create",
            "plaintext-phi/website-1/4/update",
        ],
    );
    assert_eq!(
        alerts[0].message,
        "Column cc_number_enc of table sales_order_payment, which must hold ciphertext, received \
         plaintext in 1 row."
    );
    assert!(alerts[1].message.contains("corrupt ciphertext"), "{}", alerts[1].message);
    assert!(alerts[2].message.contains("a card number in clear"), "{}", alerts[2].message);
    let alerts = check(
        &[tx(0, vec![clear(Cleartext::Plain, Because::History)])],
        &["plaintext-phi/website-1/3/create"],
    );
    assert_eq!(alerts[0].confidence as u8, 2);
}

#[test]
fn free_text_is_one_finding_a_week_for_each_column_and_tenant() {
    use Identifier::{Card, Npi, Ssn};
    let day = 86_400;
    let one = |secs, tenant, classes: &[Identifier]| tx(secs, vec![identifiers(tenant, classes)]);
    // The first, another tenant's, another class, and the same again: while open, and after.
    let mut all = vec![
        one(0, site(1), &[Ssn]),
        one(60, site(2), &[Npi]),
        one(120, site(1), &[Card]),
        one(180, site(1), &[Ssn]),
    ];
    all.extend((1..6).map(|n| one(n * day, site(1), &[Ssn])));
    all.push(one(8 * day, site(1), &[Ssn]));
    let alerts = check(
        &all,
        &[
            "phi-in-free-text/website-1/3/create",
            "phi-in-free-text/website-2/2/create",
            "phi-in-free-text/website-1/4/update",
            "phi-in-free-text/website-2/2/close",
            "phi-in-free-text/website-1/4/close",
            "phi-in-free-text/website-1/3/create",
        ],
    );
    assert_eq!(
        alerts[2].message,
        "Column comment of table sales_order_status_history holds identifiers: 1 social security \
         number, 1 card number; so far 2 rows in 2 transactions."
    );
}

#[test]
fn a_copy_by_values_is_told_in_its_own_transaction() {
    let alerts =
        check(&[tx(0, values("x_1", 0..25, ValueSeen::Known))], &["bulk-copy/global/3/create"]);
    assert_eq!(alerts[0].message, "Values (email) of 25 persons went into table x_1.");
    assert_eq!(alerts[0].subjects, (25, true));
    assert_eq!(alerts[0].evidence[0].subjects, (25, true));
    assert_eq!(alerts[0].evidence[0].tables["x_1"].inserts, 25);
    check(&[tx(0, values("x_1", 0..501, ValueSeen::Known))], &["bulk-copy/global/4/create"]);
    // Persons that were written just now count when they come at once.
    check(&[tx(0, values("x_1", 0..30, ValueSeen::Active))], &["bulk-copy/global/3/create"]);
}

#[test]
fn few_values_are_a_surface_once_and_a_log_of_other_things_is_no_copy() {
    check(
        &[
            tx(0, values("x_1", 0..4, ValueSeen::Known)),
            tx(9, values("x_1", 4..6, ValueSeen::Shape)),
            tx(19, values("x_1", 6..8, ValueSeen::Shape)),
        ],
        &["phi-surface/global/2/create"],
    );
    // A person in one of five rows.
    let mut rows = values("x_1", 0..30, ValueSeen::Known);
    let (place, seen, class) = (ValuePlace::Table, ValueSeen::Shape, PhiClasses::default());
    rows.push(mark("x_1", Tenant::Unknown, Mark::Value { place, seen, class, rows: 120 }));
    check(&[tx(0, rows)], &["phi-surface/global/2/create"]);
    // Addresses inside sentences.
    let texts = (0..30).map(|who| value("x_1", who, ValueSeen::Known, ValuePlace::Text)).collect();
    check(&[tx(0, texts)], &["phi-surface/global/2/create"]);
}

#[test]
fn addresses_that_nobody_knows_are_a_copy_in_numbers_or_in_a_table_made_for_them() {
    let shape = ValueSeen::Shape;
    check(&[tx(0, values("x_1", 0..99, shape))], &["phi-surface/global/2/create"]);
    check(&[tx(0, values("x_1", 0..100, shape))], &["bulk-copy/global/3/create"]);
    let mut rows = vec![made("x_1")];
    rows.extend(values("x_1", 0..25, shape));
    check(&[tx(0, rows)], &["bulk-copy/global/3/create"]);
}

#[test]
fn rows_that_drip_in_are_added_up_for_a_week() {
    let hour = 3_600;
    check(
        &drip("x_1", 0..25, ValueSeen::Known, hour),
        &["phi-surface/global/2/create", "phi-surface/global/2/close", "bulk-copy/global/3/create"],
    );
    // Half a year for as many.
    check(
        &drip("x_1", 0..26, ValueSeen::Known, 24 * 7 * hour),
        &["phi-surface/global/2/create", "phi-surface/global/2/close"],
    );
    // An extension's table follows what the shop does with the same persons ...
    check(
        &drip("x_1", 0..200, ValueSeen::Active, 60),
        &["phi-surface/global/2/create", "phi-surface/global/2/close"],
    );
    // ... but not one that was just made.
    let mut all = vec![tx(0, vec![made("x_1")])];
    all.extend(drip("x_1", 0..25, ValueSeen::Active, 60));
    check(&all, &["phi-surface/global/2/create", "bulk-copy/global/3/create"]);
}

#[test]
fn bodies_are_a_copy_unless_magento_made_them() {
    let bodies = |place| {
        (0..30).map(|who| value("magento_operation", who, ValueSeen::Known, place)).collect()
    };
    let alerts = check(&[tx(0, bodies(ValuePlace::Body))], &["bulk-copy/global/3/create"]);
    assert!(alerts[0].message.contains("the bodies of table magento_operation"));
    check(&[tx(0, bodies(ValuePlace::OwnBody))], &[]);
    check(&drip("magento_operation", 0..24, ValueSeen::Known, 60), &[]);
}

#[test]
fn an_upgrade_explains_copies_by_value() {
    let upgrade = fact("patch_list", Some(Op::Create), Fact::Maintenance { kind: "setup upgrade" });
    check(&[tx(0, vec![upgrade, made("x_1")]), tx(5, values("x_1", 0..60, ValueSeen::Known))], &[]);
}

#[test]
fn marks_of_a_prepared_transaction_wait_for_its_commit_over_a_restart() {
    let xid = Xid("X'01',X'',1".to_owned());
    let mut rows = values("x_1", 0..40, ValueSeen::Known);
    rows.push(canary("customer_entity", Op::Update, site(1)));
    rows.push(clear(Cleartext::Card, Because::Policy));
    rows.push(identifiers(site(1), &[Identifier::Ssn]));
    let mut prepared = tx(0, rows);
    prepared.end = End::XaPrepared(xid.clone());
    let mut run = Run::new();
    run.feed(&prepared);
    assert!(run.alerts.is_empty());
    run.restart(phiwatch_detect::Settings::default());
    let mut commit = tx(9, Vec::new());
    commit.end = End::XaCommit(xid);
    run.feed(&commit);
    assert_eq!(
        short(&run.alerts),
        [
            "bulk-copy/global/3/create",
            "phi-in-free-text/website-1/3/create",
            "canary-touched/website-1/4/create",
            "plaintext-phi/website-1/4/create",
        ]
    );
    run.restart(phiwatch_detect::Settings::default());
}

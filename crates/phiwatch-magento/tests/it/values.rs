//! What a look at values says: seeded persons, ciphertext, identifiers in text, persons elsewhere.

use std::collections::BTreeSet;

use phiwatch_binlog::{End, StatementKind as Kind, Xid};
use phiwatch_magento::{
    AttributeOf, Because, Catalog, Classifier, Cleartext, Identifier, Mark, Observation, Policy,
    Settings, TokenKey, ValuePlace, ValueSeen,
};

use crate::world::{Absent, I, Null, T, World, column, facts};

/// 37 random bytes, sealed as Magento does.
const SEALED: &str = "0:3:Aqz0XwVJt2b8m1o9Hq7YcK3sRfLdPpEuNvGhTjWkZxMiBnQy6A==";

fn with(policy: Policy) -> World {
    let mut world = World::with(Settings { policy, ..Settings::default() });
    world.stores();
    world.people();
    world
}

fn columns(names: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    names.iter().map(|(table, column)| ((*table).to_owned(), (*column).to_owned())).collect()
}

fn marks(observations: &[Observation]) -> Vec<&Mark> {
    facts(observations)
        .into_iter()
        .filter_map(|fact| match fact {
            phiwatch_magento::Fact::Mark(mark) => Some(mark),
            _ => None,
        })
        .collect()
}

fn define(world: &mut World, table: &str, columns: &[&str]) {
    let columns = columns.iter().map(|text| {
        let (name, definition) = text.split_once(' ').unwrap_or((text, "varchar(255)"));
        column(name, definition)
    });
    world.schema.insert(table.into(), columns.collect());
}

/// Place, state and table's rows of the values told.
fn values(observations: &[Observation]) -> Vec<(ValuePlace, ValueSeen, u32)> {
    let value = |mark: &Mark| match mark {
        Mark::Value { place, seen, rows, .. } => Some((*place, *seen, *rows)),
        _ => None,
    };
    marks(observations).into_iter().filter_map(value).collect()
}

fn clear(observations: &[Observation]) -> Vec<(String, Cleartext, Because)> {
    let one = |mark: &Mark| match mark {
        Mark::Cleartext { column, form, because } => Some((column.to_string(), *form, *because)),
        _ => None,
    };
    marks(observations).into_iter().filter_map(one).collect()
}

/// Commits empty transactions, so that persons rest.
fn rest(world: &mut World) {
    (0..20).for_each(|_| world.commit());
}

#[test]
fn a_seeded_customer_is_known_wherever_its_rows_are() {
    let mut world = with(Policy { canary_customers: vec![999, 21], ..Policy::default() });
    let customer = [("entity_id", I(21)), ("website_id", I(2)), ("store_id", I(2))];
    let touched = |out: &[Observation]| {
        let is_it = |mark: &&Mark| matches!(mark, Mark::Canary { number: 2, is_email: false, .. });
        marks(out).into_iter().filter(is_it).count()
    };
    assert_eq!(touched(&world.update("customer_entity", &customer, &[("firstname", T("X"))])), 1);
    assert_eq!(touched(&world.delete("customer_entity", &customer)), 1);
    let order = [("entity_id", I(210)), ("customer_id", I(21)), ("store_id", I(2))];
    assert_eq!(touched(&world.update("sales_order", &order, &[("status", T("x"))])), 1);
    // By its order.
    assert_eq!(touched(&world.insert("sales_order_address", &[("parent_id", I(210))])), 1);
    define(&mut world, "acme", &["customer_id int", "a"]);
    assert_eq!(touched(&world.insert("acme", &[("customer_id", I(21))])), 1);
    // Derived copies follow their sources.
    assert_eq!(touched(&world.insert("customer_grid_flat", &customer)), 0);
    let other = [("entity_id", I(22)), ("website_id", I(2))];
    assert_eq!(touched(&world.update("customer_entity", &other, &[("firstname", T("X"))])), 0);
}

#[test]
fn a_seeded_address_is_known_in_any_column_and_its_making_is_told_apart() {
    let emails = vec!["bait@example.com".to_owned()];
    let mut world = with(Policy { canary_emails: emails, ..Policy::default() });
    let seeding = |out: &[Observation]| {
        marks(out)
            .into_iter()
            .filter_map(|mark| match mark {
                Mark::Canary { number: 1, is_email: true, is_seeding, .. } => Some(*is_seeding),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let email = ("email", T(" Bait@Example.com"));
    let out = world.insert("customer_entity", &[("entity_id", I(77)), email]);
    assert_eq!(seeding(&out), [true]);
    let out = world.insert("newsletter_subscriber", &[("subscriber_email", T("bait@example.com"))]);
    assert_eq!(seeding(&out), [false]);
    let text = T("wrote to bait@example.com yesterday");
    let out = world.insert("sales_order_status_history", &[("comment", text)]);
    assert_eq!(seeding(&out), [false]);
    let out = world.insert("queue_message", &[("body", T(r#"{"to":"bait@example.com"}"#))]);
    assert_eq!(seeding(&out), [false]);
    define(&mut world, "x1", &["a", "b"]);
    let out = world.insert("x1", &[("a", T("1")), ("b", T("bait@example.com"))]);
    assert_eq!(seeding(&out), [false]);
    assert!(seeding(&world.insert("x1", &[("b", T("other@example.com"))])).is_empty());
    let all = format!("{:?}", world.classifier);
    assert!(!all.to_ascii_lowercase().contains("bait"));
}

#[test]
fn encrypted_columns_take_ciphertext_only() {
    let encrypted_columns = columns(&[("sales_order", "customer_taxvat")]);
    let mut world = with(Policy { encrypted_columns, ..Policy::default() });
    let payment = |world: &mut World, value| {
        let out = world.insert("sales_order_payment", &[("cc_number_enc", value)]);
        clear(&out).into_iter().map(|(_, form, because)| (form, because)).collect::<Vec<_>>()
    };
    let policy = Because::Policy;
    for (value, want) in [
        (T(SEALED), vec![]),
        (Null, vec![]),
        (T(""), vec![]),
        (T("4111111111111111"), vec![(Cleartext::Card, policy)]),
        (T("not a number"), vec![(Cleartext::Plain, policy)]),
        (T("0:3:Aqz0XwVJt2b8m1o9Hq7YcK3sRfLdPpE"), vec![(Cleartext::Corrupt, policy)]),
    ] {
        assert_eq!(payment(&mut world, value), want);
    }
    let order = [("entity_id", I(210)), ("customer_taxvat", T("DE123456789"))];
    let out = world.insert("sales_order", &order);
    assert_eq!(clear(&out), [("customer_taxvat".into(), Cleartext::Plain, policy)]);
    // Written with another column only.
    let out = world.update("sales_order", &order, &[("status", T("complete"))]);
    assert_eq!(clear(&out), []);
    // A key change.
    let order = [("entity_id", I(210)), ("customer_taxvat", T(SEALED))];
    let again = SEALED.replacen('0', "1", 1);
    let out = world.update("sales_order", &order, &[("customer_taxvat", T(&again))]);
    assert_eq!(clear(&out), []);
}

#[test]
fn policy_columns_that_do_not_exist_are_told() {
    let encrypted_columns = columns(&[("sales_order", "blood_group")]);
    let mut world = with(Policy { encrypted_columns, ..Policy::default() });
    world.insert("sales_order", &[("entity_id", I(1))]);
    let absent = world.classifier.absent_columns().any(|one| one == ("sales_order", "blood_group"));
    assert!(absent);
}

fn attribute_policy() -> Policy {
    let diagnosis = (AttributeOf::Customer, "primary_diagnosis".to_owned());
    Policy { encrypted_attributes: [diagnosis].into(), ..Policy::default() }
}

#[test]
fn attributes_are_resolved_by_rows_or_bootstrap() {
    let mut world = with(attribute_policy());
    let value = |world: &mut World, id, text| {
        let row = [("entity_id", I(21)), ("attribute_id", I(id)), ("value", text)];
        clear(&world.insert("customer_entity_varchar", &row))
    };
    assert_eq!(value(&mut world, 154, T("E11.9")), []);
    let row = [
        ("attribute_id", I(154)),
        ("entity_type_id", I(1)),
        ("attribute_code", T("primary_diagnosis")),
    ];
    world.insert("eav_attribute", &row);
    world.classifier.end(&world.transaction, &End::Rollback);
    assert_eq!(value(&mut world, 154, T("E11.9")), []);
    world.insert("eav_attribute", &row);
    world.commit();
    let name = "customer attribute primary_diagnosis".to_owned();
    let want = [(name, Cleartext::Plain, Because::Policy)];
    assert_eq!(value(&mut world, 154, T("E11.9")), want);
    assert_eq!(value(&mut world, 154, T(SEALED)), []);
    assert_eq!(value(&mut world, 155, T("E11.9")), []);
    world.classifier.learn_attribute("shop", 160, 1, "primary_diagnosis");
    assert_eq!(value(&mut world, 160, T("E11.9")), want);
    // A number is no ciphertext.
    let row = [("entity_id", I(21)), ("attribute_id", I(154)), ("value", I(4))];
    assert_eq!(clear(&world.insert("customer_entity_int", &row)), want);
}

#[test]
fn a_columns_own_history_says_that_it_is_encrypted() {
    let mut world = with(Policy::default());
    let token = |n: u64| SEALED.replacen("Aqz", &format!("A{n:02}"), 1);
    let write = |world: &mut World, text: &str| {
        let row = [("entity_id", I(21)), ("website_id", I(2)), ("rp_token", T(text))];
        let out = clear(&world.insert("customer_entity", &row));
        world.commit();
        out.into_iter().map(|(_, form, because)| (form, because)).collect::<Vec<_>>()
    };
    let plain = "d41d8cd98f00b204e9800998ecf8427e";
    assert_eq!(write(&mut world, plain), []);
    for n in 0..20 {
        assert_eq!(write(&mut world, &token(n)), []);
    }
    // Over a restart.
    let bytes = world.classifier.save();
    let catalog = std::sync::Arc::new(Catalog::builtin());
    world.classifier = Classifier::new(catalog, Settings::default(), &TokenKey([7; 32]));
    world.classifier.restore(&bytes).unwrap();
    assert_eq!(world.classifier.save(), bytes);
    assert_eq!(write(&mut world, "in clear"), [(Cleartext::Plain, Because::History)]);
    // The same row held ciphertext before.
    let setting = [("path", T("acme/general/key")), ("value", T(SEALED))];
    let out = world.update("core_config_data", &setting, &[("value", T("hunter2"))]);
    assert_eq!(clear(&out), [("value".into(), Cleartext::Plain, Because::Before)]);
}

#[test]
fn forms_of_transactions_without_effect_teach_nothing() {
    let mut world = with(Policy::default());
    for n in 0..60 {
        let row = [("entity_id", I(21)), ("rp_token", T(SEALED))];
        world.insert("customer_entity", &row);
        let end = if n % 2 == 0 { End::Rollback } else { End::Torn };
        world.classifier.end(&world.transaction, &end);
    }
    let out = world.insert("customer_entity", &[("entity_id", I(21)), ("rp_token", T("clear"))]);
    assert_eq!(clear(&out), []);
}

#[test]
fn settings_that_are_encrypted_by_their_path() {
    let mut world = with(Policy::default());
    let write = |world: &mut World, path, value| {
        clear(&world.insert("core_config_data", &[("path", T(path)), ("value", value)]))
    };
    let got = write(&mut world, "carriers/ups/password", T("hunter2"));
    let column = "value of carriers/ups/password".to_owned();
    assert_eq!(got, [(column, Cleartext::Plain, Because::Policy)]);
    assert_eq!(write(&mut world, "carriers/ups/password", T(SEALED)), []);
    assert_eq!(write(&mut world, "carriers/ups/password", Null), []);
    assert_eq!(write(&mut world, "general/store_information/name", T("Clinic")), []);
}

#[test]
fn identifiers_in_text_are_counted_by_class() {
    let free_text_columns = columns(&[("review_detail", "detail"), ("acme", "memo")]);
    let mut world = with(Policy { free_text_columns, ..Policy::default() });
    let found = |out: &[Observation]| {
        marks(out)
            .into_iter()
            .filter_map(|mark| match mark {
                Mark::Identifiers { column, found } => Some((column.to_string(), *found)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let text = "SSN 219-09-9999, DOB 1980-02-29, call 212-736-5000, jane@example.com";
    let comment = [("parent_id", I(110)), ("comment", T(text))];
    let out = found(&world.insert("sales_order_status_history", &comment));
    let [(column, classes)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(column, "comment");
    assert_eq!(classes.count(Identifier::Ssn), 1);
    assert_eq!(classes.count(Identifier::BirthDate), 1);
    // Ordinary parts of notes, unless policy names the column.
    assert_eq!(classes.count(Identifier::Phone), 0);
    let ordinary = T("please call 212-736-5000 or write to jane@example.com");
    assert_eq!(found(&world.insert("sales_order_status_history", &[("comment", ordinary)])), []);
    let out = found(&world.insert("review_detail", &[("detail", ordinary)]));
    assert_eq!(out[0].1.count(Identifier::Phone), 1);
    define(&mut world, "acme", &["memo"]);
    assert_eq!(found(&world.insert("acme", &[("memo", ordinary)])).len(), 1);
    // Bodies of the queue and of bulk operations.
    let body = T(r#"{"note":"card 4111111111111111"}"#);
    for (table, column) in [("queue_message", "body"), ("magento_operation", "serialized_data")] {
        let out = found(&world.insert(table, &[(column, body)]));
        assert_eq!(out[0].1.count(Identifier::Card), 1, "{table}");
    }
    // Not written.
    assert_eq!(
        found(&world.update("sales_order_status_history", &comment, &[("status", T("x"))])),
        []
    );
    assert_eq!(found(&world.delete("sales_order_status_history", &comment)), []);
}

#[test]
fn persons_are_known_again_whatever_the_column_is_called() {
    let mut world = with(Policy::default());
    let address = [
        ("entity_id", I(5)),
        ("parent_id", I(21)),
        ("firstname", T("Jane")),
        ("lastname", T("Roe")),
        ("telephone", T("+1 (212) 555-0123")),
    ];
    world.insert("customer_address_entity", &address);
    world.commit();
    rest(&mut world);
    define(&mut world, "x1", &["a", "b", "n int"]);
    let known = |rows| vec![(ValuePlace::Table, ValueSeen::Known, rows)];
    for (a, b, want) in [
        ("C21@example.com", "", known(1)),
        ("2125550123", "x", known(1)),
        ("Roe, Jane", "", known(1)),
        ("Jane", "Roe", known(1)),
        (r#"{"m":"c21@example.com"}"#, "", known(1)),
        ("c21@example.com", "2125550123", known(1)),
        ("nobody@example.com", "", vec![(ValuePlace::Table, ValueSeen::Shape, 1)]),
        ("wrote to c21@example.com on Monday", "", vec![(ValuePlace::Text, ValueSeen::Known, 1)]),
        ("Jane", "Doe", vec![]),
        ("100000123", "SKU-1", vec![]),
    ] {
        let out = world.insert("x1", &[("a", T(a)), ("b", T(b))]);
        assert_eq!(values(&out), want, "{a} {b}");
        world.commit();
    }
    // The same person by the same value, whoever asks.
    let subject = |world: &mut World, text| world.insert("x1", &[("a", T(text))])[0].subject;
    assert_eq!(subject(&mut world, "c21@example.com"), subject(&mut world, "C21@EXAMPLE.com"));
    assert_ne!(subject(&mut world, "c21@example.com"), subject(&mut world, "c22@example.com"));
}

#[test]
fn a_person_that_was_just_written_is_told_apart() {
    let mut world = with(Policy::default());
    define(&mut world, "x1", &["a"]);
    let seen = |world: &mut World| {
        let out = world.insert("x1", &[("a", T("c11@example.com"))]);
        world.commit();
        values(&out)[0].1
    };
    assert_eq!(seen(&mut world), ValueSeen::Active);
    rest(&mut world);
    assert_eq!(seen(&mut world), ValueSeen::Known);
}

#[test]
fn values_of_transactions_without_effect_are_not_known() {
    let mut world = with(Policy::default());
    define(&mut world, "x1", &["a"]);
    let row = [("entity_id", I(300)), ("email", T("gone@example.com"))];
    let xid = Xid("X'01',X'',1".to_owned());
    for end in [End::Rollback, End::Torn, End::XaPrepared(xid)] {
        world.insert("customer_entity", &row);
        world.classifier.end(&world.transaction, &end);
        let out = world.insert("x1", &[("a", T("gone@example.com"))]);
        assert_eq!(values(&out)[0].1, ValueSeen::Shape);
        world.commit();
    }
}

#[test]
fn clean_rows_are_told_now_and_then_and_tables_without_texts_never() {
    let mut world = with(Policy::default());
    define(&mut world, "x1", &["a"]);
    define(&mut world, "x2", &["n int", "m decimal(10,2)"]);
    assert_eq!(world.insert("x2", &[("n", I(1))]), []);
    assert_eq!(world.classifier.counters().rows(phiwatch_magento::TableClass::Unknown), 0);
    for _ in 0..10 {
        assert_eq!(world.insert("x1", &[("a", T("clean"))]), []);
    }
    let out = world.insert("x1", &[("a", T("c11@example.com"))]);
    assert_eq!(values(&out), [(ValuePlace::Table, ValueSeen::Active, 11)]);
    let told: u32 = (0..130)
        .flat_map(|_| values(&world.insert("x1", &[("a", T("clean"))])))
        .map(|(_, _, rows)| rows)
        .sum();
    assert_eq!(told, 128);
}

#[test]
fn bodies_tell_their_persons_and_whether_magento_made_them() {
    let mut world = with(Policy::default());
    rest(&mut world);
    for (data, place) in [
        (
            r#"[{"email":"c11@example.com","_website":"a"},{"email":"c21@example.com"}]"#,
            ValuePlace::OwnBody,
        ),
        (
            r#"[{"e":"c11@example.com"},{"e":"c21@example.com"},{"e":"new@example.com"}]"#,
            ValuePlace::Body,
        ),
    ] {
        let row = [("entity", T("customer")), ("data", T(data))];
        let out = world.insert("importexport_importdata", &row);
        let seen = ValueSeen::Known;
        assert_eq!(values(&out), [(place, seen, 1), (place, seen, 0)]);
    }
    let row = [("serialized_data", T(r#"{"e":"c11@example.com"}"#)), ("status", I(4))];
    assert_eq!(values(&world.insert("magento_operation", &row)).len(), 1);
    assert_eq!(values(&world.update("magento_operation", &row, &[("status", I(1))])), []);
}

#[test]
fn tables_of_other_applications_are_told_of_the_shops_persons_only() {
    let mut world = with(Policy::default());
    world.database = "blog";
    define(&mut world, "wp_users", &["a"]);
    assert_eq!(world.insert("wp_users", &[("a", T("writer@example.org"))]), []);
    assert_eq!(values(&world.insert("wp_users", &[("a", T("c11@example.com"))])).len(), 1);
}

#[test]
fn a_shadow_of_an_online_schema_change_is_passed_over() {
    let mut world = with(Policy { canary_customers: vec![21], ..Policy::default() });
    world.statement(Kind::CreateTableLike, &["_customer_entity_gho"], &["customer_entity"], "");
    let columns = world.schema["customer_entity"].clone();
    world.schema.insert("_customer_entity_gho".into(), columns);
    let row = [("entity_id", I(21)), ("email", T("c21@example.com")), ("rp_token", Absent)];
    assert!(marks(&world.insert("_customer_entity_gho", &row)).is_empty());
}

#[test]
fn persons_of_a_bootstrap_are_known() {
    let mut world = with(Policy::default());
    world.classifier.learn_person("boot@example.com", ["Ann", "Boot"], "020 7946 0958");
    define(&mut world, "x1", &["a"]);
    for text in ["boot@example.com", "Ann Boot", "+44 20 7946 0958"] {
        assert_eq!(values(&world.insert("x1", &[("a", T(text))]))[0].1, ValueSeen::Known, "{text}");
    }
}

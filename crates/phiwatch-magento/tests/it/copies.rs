//! Copies of personal tables: by statement, by column names, by rows.

use phiwatch_binlog::StatementKind as Kind;
use phiwatch_magento::{CopyForm, Fact, Observation, PhiClasses, Settings, Tenant};

use crate::world::{I, T, World, column, facts};

fn people() -> World {
    let mut world = World::new();
    world.people();
    world
}

fn define(world: &mut World, table: &str, columns: &[&str]) {
    let columns = columns.iter().map(|text| {
        let (name, definition) = text.split_once(' ').unwrap_or((text, "varchar(255)"));
        column(name, definition)
    });
    world.schema.insert(table.into(), columns.collect());
}

fn copy(observations: &[Observation]) -> Option<(CopyForm, Vec<String>)> {
    let mut facts = facts(observations);
    facts.retain(|fact| !matches!(fact, Fact::Mark(_)));
    match facts[..] {
        [] => None,
        [Fact::Copy { form, sources, .. }] => {
            Some((*form, sources.iter().map(|source| source.to_string()).collect()))
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn create_select_names_its_sources_and_its_rows_keep_their_persons() {
    let mut world = people();
    let sources = ["customer_entity", "store", "shop.sales_order"];
    let out = world.statement(Kind::CreateTableSelect, &["customer_backup"], &sources, "");
    let names = vec!["customer_entity".to_owned(), "sales_order".to_owned()];
    assert_eq!(copy(&out), Some((CopyForm::CreateSelect, names)));
    assert!(out[0].table.phi.contains(PhiClasses::EMAIL));
    define(&mut world, "customer_backup", &["entity_id int", "website_id smallint", "email"]);
    let row = [("entity_id", I(21)), ("website_id", I(2)), ("email", T("c21@example.com"))];
    let copied = world.insert("customer_backup", &row);
    assert_eq!(copy(&copied).unwrap().0, CopyForm::RowUnknownTable);
    assert_eq!(copied[0].tenant, Tenant::Website(2));
    let deleted = [("entity_id", I(21)), ("website_id", I(2)), ("store_id", I(2))];
    assert_eq!(copied[0].subject, world.delete("customer_entity", &deleted)[0].subject);
    // A copy of the copy.
    let out = world.statement(Kind::CreateTableLike, &["again"], &["customer_backup"], "");
    assert_eq!(copy(&out), Some((CopyForm::CreateLike, vec!["customer_entity".to_owned()])));
}

#[test]
fn copies_into_another_schema_are_seen() {
    let mut world = people();
    let out = world.statement(Kind::CreateTableSelect, &["out.c"], &["customer_entity"], "");
    assert_eq!(&*out[0].table.database, "out");
    define(&mut world, "c", &["entity_id int", "email"]);
    world.database = "out";
    assert!(copy(&world.insert("c", &[("entity_id", I(21))])).is_some());
    // A table of another application is not ours to judge.
    define(&mut world, "wp_users", &["user_email", "first_name"]);
    assert_eq!(world.insert("wp_users", &[]), []);
}

#[test]
fn a_copy_out_of_the_configured_databases_is_followed() {
    let databases = vec!["shop".to_owned()];
    let mut world = World::with(Settings { databases, ..Settings::default() });
    world.stores();
    world.people();
    define(&mut world, "c", &["entity_id int", "email"]);
    world.database = "out";
    assert_eq!(world.insert("c", &[("entity_id", I(21))]), []);
    world.statement(Kind::CreateTableSelect, &["c"], &["shop.customer_entity"], "");
    assert!(copy(&world.insert("c", &[("entity_id", I(21))])).is_some());
}

#[test]
fn online_schema_changes_and_products_are_no_copies() {
    let mut world = people();
    let out = world.statement(Kind::CreateTableSelect, &["x"], &["catalog_product_entity"], "");
    assert_eq!(copy(&out), Some((CopyForm::CreatePlain, Vec::new())));
    let of = |form, table: &str| Some((form, vec![table.to_owned()]));
    let out = world.statement(Kind::CreateTableLike, &["_quote_gho"], &["quote"], "");
    assert_eq!(copy(&out), of(CopyForm::CreateShadow, "quote"));
    let columns = world.schema["customer_entity"].clone();
    world.schema.insert("_customer_entity_gho".into(), columns.clone());
    let out = world.insert("_customer_entity_gho", &[]);
    assert_eq!(copy(&out), of(CopyForm::RowShadow, "customer_entity"));
    assert_eq!(world.classifier.counters().migration_rows, 1);
    // As pt-online-schema-change makes it.
    let text = "CREATE TABLE `_customer_entity_new` (entity_id int, email text, firstname text)";
    let out = world.statement(Kind::CreateTable, &["_customer_entity_new"], &[], text);
    assert_eq!(copy(&out), of(CopyForm::CreateShadow, "customer_entity"));
    // Restored, it is known which tables there are.
    let saved = world.classifier.save();
    let catalog = std::sync::Arc::new(phiwatch_magento::Catalog::builtin());
    let key = phiwatch_magento::TokenKey([7; 32]);
    world.classifier = phiwatch_magento::Classifier::new(catalog, Settings::default(), &key);
    world.classifier.restore(&saved).unwrap();
    let out = world.insert("_customer_entity_gho", &[]);
    assert_eq!(copy(&out), of(CopyForm::RowShadow, "customer_entity"));
}

#[test]
fn forged_shadows_are_copies() {
    let mut world = people();
    let columns = world.schema["customer_entity"].clone();
    // Of nothing; of a table that the shop does not have; of another table; filled by a query;
    // in another schema.
    world.schema.insert("_people_gho".into(), columns.clone());
    assert_eq!(copy(&world.insert("_people_gho", &[])).unwrap().0, CopyForm::RowUnknownTable);
    world.schema.insert("_company_gho".into(), columns);
    assert_eq!(copy(&world.insert("_company_gho", &[])).unwrap().0, CopyForm::RowUnknownTable);
    for (kind, table, source, form) in [
        (Kind::CreateTableLike, "_quote_gho", "customer_entity", CopyForm::CreateLike),
        (Kind::CreateTableSelect, "_quote_new", "quote", CopyForm::CreateSelect),
        (Kind::CreateTableLike, "out._quote_gho", "shop.quote", CopyForm::CreateLike),
    ] {
        let out = world.statement(kind, &[table], &[source], "");
        assert_eq!(copy(&out).unwrap().0, form, "{table}");
    }
}

#[test]
fn created_tables_with_personal_columns() {
    let mut world = people();
    let text = "CREATE TABLE staging (id int, email varchar(255), firstname varchar(255))";
    let out = world.statement(Kind::CreateTable, &["staging"], &[], text);
    assert_eq!(copy(&out[..1]), Some((CopyForm::CreateColumns, vec![])));
    assert!(matches!(facts(&out)[1], Fact::NewSurface { kind: "table", .. }));
    // As MySQL logs CREATE TABLE .. SELECT.
    let text = format!("{text} START TRANSACTION");
    let out = world.statement(Kind::CreateTableSelect, &["staging"], &[], &text);
    assert_eq!(copy(&out), Some((CopyForm::CreateSelect, vec![])));
    let text = "CREATE TABLE parts (id int, sku varchar(64), name varchar(255))";
    let out = world.statement(Kind::CreateTable, &["parts"], &[], text);
    assert_eq!(copy(&out), Some((CopyForm::CreatePlain, vec![])));
    let text =
        "CREATE TABLE newsletter_template (template_sender_name text, template_sender_email text)";
    assert_eq!(world.statement(Kind::CreateTable, &["newsletter_template"], &[], text), []);
}

#[test]
fn rows_of_unknown_tables_with_personal_columns() {
    let mut world = people();
    define(&mut world, "staging_tmp", &["customer_id int", "store_id smallint", "email", "phone"]);
    let row = [("customer_id", I(21)), ("store_id", I(2))];
    let out = world.insert("staging_tmp", &row);
    let [Fact::Copy { form, classes, columns, .. }] = facts(&out)[..] else { panic!("{out:?}") };
    assert_eq!((*form, *columns), (CopyForm::RowUnknownTable, 2));
    assert_eq!(*classes, PhiClasses::EMAIL.union(PhiClasses::PHONE));
    assert_eq!(out[0].tenant, Tenant::Website(2));
    assert!(out[0].subject.is_some());
    // By the address alone.
    define(&mut world, "list", &["email", "last_name"]);
    let subject =
        |world: &mut World, email| world.insert("list", &[("email", T(email))])[0].subject;
    let first = subject(&mut world, "a@example.com");
    assert_eq!(first, subject(&mut world, "A@example.com"));
    assert_ne!(first, subject(&mut world, "b@example.com"));
    for columns in [&["sku", "name"][..], &["email"], &["qty int", "city"]] {
        define(&mut world, "ordinary", columns);
        assert_eq!(world.insert("ordinary", &[]), [], "{columns:?}");
    }
}

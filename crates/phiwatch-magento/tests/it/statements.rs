//! Statements: losses, code, accounts, unseen rows, new columns.

use phiwatch_binlog::StatementKind as Kind;
use phiwatch_magento::{AccountChange, CodeChange, CopyForm, Fact, Observation};

use crate::world::{World, facts};

/// A world in which the database is known to be a shop.
fn shop() -> World {
    let mut world = World::new();
    world.people();
    world
}

fn said(observations: &[Observation]) -> String {
    let word = |observation: &Observation| {
        let fact = match &observation.fact {
            Some(Fact::UnseenRows) => "unseen",
            Some(Fact::TableEmptied { dropped: true }) => "dropped",
            Some(Fact::TableEmptied { dropped: false }) => "truncated",
            Some(Fact::Maintenance { kind }) => kind,
            Some(Fact::Migration { is_swapped: true, .. }) => "swapped",
            Some(Fact::Migration { is_swapped: false, .. }) => "lost its shadow",
            Some(Fact::Copy { form: CopyForm::CreateShadow, .. }) => "shadow",
            Some(Fact::NewSurface { kind, .. }) => kind,
            Some(Fact::Code(CodeChange::SqlTriggerOrRoutine)) => "code",
            other => panic!("{other:?}"),
        };
        format!("{} {fact}", observation.table.name)
    };
    observations.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(kind: Kind, tables: &[&str], sources: &[&str], text: &str, want: &str) {
    let out = shop().statement(kind, tables, sources, text);
    assert_eq!(said(&out), want, "{text}");
    assert!(out.iter().all(|observation| observation.op.is_none()));
}

#[test]
fn losses_of_personal_tables() {
    check(Kind::TruncateTable, &["sales_order"], &[], "", "sales_order truncated");
    check(
        Kind::TruncateTable,
        &["newsletter_subscriber"],
        &[],
        "",
        "newsletter_subscriber truncated",
    );
    check(Kind::TruncateTable, &["catalog_product_index_price"], &[], "", "");
    check(Kind::TruncateTable, &["cron_schedule"], &[], "", "");
    check(Kind::DropTable, &["quote", "customer_visitor", "x"], &[], "", "quote dropped");
    check(Kind::DropTable, &["customer_grid_flat"], &[], "", "customer_grid_flat grid reindex");
    check(
        Kind::CreateTable,
        &["customer_grid_flat"],
        &[],
        "CREATE TABLE customer_grid_flat (email text, name text)",
        "customer_grid_flat grid reindex",
    );
    check(Kind::Database, &["shop."], &[], "DROP DATABASE IF EXISTS `shop`", " dropped");
    check(Kind::Database, &["shop."], &[], "CREATE DATABASE shop", "");
    check(Kind::Database, &["other."], &[], "DROP DATABASE other", "");
}

#[test]
fn online_schema_changes_are_followed() {
    let quote = "_quote_gho";
    check(Kind::CreateTableLike, &[quote], &["quote"], "", "_quote_gho shadow");
    check(Kind::RenameTable, &["_quote_del", "quote"], &["quote", quote], "", "quote swapped");
    check(Kind::DropTable, &[quote], &[], "", "quote lost its shadow");
    check(Kind::RenameTable, &["kept"], &[quote], "", "quote lost its shadow");
    // One that takes the place of a table that is gone puts it back.
    check(Kind::RenameTable, &["quote"], &[quote], "", "");
    // As pt-online-schema-change makes them; and one that carries the rows elsewhere, too.
    let text = "CREATE TRIGGER `pt_osc_shop_quote_upd` AFTER UPDATE ON `shop`.`quote` FOR EACH ROW BEGIN \
                DECLARE CONTINUE HANDLER FOR 1146 begin end; DELETE IGNORE FROM `shop`.`_quote_new` WHERE \
                !(OLD.`entity_id` <=> NEW.`entity_id`); REPLACE INTO `shop`.`_quote_new` (`entity_id`) \
                VALUES (NEW.`entity_id`); END";
    check(Kind::CreateCode, &["quote"], &["_quote_new"], text, "_quote_new shadow");
    check(Kind::CreateCode, &["quote"], &["_quote_new", "x"], text, "quote code");
    check(Kind::CreateCode, &["quote"], &["_sales_order_new"], text, "quote code");
    let text = "CREATE TRIGGER t AFTER UPDATE ON quote FOR EACH ROW CALL p(NEW.email)";
    check(Kind::CreateCode, &["quote"], &["_quote_new"], text, "quote code");
    check(Kind::RenameTable, &["quote_gone"], &["quote"], "", "quote dropped");
    check(Kind::RenameTable, &["b"], &["a"], "", "");
}

#[test]
fn rows_that_nobody_saw() {
    check(
        Kind::Dml,
        &["customer_entity"],
        &[],
        "DELETE FROM customer_entity",
        "customer_entity unseen",
    );
    check(Kind::LoadData, &["core_config_data"], &[], "", "core_config_data unseen");
    check(Kind::Dml, &["cron_schedule"], &[], "", "");
}

#[test]
fn new_personal_columns() {
    check(
        Kind::AlterTable,
        &["customer_entity"],
        &[],
        "ALTER TABLE customer_entity ADD COLUMN ssn varchar(11)",
        "customer_entity column",
    );
    check(
        Kind::AlterTable,
        &["acme"],
        &[],
        "ALTER TABLE acme ADD COLUMN patient_mrn text",
        "acme column",
    );
    check(
        Kind::AlterTable,
        &["customer_entity"],
        &[],
        "ALTER TABLE customer_entity ADD COLUMN email varchar(255)",
        "",
    );
    check(
        Kind::AlterTable,
        &["customer_entity"],
        &[],
        "ALTER TABLE customer_entity ADD COLUMN weight int",
        "",
    );
    check(
        Kind::AlterTable,
        &["inventory_source"],
        &[],
        "ALTER TABLE inventory_source ADD email text",
        "",
    );
}

#[test]
fn code_on_personal_tables() {
    let text = "CREATE TRIGGER t AFTER INSERT ON customer_entity FOR EACH ROW INSERT INTO x SELECT NEW.email";
    check(Kind::CreateCode, &["customer_entity"], &["x"], text, "customer_entity code");
    let text = "CREATE TRIGGER trg_customer_entity_after_insert AFTER INSERT ON customer_entity FOR EACH ROW \
                BEGIN INSERT IGNORE INTO `customer_dummy_cl` (`entity_id`) VALUES (NEW.`entity_id`); END";
    check(Kind::CreateCode, &["customer_entity"], &["customer_dummy_cl"], text, "");
    let text = "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM sales_order";
    check(Kind::CreateCode, &[], &["sales_order"], text, "sales_order code");
    check(Kind::CreateCode, &[], &["catalog_product_entity"], "CREATE PROCEDURE p() SELECT 1", "");
    let text = "CREATE VIEW v AS SELECT * FROM customer_entity";
    check(Kind::CreateCode, &["v"], &["customer_entity"], text, "customer_entity table");
}

#[test]
fn sql_accounts() {
    let mut world = shop();
    for (kind, want) in [
        (Kind::Account, AccountChange::SqlAccount),
        (Kind::AccountRemoved, AccountChange::SqlAccountRemoved),
        (Kind::Grant, AccountChange::SqlGrant { all: false, global: false, grant_option: false }),
    ] {
        let out = world.statement(kind, &[], &[], "");
        assert_eq!(facts(&out), [&Fact::Account(want)]);
        assert_eq!(&*out[0].table.name, "");
    }
    assert_eq!(world.statement(Kind::Harmless, &["customer_entity"], &[], "ANALYZE"), []);
}

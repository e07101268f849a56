//! Save and restore, several databases, prefix, absent and nameless columns, limits.

use std::sync::Arc;

use phiwatch_binlog::{Op, Projection};
use phiwatch_magento::{
    Catalog, Classifier, Fact, Limits, RestoreError, Settings, Tenant, TokenKey,
};
use proptest::prelude::*;

use crate::world::{I, Null, T, World, facts};

fn fresh() -> Classifier {
    Classifier::new(Arc::new(Catalog::builtin()), Settings::default(), &TokenKey([7; 32]))
}

fn learned() -> World {
    let mut world = World::new();
    world.people();
    let body = T(r#"{"entity":"customer"}"#);
    world.insert(
        "queue_message",
        &[("id", I(7)), ("topic_name", T("import_export.export")), ("body", body)],
    );
    let kind = phiwatch_binlog::StatementKind::CreateTableSelect;
    world.statement(kind, &["copied"], &["customer_entity"], "");
    world.database = "other";
    world.stores();
    world.insert(
        "customer_entity",
        &[("entity_id", I(11)), ("website_id", I(2)), ("store_id", Null)],
    );
    world.database = "shop";
    world.commit();
    world
}

#[test]
fn restored_state_judges_as_before() {
    let world = learned();
    let bytes = world.classifier.save();
    let mut restored = fresh();
    restored.restore(&bytes).unwrap();
    assert_eq!(restored.save(), bytes);
    let mut world = World { classifier: restored, ..world };
    let row = [("entity_id", I(300)), ("customer_id", I(11)), ("store_id", I(2))];
    assert!(matches!(facts(&world.insert("sales_order", &row))[..], [Fact::CrossTenant(_)]));
    let status = [("message_id", I(7)), ("status", I(4))];
    assert_eq!(facts(&world.insert("queue_message_status", &status)).len(), 1);
    let order = [
        ("entity_id", I(110)),
        ("customer_id", I(11)),
        ("store_id", I(1)),
        ("customer_email", T("c11@example.com")),
    ];
    let out = world.update("sales_order", &order, &[("customer_email", T("z@example.com"))]);
    assert!(matches!(facts(&out)[..], [Fact::CrossTenant(breach)] if breach.invariant == 6));
    assert_eq!(world.classifier.shops().collect::<Vec<_>>(), ["other", "shop"]);
}

#[test]
fn order_of_learning_does_not_show() {
    let mut one = fresh();
    let mut two = fresh();
    let ids: Vec<u64> = (1..500).map(|n| n * 37 % 1_009).collect();
    for id in &ids {
        one.learn_customer("shop", *id, Some(1));
        one.learn_order("a", *id, Some(2), None);
    }
    for id in ids.iter().rev() {
        two.learn_order("a", *id, Some(2), None);
        two.learn_customer("shop", *id, Some(1));
    }
    assert_eq!(one.save(), two.save());
}

#[test]
fn foreign_bytes_are_refused_and_change_nothing() {
    let mut classifier = fresh();
    let before = classifier.save();
    assert_eq!(classifier.restore(b"PWM\x01"), Err(RestoreError::Version { found: 1 }));
    assert_eq!(classifier.restore(b"XYZ\x03\x00"), Err(RestoreError::Damaged { at: 0 }));
    let whole = learned().classifier.save();
    for cut in 0..whole.len() {
        assert!(classifier.restore(&whole[..cut]).is_err(), "{cut}");
    }
    assert!(classifier.restore(&[&whole[..], b"x"].concat()).is_err());
    assert_eq!(classifier.save(), before);
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(flips in prop::collection::vec((0_usize..400, any::<u8>()), 1..8)) {
        let mut bytes = learned().classifier.save();
        for (at, byte) in flips {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        let mut classifier = fresh();
        if classifier.restore(&bytes).is_ok() {
            let saved = classifier.save();
            let mut again = fresh();
            again.restore(&saved).unwrap();
            prop_assert_eq!(again.save(), saved);
        }
    }
}

#[test]
fn two_databases_are_two_shops() {
    let mut world = learned();
    let row = [("entity_id", I(300)), ("customer_id", I(11)), ("store_id", I(1))];
    assert_eq!(facts(&world.insert("sales_order", &row)), Vec::<&Fact>::new());
    let shop = world.insert("customer_log", &[]);
    assert_eq!(shop, []);
    world.database = "other";
    let other = world.insert("sales_order", &row);
    assert!(matches!(facts(&other)[..], [Fact::CrossTenant(_)]));
    world.database = "shop";
    assert_ne!(other[0].subject, world.insert("sales_order", &row)[0].subject);
}

#[test]
fn only_configured_databases() {
    let settings = Settings { databases: vec!["shop".into()], ..Settings::default() };
    let mut world = World::with(settings);
    world.stores();
    world.database = "other";
    assert_eq!(world.insert("customer_entity", &[("entity_id", I(1))]), []);
    world.database = "shop";
    assert_eq!(world.insert("customer_entity", &[("entity_id", I(1))]).len(), 1);
}

#[test]
fn table_prefix_is_stripped() {
    let mut world = World::with(Settings { table_prefix: "m2_".into(), ..Settings::default() });
    let schema = std::mem::take(&mut world.schema);
    world.schema =
        schema.into_iter().map(|(name, columns)| (format!("m2_{name}"), columns)).collect();
    world.insert("m2_store", &[("store_id", I(1)), ("website_id", I(1))]);
    world.insert("m2_store", &[("store_id", I(2)), ("website_id", I(2))]);
    world.insert(
        "m2_customer_entity",
        &[("entity_id", I(11)), ("website_id", I(1)), ("store_id", I(1))],
    );
    let out = world.insert(
        "m2_sales_order",
        &[("entity_id", I(1)), ("customer_id", I(11)), ("store_id", I(2))],
    );
    assert_eq!(&*out[0].table.name, "sales_order");
    assert!(matches!(facts(&out)[..], [Fact::CrossTenant(_)]));
    assert_eq!(world.insert("m2_cron_schedule", &[]), []);
}

#[test]
fn absent_columns_switch_their_part_off_and_say_so() {
    let mut world = World::new();
    world.people();
    world
        .schema
        .get_mut("sales_order")
        .unwrap()
        .retain(|c| c.name.as_deref() != Some("customer_email"));
    let row = [("entity_id", I(300)), ("customer_id", I(11)), ("store_id", I(2))];
    assert!(matches!(facts(&world.insert("sales_order", &row))[..], [Fact::CrossTenant(_)]));
    let absent: Vec<_> = world.classifier.absent_columns().collect();
    assert_eq!(absent, [("sales_order", "customer_email")]);
}

#[test]
fn moved_columns_are_found_by_name() {
    let mut world = World::new();
    world.people();
    world.schema.get_mut("sales_order").unwrap().reverse();
    let row = [("entity_id", I(300)), ("customer_id", I(11)), ("store_id", I(2))];
    assert!(matches!(facts(&world.insert("sales_order", &row))[..], [Fact::CrossTenant(_)]));
}

#[test]
fn nameless_tables_are_not_examined_and_counted() {
    let mut world = World::new();
    for name in ["customer_entity", "cron_schedule", "catalog_product_index_eav"] {
        for column in world.schema.entry(name.into()).or_default() {
            column.name = None;
        }
    }
    assert_eq!(world.insert("customer_entity", &[]), []);
    assert_eq!(world.insert("cron_schedule", &[]), []);
    assert_eq!(world.classifier.names_missing().collect::<Vec<_>>(), [("shop", "customer_entity")]);
    assert_eq!(world.classifier.counters().tables_without_names, 1);
}

#[test]
fn one_table_version_is_bound_once() {
    let mut world = World::new();
    let mut table = world.table("customer_entity");
    let first = world.classifier.table(&table);
    table.id = 99;
    assert_eq!(world.classifier.table(&table), first);
    table.columns.pop();
    assert_ne!(world.classifier.table(&table).handle, first.handle);
}

#[test]
fn limits_are_kept_and_counted() {
    let limits = Limits { ids_max: 128, tables_max: 3, databases_max: 1, values_max: 3 };
    let mut world = World::with(Settings { limits, ..Settings::default() });
    for id in 1..=1_000 {
        world.insert(
            "customer_entity",
            &[("entity_id", I(id)), ("website_id", I(1)), ("store_id", Null)],
        );
    }
    assert!(world.classifier.counters().ids_dropped >= 1_000 - 128);
    let out = world.insert("customer_entity_text", &[("entity_id", I(1_000))]);
    assert_eq!(out[0].tenant, Tenant::Website(1));
    let out = world.insert("customer_entity_text", &[("entity_id", I(1))]);
    assert_eq!(out[0].tenant, Tenant::Unknown);
    assert_eq!(world.insert("quote", &[("entity_id", I(1))]).len(), 1);
    assert_eq!(world.insert("sales_order", &[("entity_id", I(1))]), []);
    assert_eq!(world.classifier.counters().tables_refused, 1);
    world.database = "second";
    assert_eq!(world.insert("quote", &[("entity_id", I(1))]), []);
    assert_eq!(world.classifier.counters().tables_refused, 2);
}

#[test]
fn a_server_with_endless_rows_fills_no_more_than_the_maps() {
    let limits = Limits { ids_max: 128, ..Limits::default() };
    let mut world = World::with(Settings { limits, ..Settings::default() });
    world.classifier.learn_store("shop", 1, 1);
    let empty = world.classifier.save().len();
    // No store has such a number: its column has 16 bits.
    (70_000..80_000).for_each(|id| world.classifier.learn_store("shop", id, 1));
    assert_eq!(world.classifier.save().len(), empty);
    (1..=10_000).for_each(|id| world.classifier.learn_customer("shop", id, Some(1)));
    assert!(world.classifier.counters().ids_dropped >= 10_000 - 128);
    let out = world.insert("customer_entity_text", &[("entity_id", I(10_000))]);
    assert_eq!(out[0].tenant, Tenant::Website(1));
}

#[test]
fn names_that_come_back_are_not_missing() {
    let mut world = World::new();
    let mut table = world.table("customer_entity");
    let named = table.clone();
    table.columns.iter_mut().for_each(|column| column.name = None);
    world.classifier.table(&table);
    assert!(world.classifier.take_name_wanted() && !world.classifier.take_name_wanted());
    assert_eq!(world.classifier.names_missing().count(), 1);
    world.classifier.table(&named);
    assert!(!world.classifier.take_name_wanted());
    assert_eq!(world.classifier.names_missing().count(), 0);
}

#[test]
fn the_log_wins_over_the_server() {
    let mut world = World::new();
    world.people();
    world.classifier.learn_customer("shop", 11, Some(2));
    world.classifier.learn_store("shop", 1, 2);
    world.classifier.learn_order("shop", 110, Some(2), Some(21));
    world.classifier.learn_customer("shop", 31, Some(2));
    world.classifier.learn_address("shop", 5, Some(31));
    world.classifier.learn_quote("shop", 400, Some(2), Some(31));
    let order = [("entity_id", I(110)), ("customer_id", I(11)), ("store_id", I(1))];
    let out = world.update("sales_order", &order, &[("status", T("x"))]);
    assert_eq!(out[0].tenant, Tenant::Website(1));
    let out = world.insert("customer_address_entity_text", &[("entity_id", I(5))]);
    assert_eq!(out[0].tenant, Tenant::Website(2));
    let out = world.insert("quote_payment", &[("quote_id", I(400))]);
    assert_eq!(out[0].tenant, Tenant::Website(2));
    world.classifier.learn_share_scope("shop", true);
    let row = [("entity_id", I(300)), ("customer_id", I(31)), ("store_id", I(1))];
    assert_eq!(facts(&world.insert("sales_order", &row)), Vec::<&Fact>::new());
}

#[test]
fn cells_that_do_not_fit_are_counted_not_trusted() {
    let mut world = World::new();
    world.people();
    let table = world.table("sales_order");
    let plan = world.classifier.table(&table);
    let Projection::Columns(columns) = &plan.projection else { panic!() };
    let cells =
        vec![phiwatch_binlog::Cell::Value(phiwatch_binlog::Bytes::new(b"xyz")); columns.len()];
    let image = phiwatch_binlog::Image { cells: &cells };
    let change = phiwatch_binlog::RowChange {
        table: &table,
        handle: plan.handle,
        offset: 0,
        row: 0,
        statement: 0,
        op: Op::Create,
        cascades_unseen: false,
        before: None,
        after: Some(image),
    };
    let mut out = Vec::new();
    world.classifier.row(&world.transaction, &change, &mut out);
    assert_eq!(out[0].tenant, Tenant::Unknown);
    assert!(world.classifier.counters().undecodable_cells > 0);
}

fn xid() -> phiwatch_binlog::Xid {
    phiwatch_binlog::Xid("X'61',X'',1".to_owned())
}

fn order_of_the_moved_customer(world: &mut World) -> Vec<u8> {
    let order = [("entity_id", I(301)), ("customer_id", I(31)), ("store_id", I(1))];
    let out = world.insert("sales_order", &order);
    facts(&out)
        .iter()
        .map(|fact| match fact {
            Fact::CrossTenant(breach) => breach.invariant,
            Fact::Unverified(invariant) => 100 + invariant,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// A customer of website 2 in a transaction that will be prepared, with a look inside it.
fn prepare(world: &mut World) {
    world.classifier.prepares(&world.transaction);
    let row = [
        ("entity_id", I(31)),
        ("website_id", I(2)),
        ("store_id", I(2)),
        ("email", T("c31@example.com")),
    ];
    assert!(facts(&world.insert("customer_entity", &row)).is_empty());
    // Inside, the transaction knows its own rows.
    assert_eq!(order_of_the_moved_customer(world), [3]);
}

#[test]
fn what_a_prepared_transaction_taught_waits_for_its_commit() {
    use phiwatch_binlog::End;
    let mut world = learned();
    let before = world.classifier.save();
    prepare(&mut world);
    assert!(world.classifier.end(&world.transaction, &End::XaPrepared(xid())).is_empty());
    // Unknown, not wrong: nothing is judged by what may never come.
    assert_eq!(order_of_the_moved_customer(&mut world), [103]);
    world.classifier.end(&world.transaction, &End::Torn);
    // It outlives a restart.
    let saved = world.classifier.save();
    assert_ne!(saved, before);
    let mut restored = fresh();
    restored.restore(&saved).unwrap();
    assert_eq!(restored.save(), saved);
    let mut world = World { classifier: restored, ..world };
    world.classifier.end(&world.transaction, &End::XaCommit(xid()));
    assert_eq!(order_of_the_moved_customer(&mut world), [3]);
}

#[test]
fn what_was_rolled_back_is_not_known() {
    use phiwatch_binlog::End;
    for end in [End::Rollback, End::Torn, End::XaRollback(xid())] {
        let mut world = learned();
        let before = world.classifier.save();
        prepare(&mut world);
        if let End::XaRollback(_) = end {
            world.classifier.end(&world.transaction, &End::XaPrepared(xid()));
        }
        world.classifier.end(&world.transaction, &end);
        assert_eq!(world.classifier.save(), before, "{end:?}");
    }
}

#[test]
fn lessons_of_prepared_transactions_are_bounded_and_the_rest_is_told() {
    use phiwatch_binlog::{End, Malformed, Xid};
    let mut world = learned();
    let fill = |world: &mut World, from: u64, count: u64| {
        world.classifier.prepares(&world.transaction);
        for id in from..from + count {
            let row = [("entity_id", I(id)), ("website_id", I(2)), ("store_id", I(2))];
            world.insert("customer_entity", &row);
        }
    };
    for (n, count) in [(0, 60_000), (1, 60_000)] {
        fill(&mut world, 1_000_000 * (n + 1), count);
        world.transaction.start.offset = 100 + n;
        let gaps = world.classifier.end(&world.transaction, &End::XaPrepared(Xid(n.to_string())));
        assert_eq!(gaps.len() as u64, n);
        assert!(gaps.iter().all(|gap| gap.at.offset == 100));
    }
    // One that is too large by itself teaches what there is room for.
    fill(&mut world, 3_000_000, 100_001);
    let gaps = world.classifier.end(&world.transaction, &End::XaPrepared(xid()));
    assert!(gaps.iter().all(|gap| gap.cause == Malformed::PreparedOverBound));
    assert_eq!(gaps.len(), 2);
}

#[test]
fn a_document_that_cannot_be_made_from_its_differences_is_told() {
    use phiwatch_binlog::{Bytes, Cell, ColumnType, Image, RowChange};
    let mut world = World::new();
    let columns = world.schema.get_mut("core_config_data").unwrap();
    let value = columns.iter_mut().find(|column| column.name.as_deref() == Some("value")).unwrap();
    value.ty = ColumnType::Json { length_bytes: 4 };
    let table = world.table("core_config_data");
    let plan = world.classifier.table(&table);
    let Projection::Columns(columns) = &plan.projection else { panic!() };
    let name = |at: &u16| table.columns[usize::from(*at)].name.as_deref();
    // `{"a":1}`, and `$.a` replaced by 7.
    let document = Bytes::new(&[0, 1, 0, 12, 0, 11, 0, 1, 0, 5, 1, 0, b'a']);
    let diff = Cell::JsonDiff(Bytes::new(b"\0\x03$.a\x03\x05\x07\0"));
    for (old, is_lost) in [(Cell::Value(document), false), (Cell::Absent, true)] {
        let cells = |value: Cell<'static>| -> Vec<Cell<'static>> {
            let cell = |at| match name(at) {
                Some("path") => Cell::Value(Bytes::new(b"web/cookie/cookie_httponly")),
                Some("value") => value,
                _ => Cell::Null,
            };
            columns.iter().map(cell).collect()
        };
        let (before, after) = (cells(old), cells(diff));
        let change = RowChange {
            table: &table,
            handle: plan.handle,
            offset: 4,
            row: 0,
            statement: 0,
            op: Op::Update,
            cascades_unseen: false,
            before: Some(Image { cells: &before }),
            after: Some(Image { cells: &after }),
        };
        world.classifier.row(&world.transaction, &change, &mut Vec::new());
        assert_eq!(world.classifier.take_lost().is_some(), is_lost);
        assert!(world.classifier.take_lost().is_none());
    }
}

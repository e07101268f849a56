//! A marker in every text column of every table shows up nowhere.

use phiwatch_binlog::StatementKind as Kind;

use crate::world::{I, MARKER, World, schema};

#[test]
fn no_marker_in_observations_state_or_counters() {
    let mut world = World::new();
    world.people();
    let mut seen = String::new();
    let mut observations = 0;
    for table in schema().keys() {
        let row = [
            ("entity_id", I(11)),
            ("customer_id", I(11)),
            ("store_id", I(2)),
            ("website_id", I(1)),
            ("status", I(1)),
        ];
        for out in [
            world.insert(table, &row),
            world.update(table, &row, &[("customer_id", I(21)), ("parent_id", I(5))]),
            world.delete(table, &row),
        ] {
            observations += out.len();
            seen += &format!("{out:?}");
        }
    }
    assert!(observations > 150, "{observations}");
    let text = format!("CREATE TABLE x (email text COMMENT '{MARKER}', name text, phone text)");
    for kind in [Kind::CreateTable, Kind::AlterTable, Kind::Grant, Kind::Dml, Kind::CreateCode] {
        seen += &format!("{:?}", world.statement(kind, &["sales_order"], &["quote"], &text));
    }
    seen += &format!("{:?}{:?}", world.classifier, world.classifier.counters());
    seen += &String::from_utf8_lossy(&world.classifier.save());
    for part in [MARKER, "MARKER", "jane.roe", "555-0100"] {
        assert!(!seen.contains(part), "{part}");
    }
}

#[test]
fn no_marker_in_settings() {
    let mut world = World::new();
    let catalog = phiwatch_magento::Catalog::builtin();
    assert!(catalog.is_noise("queue_lock"));
    for path in [
        "admin/security/session_lifetime",
        "sales_email/order/copy_to",
        "system/smtp/host",
        "web/secure/base_url",
        "twofactorauth/general/force_providers",
        "design/head/includes",
        "payment/acme/gateway_url",
        "crontab/default/jobs/x/run/model",
    ] {
        let row = [("path", crate::world::T(path)), ("scope_id", I(0))];
        let out = world.insert("core_config_data", &row);
        assert!(!out.is_empty(), "{path}");
        assert!(!format!("{out:?}").contains("MARKER"), "{path}");
    }
}

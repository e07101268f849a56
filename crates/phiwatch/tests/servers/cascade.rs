//! Foreign keys on real servers: MySQL 9.7 logs what they do to dependants, MariaDB does not.

use std::collections::BTreeMap;

use phiwatch_testkit::{Server, ocsf::State};
use serde_json::Value;

use crate::shop::Shop;

/// Deletes the customers of website 1 and gives the finding.
fn deletion(server: Server) -> Value {
    let shop = Shop::with_kafka(server, "cascade", "127.0.0.1:1");
    server.fill(shop.database(), (120, 20));
    server
        .execute(&format!("DELETE FROM {}.customer_entity WHERE website_id = 1", shop.database()));
    let binlogs = server.copy_binlogs(&shop.first_binlog, &shop.folder("binlogs"));
    let replayed = shop.replay(&binlogs).expect(0);
    let states: Vec<State> = replayed.text().lines().map(State::of).collect();
    let found: Vec<&State> = states
        .iter()
        .filter(|state| state.rule == "mass-deletion" && state.tenant == "website-1")
        .collect();
    assert_eq!(found.len(), 1, "{states:#?}");
    serde_json::from_str(&found[0].line).unwrap()
}

fn data(finding: &Value) -> &Value {
    &finding["evidences"][0]["data"]
}

/// Tables of the evidence with rows in the log, and those inferred.
fn tables(finding: &Value, which: &str) -> BTreeMap<String, Value> {
    serde_json::from_value(data(finding)[which].clone()).unwrap_or_default()
}

#[test]
fn field_13_persons_are_the_same_whether_or_not_cascades_are_logged() {
    let (logged, silent) = (deletion(Server::MySql), deletion(Server::MariaDb));
    assert_eq!(data(&logged)["subjects"], 120);
    assert_eq!(data(&silent)["subjects"], 120);
    assert_eq!(logged["message"], silent["message"]);
    assert_eq!(logged["severity_id"], silent["severity_id"]);
    // Nothing is inferred where the log has it; where it has not, it is labelled.
    assert!(data(&logged)["inferred"].is_null(), "{logged}");
    let (all, seen, inferred) =
        (tables(&logged, "tables"), tables(&silent, "tables"), tables(&silent, "inferred"));
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["customer_entity"], "{silent}");
    assert_eq!(seen["customer_entity"], all["customer_entity"]);
    assert!(inferred.contains_key("customer_address_entity"), "{silent}");
    for (table, rows) in &inferred {
        assert_eq!(Some(rows), all.get(table), "{table}");
    }
}

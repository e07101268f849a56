//! XA on real servers: what was prepared counts when it is committed, and only then.

use phiwatch_testkit::{Server, ocsf::State};

use crate::shop::{Shop, assert_same};

/// No broker takes part in these tests.
const NO_KAFKA: &str = "127.0.0.1:1";

fn shop(server: Server, what: &str) -> Shop {
    let shop = Shop::with_kafka(server, what, NO_KAFKA);
    server.fill(shop.database(), (300, 20));
    shop
}

/// A change of every customer of website 1, prepared under a name.
fn prepare(shop: &Shop, xid: &str) {
    shop.server.execute(&format!(
        "USE {}; XA START '{xid}';\
         UPDATE customer_entity SET firstname = CONCAT(firstname, 'x') WHERE website_id = 1;\
         XA END '{xid}'; XA PREPARE '{xid}'",
        shop.database()
    ));
}

fn of_rule(states: Vec<State>, rule: &str) -> Vec<State> {
    states.into_iter().filter(|state| state.rule == rule).collect()
}

/// A prepared transaction that is rolled back changes nothing, and none that commits is lost, also
/// when the run that saw the PREPARE is not the one that sees the COMMIT.
fn held_until_commit(server: Server) {
    let shop = shop(server, "xa");
    prepare(&shop, "given-up");
    shop.server.execute("XA ROLLBACK 'given-up'");
    assert_eq!(of_rule(shop.uninterrupted("parts"), "bulk-change"), []);
    prepare(&shop, "kept");
    // The run ends here: its checkpoint holds what was prepared.
    assert_eq!(of_rule(shop.uninterrupted("parts"), "bulk-change"), []);
    shop.server.execute("XA COMMIT 'kept'");
    let parts = shop.uninterrupted("parts");
    let found = of_rule(parts.clone(), "bulk-change");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].tenant.as_str(), found[0].revision), ("website-1", 0));
    assert!(found[0].line.contains("\"updates\":300"), "{}", found[0].line);
    assert_same(parts, shop.uninterrupted("whole"));
    let binlogs = shop.server.copy_binlogs(&shop.first_binlog, &shop.folder("binlogs"));
    let replayed = shop.replay(&binlogs).expect(0);
    assert_eq!(of_rule(replayed.text().lines().map(State::of).collect(), "bulk-change").len(), 1);
}

#[test]
fn field_14_rows_of_a_prepared_transaction_count_at_its_commit_only_mysql() {
    held_until_commit(Server::MySql);
}

#[test]
fn field_14_rows_of_a_prepared_transaction_count_at_its_commit_only_mariadb() {
    held_until_commit(Server::MariaDb);
}

/// Whoever begins to read between the PREPARE and the COMMIT is told what it cannot judge.
fn committed_without_its_rows(server: Server) {
    let shop = shop(server, "xagap");
    prepare(&shop, "before");
    let later = Shop::with_kafka(server, "xalater", NO_KAFKA);
    shop.server.execute("XA COMMIT 'before'");
    prepare(&shop, "one");
    shop.server.execute("XA ROLLBACK 'one'");
    let binlogs = server.copy_binlogs(&later.first_binlog, &later.folder("binlogs"));
    let replayed = shop.replay(&binlogs).expect(3);
    let states: Vec<State> = replayed.text().lines().map(State::of).collect();
    let briefs: Vec<&str> = states.iter().map(|state| state.rule.as_str()).collect();
    assert_eq!(briefs, ["coverage-gap"], "{states:#?}");
    assert!(states[0].message.contains("XA transaction"), "{}", states[0].message);
}

#[test]
fn a_commit_without_its_prepare_is_a_gap_mysql() {
    committed_without_its_rows(Server::MySql);
}

#[test]
fn a_commit_without_its_prepare_is_a_gap_mariadb() {
    committed_without_its_rows(Server::MariaDb);
}

#[test]
fn one_phase_commits_count_at_once() {
    for server in [Server::MySql, Server::MariaDb] {
        let shop = shop(server, "xaone");
        shop.server.execute(&format!(
            "USE {}; XA START 'one';\
             UPDATE customer_entity SET firstname = CONCAT(firstname, 'x') WHERE website_id = 1;\
             XA END 'one'; XA COMMIT 'one' ONE PHASE",
            shop.database()
        ));
        assert_eq!(of_rule(shop.uninterrupted("run"), "bulk-change").len(), 1, "{server:?}");
    }
}

//! A log without column names: they come from the server, as long as the table is what it was.

use std::{fs, time::Duration};

use phiwatch_testkit::{Server, ocsf::State};

use crate::{program, shop::Shop};

/// Row metadata without names, until dropped.
pub(crate) struct WithoutNames(Server);

impl WithoutNames {
    pub(crate) fn new(server: Server) -> Self {
        let level = match server {
            Server::MySql => "MINIMAL",
            Server::MariaDb => "NO_LOG",
        };
        server.execute(&format!("SET GLOBAL binlog_row_metadata = {level}"));
        Self(server)
    }
}

impl Drop for WithoutNames {
    fn drop(&mut self) {
        self.0.execute("SET GLOBAL binlog_row_metadata = FULL");
    }
}

/// Everybody of website 1 is changed, then the table as `alter` says; what a first run finds.
fn found(server: Server, alter: &str, code: i32) -> Vec<State> {
    let mut shop = Shop::with_kafka(server, "names", "127.0.0.1:1");
    // Filled with names; the log that is read begins after it.
    server.fill(shop.database(), (200, 20));
    let _without = WithoutNames::new(server);
    shop.first_binlog = server.new_binlog();
    server.execute(&format!(
        "USE {}; UPDATE customer_entity SET lastname = CONCAT(lastname, 'x') WHERE website_id = 1; {alter}",
        shop.database()
    ));
    let folder = shop.folder("run");
    let lines = folder.join("alerts.jsonl");
    let sink = format!("[[sink]]\ntype = \"jsonl\"\npath = {lines:?}\n");
    // An account that sees the tables, as names need it.
    let config = shop.config(&folder, &sink).replace("phi_repl@", "phi_admin@");
    fs::write(folder.join("password"), "phi_admin\n").unwrap();
    let mut daemon = program().follow(&folder, &config, &shop.listen, &["--once"]);
    assert_eq!(daemon.wait_end(Duration::from_secs(120)), Some(code), "{}", daemon.log());
    fs::read_to_string(lines).unwrap_or_default().lines().map(State::of).collect()
}

fn rules(states: &[State]) -> Vec<&str> {
    states.iter().map(|state| state.rule.as_str()).collect()
}

#[test]
fn field_37_names_are_the_servers_while_the_table_is_what_it_was() {
    for server in [Server::MySql, Server::MariaDb] {
        let found = found(server, "", 0);
        assert_eq!(rules(&found), ["bulk-change"], "{server:?}: {found:#?}");
        assert_eq!(found[0].tenant, "website-1");
    }
}

#[test]
fn field_37_a_table_altered_meanwhile_is_a_gap_and_not_a_guess() {
    for server in [Server::MySql, Server::MariaDb] {
        // As many columns as before, but other ones under the same numbers.
        let alter = "SET foreign_key_checks = 0; ALTER TABLE customer_entity DROP COLUMN prefix, \
                     ADD COLUMN loyalty_points int FIRST";
        let found = found(server, alter, 3);
        let of_table = |state: &&State| state.message.contains("customer_entity");
        assert!(
            found.iter().filter(of_table).any(|state| state.rule == "coverage-gap"),
            "{found:#?}"
        );
        assert!(!rules(&found).contains(&"bulk-change"), "{server:?}: {found:#?}");
    }
}

//! The same acts under each row image: what the data allow is found, what they do not is said.

use std::collections::BTreeSet;

use phiwatch_testkit::{Server, ocsf::State};

use crate::shop::Shop;

/// The server's row image for new sessions, until dropped.
struct RowImage(Server);

impl RowImage {
    fn new(server: Server, image: &str) -> Self {
        server.execute(&format!("SET GLOBAL binlog_row_image = {image}"));
        Self(server)
    }
}

impl Drop for RowImage {
    fn drop(&mut self) {
        self.0.execute("SET GLOBAL binlog_row_image = FULL");
    }
}

/// Acts of exact rules, and what each is found as.
const INCIDENTS: [&str; 7] = [
    "update-3000",
    "ctas",
    "cross-tenant-order",
    "export-message",
    "session-lifetime",
    "new-admin",
    "mass-delete",
];

/// (rule, tenant, severity) of what is found above severity 1, and the whole.
fn found(server: Server, image: &str) -> (BTreeSet<(String, String, u64)>, Vec<State>) {
    let _image = RowImage::new(server, image);
    let shop = Shop::with_kafka(server, "image", "127.0.0.1:1");
    server.fill(shop.database(), (3_200, 3_200));
    let _done = server.incidents(shop.database(), &INCIDENTS);
    // By hand, as an UPDATE of a row that is there: its path is in a full image only.
    server.execute(&format!(
        "USE {}; UPDATE core_config_data SET value = '0' WHERE path = 'web/cookie/cookie_httponly';\
         UPDATE core_config_data SET value = '0' WHERE path = 'customer/password/lockout_failures';\
         UPDATE customer_entity SET website_id = 2 WHERE entity_id = (SELECT * FROM (SELECT MIN(entity_id) FROM \
         customer_entity WHERE website_id = 1) one);\
         UPDATE sales_order SET store_id = 2 WHERE store_id = 1 ORDER BY entity_id LIMIT 1",
        shop.database()
    ));
    let binlogs = server.copy_binlogs(&shop.first_binlog, &shop.folder("binlogs"));
    let replayed = shop.replay(&binlogs);
    assert!(matches!(replayed.code, Some(0 | 3)), "{}", replayed.stderr);
    let states: Vec<State> = replayed.text().lines().map(State::of).collect();
    let brief = |state: &State| (state.rule.clone(), state.tenant.clone(), state.severity);
    (states.iter().filter(|state| state.severity > 1).map(brief).collect(), states)
}

fn same_alerts(server: Server, images: &[&str]) {
    let (full, _) = found(server, "FULL");
    assert!(full.len() >= 6, "{full:#?}");
    for image in images {
        let (mut partial, states) = found(server, image);
        let gaps: Vec<&State> =
            states.iter().filter(|state| state.rule == "coverage-gap").collect();
        // The setting's path is not in a minimal image: said, not guessed.
        if *image == "MINIMAL" {
            assert!(
                gaps.iter().any(|gap| gap.message.contains("row image lacks columns")),
                "{gaps:#?}"
            );
        }
        partial.retain(|(rule, ..)| rule != "coverage-gap");
        let missing: Vec<_> =
            full.difference(&partial).filter(|(rule, ..)| rule != "config-weakened").collect();
        let extra: Vec<_> = partial.difference(&full).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{image}: not found {missing:#?}, only here {extra:#?}"
        );
    }
}

#[test]
fn field_36_partial_row_images_give_the_same_exact_alerts_mysql() {
    same_alerts(Server::MySql, &["MINIMAL", "NOBLOB"]);
}

#[test]
fn field_36_partial_row_images_give_the_same_exact_alerts_mariadb() {
    let has_nodup = Server::MariaDb.query("SELECT VERSION() RLIKE '^1[1-9]'").trim() == "1";
    let images: &[&str] =
        if has_nodup { &["MINIMAL", "NOBLOB", "FULL_NODUP"] } else { &["MINIMAL", "NOBLOB"] };
    same_alerts(Server::MariaDb, images);
}

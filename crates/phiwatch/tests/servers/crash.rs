//! `kill -9` at any moment: nothing is lost, nothing comes twice.

use std::{collections::BTreeMap, time::Duration};

use phiwatch_testkit::{Random, Server, http};

use crate::{
    durable::coverage,
    shop::{READY, Shop, assert_same, by_id},
};

/// Incidents of the workload and their rules.
const INCIDENTS: [(&str, &str); 6] = [
    ("update-3000", "bulk-change"),
    ("ctas", "bulk-copy"),
    ("cross-tenant-order", CROSS_TENANT),
    ("export-message", "bulk-export"),
    ("session-lifetime", "config-weakened"),
    ("new-admin", "privilege-granted"),
];
/// The workload picks the customer at random; the same one again in an open finding is no news.
const CROSS_TENANT: &str = "cross-tenant-write";

fn kill_while_writing(server: Server, kills: u64, seed: u64) {
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let shop = Shop::new(server, "kill");
    let mut topic = shop.topic();
    let mut daemon = shop.follow(&[]);
    daemon.wait_ready(READY);
    server.fill(shop.database(), (300, 3_100));
    let mut load = server.load(shop.database(), 30, 120);
    let mut made = BTreeMap::<&str, u64>::new();
    for kill in 0..kills {
        // Around an incident, so that kills meet all its stages: read, stored, sent, acknowledged.
        let (name, rule) = INCIDENTS[random.index(INCIDENTS.len())];
        topic.read_for(Duration::from_millis(random.between(0, 900)));
        let _made = server.incidents(shop.database(), &[name]);
        *made.entry(rule).or_default() += 1;
        topic.read_for(Duration::from_millis(random.between(0, 300)));
        if kill % 5 == 4 {
            // Now and then it lives long enough for a checkpoint to go on from.
            daemon.wait_for("a checkpoint", Duration::from_secs(15), |daemon| {
                http::metric_sum(&daemon.metrics(), "phiwatch_checkpoint_timestamp_seconds") > 0.0
            });
        }
        assert!(daemon.is_running(), "ended before kill {kill}:\n{}", daemon.log());
        daemon.kill();
        daemon = shop.follow(&[]);
    }
    assert!(load.is_running(), "the load must outlast the kills");
    drop(load);
    daemon.kill();
    let mut last = shop.follow(&["--once"]);
    assert_eq!(last.wait_end(Duration::from_secs(60)), Some(0), "{}", last.log());
    let want = shop.uninterrupted("whole");
    let mut told = BTreeMap::<&str, u64>::new();
    want.iter().for_each(|state| *told.entry(state.rule.as_str()).or_default() += 1);
    // What is compared below must hold every incident: each is told once, when it happens.
    if let Some(orders) = told.get_mut(CROSS_TENANT) {
        *orders = made.get(CROSS_TENANT).map_or(*orders, |made| (*orders).max(*made));
    }
    assert_eq!(told, made, "states of the uninterrupted run, by rule, and incidents made");
    topic.read_until(Duration::from_secs(10), |messages| messages.len() >= want.len());
    // A message too many would come about now.
    topic.read_for(Duration::from_secs(1));
    let _each_once = by_id(topic.states());
    assert_same(topic.states(), want);
    // The ledger, too, is the one of a run that was never killed.
    let (got, want) = (shop.folder("run/state"), shop.folder("whole/state"));
    assert_eq!(coverage(&got, 0)["servers"], coverage(&want, 0)["servers"]);
}

#[test]
fn mysql_survives_twenty_kills() {
    kill_while_writing(Server::MySql, 20, 20);
}

#[test]
fn mariadb_survives_kills() {
    kill_while_writing(Server::MariaDb, 8, 8);
}

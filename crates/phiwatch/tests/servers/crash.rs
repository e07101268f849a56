//! `kill -9` at any moment: nothing is lost, nothing comes twice.

use std::time::Duration;

use phiwatch_testkit::{Random, Server, http};

use crate::shop::{READY, Shop, assert_same, by_id};

const NAMES: [&str; 6] = [
    "update-3000",
    "ctas",
    "cross-tenant-order",
    "export-message",
    "session-lifetime",
    "new-admin",
];

fn kill_while_writing(server: Server, kills: u64, seed: u64) {
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let shop = Shop::new(server, "kill");
    let mut topic = shop.topic();
    let mut daemon = shop.follow(&[]);
    daemon.wait_ready(READY);
    server.fill(shop.database(), (300, 3_100));
    let mut load = server.load(shop.database(), 30, 120);
    for kill in 0..kills {
        // Around an incident, so that kills meet all its stages: read, stored, sent, acknowledged.
        let name = NAMES[random.index(NAMES.len())];
        topic.read_for(Duration::from_millis(random.between(0, 900)));
        let _made = server.incidents(shop.database(), &[name]);
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
    assert!(want.len() as u64 >= kills, "too few alerts to tell: {}", want.len());
    topic.read_until(Duration::from_secs(10), |messages| messages.len() >= want.len());
    // A message too many would come about now.
    topic.read_for(Duration::from_secs(1));
    let _each_once = by_id(topic.states());
    assert_same(topic.states(), want);
}

#[test]
fn mysql_survives_twenty_kills() {
    kill_while_writing(Server::MySql, 20, 20);
}

#[test]
fn mariadb_survives_kills() {
    kill_while_writing(Server::MariaDb, 8, 8);
}

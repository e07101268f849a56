//! Kafka dies and comes back: alerts wait, the engine goes on, and all arrive once.

use std::time::Duration;

use phiwatch_testkit::{Daemon, Server, http, servers::OwnBroker};

use crate::shop::{READY, Shop, assert_same};

/// A broker that no other test needs.
const PORT: u16 = 39_192;
const NAMES: [&str; 3] = ["ctas", "cross-tenant-order", "new-admin"];

#[test]
fn alerts_wait_for_kafka() {
    let broker = OwnBroker::start(PORT);
    let server = Server::MySql;
    let shop = Shop::with_kafka(server, "away", &broker.address());
    let mut topic = shop.topic();
    let mut daemon = shop.follow(&[]);
    daemon.wait_ready(READY);
    server.fill(shop.database(), (300, 300));
    let before = server.incidents(shop.database(), &NAMES);
    let last = before.last().and_then(|incident| incident.gtid.clone()).unwrap();
    assert!(topic.read_until(Duration::from_secs(10), |messages| {
        messages.iter().any(|message| message.state().gtids.contains(&last))
    }));
    let on_page =
        |daemon: &Daemon| http::get(&daemon.listen, "/").body.matches("privilege-granted").count();
    let shown = on_page(&daemon);

    broker.crash();
    let load = server.load(shop.database(), 30, 15);
    let during = server.incidents(shop.database(), &NAMES);
    daemon.wait_for("alerts to wait", Duration::from_secs(20), |daemon| {
        http::metric_sum(&daemon.metrics(), "phiwatch_outbox_alerts") >= 3.0
    });
    daemon.wait_for("not to be ready", Duration::from_secs(20), |daemon| {
        http::get(&daemon.listen, "/-/ready").status == 503
    });
    assert_eq!(http::get(&daemon.listen, "/-/healthy").status, 200);
    let examined = |text: &str| http::metric_sum(text, "phiwatch_transactions_total");
    let before = examined(&daemon.metrics());
    load.finish();
    // The alerts are on the page meanwhile.
    assert_eq!(on_page(&daemon), shown + 1);
    daemon.wait_for("the engine to go on", Duration::from_secs(10), |daemon| {
        examined(&daemon.metrics()) > before + 100.0
    });

    broker.restart();
    daemon.wait_for("an empty outbox", Duration::from_secs(60), |daemon| {
        http::metric_sum(&daemon.metrics(), "phiwatch_outbox_alerts") < 1.0
    });
    daemon.wait_ready(Duration::from_secs(10));
    assert_eq!(daemon.terminate(), Some(0));
    let want = shop.uninterrupted("whole");
    topic.read_until(Duration::from_secs(10), |messages| messages.len() >= want.len());
    topic.read_for(Duration::from_secs(1));
    for incident in during {
        let gtid = incident.gtid.unwrap();
        assert!(
            topic.states().iter().any(|state| state.gtids.contains(&gtid)),
            "{}",
            incident.name
        );
    }
    // Kafka's own consumer reads the same.
    let printed = broker.consume(&topic.name, want.len());
    for state in &want {
        assert!(
            printed.contains(&state.line),
            "not printed by Kafka's consumer: {}",
            state.brief()
        );
    }
    assert_same(topic.states(), want);
}

//! What must survive: kills and stops inside a huge transaction, with full queues, before
//! anything came; and what one stuck sink must not do to the rest.

use std::{fs, path::Path, time::Duration};

use phiwatch_testkit::{Daemon, Server, http, servers::OwnBroker};
use rusqlite::Connection;
use serde_json::Value;

use crate::{
    gate::Gate,
    program,
    shop::{READY, Shop, assert_same},
};

/// Long for a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(60);
/// Brokers that no other test needs.
const PORT: u16 = 39_292;

/// One transaction of more than 100,000 rows, many megabytes of binlog.
fn huge_transaction(shop: &Shop) {
    shop.server.execute(&format!(
        "USE {}; CREATE TABLE IF NOT EXISTS digit (n INT PRIMARY KEY); \
         INSERT IGNORE INTO digit VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9); \
         START TRANSACTION; \
         INSERT INTO newsletter_subscriber (store_id, customer_id, subscriber_email, \
           subscriber_status) \
         SELECT 1, 0, CONCAT('huge', a.n, b.n, c.n, d.n, e.n, f.n, '-', UUID(), '@example.com'), 1 \
         FROM digit a, digit b, digit c, digit d, digit e, digit f WHERE f.n = 0; \
         UPDATE customer_entity SET updated_at = NOW(), lastname = CONCAT(lastname, 'x'); COMMIT",
        shop.database()
    ));
}

/// What `coverage --json` says of an installation.
pub(crate) fn coverage(state: &Path, code: i32) -> Value {
    let done = program().run(&["coverage", "--json", "--state", state.to_str().unwrap()]);
    serde_json::from_str(done.expect(code).text()).unwrap()
}

fn database(shop: &Shop) -> Connection {
    Connection::open(shop.folder("run/state").join("phiwatch.sqlite")).unwrap()
}

/// File and offset of the checkpoint.
fn checkpoint(shop: &Shop) -> (String, u64) {
    let take = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (file, pos): (String, i64) =
        database(shop).query_row("SELECT file, pos FROM checkpoint", [], take).unwrap();
    (file, pos.cast_unsigned())
}

/// Follows a server through a gate that holds inside a huge transaction.
fn inside_a_huge_transaction(server: Server, shop: &Shop, gate: &Gate) -> Daemon {
    let folder = shop.folder("run");
    let config = shop.config(&folder, &shop.kafka_sink());
    let config = config.replace(&server.address(), &gate.address);
    let mut daemon = program().follow(&folder, &config, &shop.listen, &[]);
    daemon.wait_ready(READY);
    server.fill(shop.database(), (300, 3_100));
    let _told = server.incidents(shop.database(), &["new-admin"]);
    let rows = |daemon: &Daemon| http::metric_sum(&daemon.metrics(), "phiwatch_row_changes_total");
    daemon.wait_for("the shop to be read", LONG, |daemon| {
        http::metric_sum(&daemon.metrics(), "phiwatch_alerts_delivered_total") >= 1.0
    });
    let before = rows(&daemon);
    gate.hold_after(4 << 20);
    huge_transaction(shop);
    daemon.wait_for("to be inside the transaction", LONG, |daemon| {
        gate.is_holding() && rows(daemon) > before
    });
    assert!(rows(&daemon) < before + 100_000.0, "the whole transaction has passed");
    daemon
}

/// The run goes on, and tells what one tells that was never interrupted.
fn goes_on_whole(shop: &Shop) {
    let mut topic = crate::topic::Topic::of(&shop.bootstrap, shop.database());
    let mut last = shop.follow(&["--once"]);
    assert_eq!(last.wait_end(LONG * 2), Some(0), "{}", last.log());
    let want = shop.uninterrupted("whole");
    let (got, whole) = (shop.folder("run/state"), shop.folder("whole/state"));
    let got = coverage(&got, 0);
    assert_eq!(got["servers"], coverage(&whole, 0)["servers"], "{}", last.log());
    topic.read_until(LONG, |messages| messages.len() >= want.len());
    // A message too many would come about now.
    topic.read_for(Duration::from_secs(1));
    assert!(want.iter().any(|state| state.rule == "bulk-change"), "the huge one is told");
    assert_same(topic.states(), want);
    let creates = got["servers"][0]["total"]["creates"].as_u64().unwrap();
    assert!(creates > 100_000, "{creates} rows inserted");
}

fn killed_inside_a_huge_transaction(server: Server) {
    let shop = Shop::new(server, "inside");
    let _topic = shop.topic();
    let gate = Gate::before(&server.address());
    inside_a_huge_transaction(server, &shop, &gate).kill();
    gate.release();
    goes_on_whole(&shop);
}

#[test]
fn field_06_mysql_killed_inside_a_huge_transaction_reads_it_again() {
    killed_inside_a_huge_transaction(Server::MySql);
}

#[test]
fn field_06_mariadb_killed_inside_a_huge_transaction_reads_it_again() {
    killed_inside_a_huge_transaction(Server::MariaDb);
}

/// Checkpoints fall due while the transaction is open, and SIGTERM comes: it ends soon, and what
/// it goes on from is the start of an event that begins a transaction.
fn stopped_inside_a_huge_transaction(server: Server) {
    let shop = Shop::new(server, "boundary");
    let _topic = shop.topic();
    let gate = Gate::before(&server.address());
    let daemon = inside_a_huge_transaction(server, &shop, &gate);
    assert_eq!(daemon.terminate(), Some(0), "while the server keeps the rest back");
    gate.release();
    let (file, pos) = checkpoint(&shop);
    let events = server.query(&format!("SHOW BINLOG EVENTS IN '{file}' FROM {pos} LIMIT 1"));
    let kind = events.split('\t').nth(2).unwrap_or_default();
    // A file's head, or an event that begins a transaction.
    assert!(pos == 4 || kind == "Gtid", "{file}:{pos} is {kind:?}");
    goes_on_whole(&shop);
}

#[test]
fn field_07_mysql_a_checkpoint_is_never_inside_a_transaction() {
    stopped_inside_a_huge_transaction(Server::MySql);
}

#[test]
fn field_07_mariadb_a_checkpoint_is_never_inside_a_transaction() {
    stopped_inside_a_huge_transaction(Server::MariaDb);
}

/// Kafka is down, the store cannot be written, so that the queue between reading and detection is
/// full; then the process is killed.
#[test]
fn field_08_killed_with_full_queues_and_kafka_down_loses_nothing() {
    let broker = OwnBroker::start(PORT);
    let server = Server::MySql;
    let shop = Shop::with_kafka(server, "queues", &broker.address());
    let _topic = shop.topic();
    let mut daemon = shop.follow(&[]);
    daemon.wait_ready(READY);
    server.fill(shop.database(), (300, 3_100));
    broker.crash();
    let _waits = server.incidents(shop.database(), &["new-admin", "ctas"]);
    daemon.wait_for("alerts to wait", LONG, |daemon| {
        http::metric_sum(&daemon.metrics(), "phiwatch_outbox_alerts") >= 2.0
    });
    let other = database(&shop);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = http::metric_sum(&daemon.metrics(), "phiwatch_binlog_bytes_total");
    // More than the queue holds.
    huge_transaction(&shop);
    let _unread = server.incidents(shop.database(), &["update-3000"]);
    daemon.wait_for("a write that fails", LONG, |daemon| {
        http::metric_sum(&daemon.metrics(), "phiwatch_store_errors_total") >= 1.0
    });
    let read = http::metric_sum(&daemon.metrics(), "phiwatch_binlog_bytes_total") - before;
    assert!(read < 30e6, "the middle went on without the store: {read} bytes");
    daemon.kill();
    drop(other);
    broker.restart();
    goes_on_whole(&shop);
}

/// Idle from `latest`, stopped before anything came: what was written meanwhile is found.
fn stopped_idle(server: Server) {
    let shop = Shop::new(server, "idle");
    server.fill(shop.database(), (20, 20));
    let _before = server.incidents(shop.database(), &["new-admin"]);
    for is_killed in [false, true] {
        let folder = shop.folder(if is_killed { "killed" } else { "stopped" });
        let lines = folder.join("alerts.jsonl");
        let sink = format!("[[sink]]\ntype = \"jsonl\"\npath = {lines:?}\n");
        let config = shop.config(&folder, &sink);
        let config = config.replace(&format!("{}:4", shop.first_binlog), "latest");
        let mut daemon = program().follow(&folder, &config, &shop.listen, &[]);
        daemon.wait_ready(READY);
        if is_killed {
            daemon.kill();
        } else {
            assert_eq!(daemon.terminate(), Some(0));
        }
        let made = server.incidents(shop.database(), &["new-admin"]).remove(0);
        let mut again = program().follow(&folder, &config, &shop.listen, &["--once"]);
        assert_eq!(again.wait_end(LONG), Some(0), "{}", again.log());
        let found = fs::read_to_string(&lines).unwrap_or_default();
        assert!(found.contains(&made.gtid.unwrap()), "{found}");
        let told = coverage(&folder.join("state"), 0);
        assert_eq!(told["gaps"], Value::Array(Vec::new()));
    }
}

#[test]
fn field_11_mysql_stopped_before_anything_came_goes_on_there() {
    stopped_idle(Server::MySql);
}

#[test]
fn field_11_mariadb_stopped_before_anything_came_goes_on_there() {
    stopped_idle(Server::MariaDb);
}

/// One sink does not answer (its network is held): detection and the other sink go on, the metric
/// tells which one lags, and a stop does not wait for it.
#[test]
fn field_15_a_stuck_sink_stalls_nothing_and_its_lag_is_told() {
    let server = Server::MariaDb;
    let shop = Shop::new(server, "stuck");
    let mut topic = shop.topic();
    let gate = Gate::before(&shop.bootstrap);
    gate.hold_after(0);
    let folder = shop.folder("run");
    let lines = folder.join("alerts.jsonl");
    let kafka = shop.kafka_sink().replace(&shop.bootstrap, &gate.address);
    let file = format!("[[sink]]\ntype = \"jsonl\"\npath = {lines:?}\n");
    let config = shop.config(&folder, &format!("{kafka}{file}"));
    let mut daemon = program().follow(&folder, &config, &shop.listen, &[]);
    server.fill(shop.database(), (300, 300));
    let made = server.incidents(shop.database(), &["new-admin"]).remove(0);
    let gtid = made.gtid.unwrap();
    daemon.wait_for("the other sink to have it", LONG, |_| {
        fs::read_to_string(&lines).unwrap_or_default().contains(&gtid)
    });
    let of = |text: &str, name: &str, sink: &str| {
        http::metric(text, &format!("{name}{{sink=\"{sink}\"}}")).unwrap_or(-1.0)
    };
    daemon.wait_for("each sink's lag", LONG, |daemon| {
        let text = daemon.metrics();
        of(&text, "phiwatch_outbox_oldest_age_seconds", "kafka") > 0.5
            && of(&text, "phiwatch_outbox_alerts", "kafka") >= 1.0
            && of(&text, "phiwatch_outbox_oldest_age_seconds", "jsonl").abs() < 1e-9
            && http::metric(&text, "phiwatch_detect_lag_seconds").is_some_and(|lag| lag < 1e-9)
    });
    assert_eq!(daemon.terminate(), Some(0), "a sink that does not answer holds nobody up");
    gate.release();
    let mut last = program().follow(&folder, &config, &shop.listen, &["--once"]);
    assert_eq!(last.wait_end(LONG), Some(0), "{}", last.log());
    assert!(topic.read_until(LONG, |messages| {
        messages.iter().any(|message| message.state().gtids.contains(&gtid))
    }));
}

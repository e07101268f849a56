//! What the source says beside the stream comes as an alert to Kafka, once.

use phiwatch_testkit::{Server, http, own::OwnServer};
use rusqlite::Connection;

use crate::own::{Installation, LONG};

/// A quarter of the retention is short.
const RETENTION_SECS: u64 = 20;

/// What was not read yet lies in a file that the server may purge soon.
fn purge_near_is_told(server: Server) {
    let arguments = match server {
        Server::MySql => {
            format!(
                "--binlog-expire-logs-auto-purge=ON --binlog-expire-logs-seconds={RETENTION_SECS}"
            )
        }
        Server::MariaDb => format!("--binlog-expire-logs-seconds={RETENTION_SECS}"),
    };
    let own = OwnServer::start(server, 1, &[("ARGS", &arguments)]);
    let mut here = Installation::new(&server.fresh_name("near"));
    let url = own.url("phi_repl");
    own.execute("CREATE DATABASE shop; CREATE TABLE shop.big (b LONGBLOB)");
    // A queue that holds less than what the file still has.
    let source = "databases = [\"shop\"]\nqueue_bytes_max = 1048576";
    here.once(&url, source, 0);
    let file = own.query("SHOW BINARY LOGS").lines().last().unwrap().to_owned();
    let file = file.split('\t').next().unwrap().to_owned();
    for _ in 0..12 {
        own.execute("INSERT INTO shop.big VALUES (REPEAT('x', 1000000))");
    }
    own.execute("FLUSH BINARY LOGS");
    let closed = std::time::Instant::now();
    // The store cannot be written for a while, so that reading stays in that file.
    let other = Connection::open(here.state().join("phiwatch.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::sleep(
        std::time::Duration::from_secs(RETENTION_SECS * 3 / 4 + 1).saturating_sub(closed.elapsed()),
    );
    let mut daemon = here.follow(&url, source, &[]);
    let margin = "phiwatch_source_purge_margin_seconds";
    daemon.wait_for("a short margin", LONG, |daemon| {
        let text = http::try_get(&daemon.listen, "/metrics").map(|answer| answer.body);
        let short = RETENTION_SECS as f64 / 4.0;
        text.is_ok_and(|text| http::metric(&text, margin).is_some_and(|left| left < short))
    });
    drop(other);
    let told = here.alerts("coverage-gap", 1);
    for words in [file.as_str(), &own.address(), "may be purged in 0 min"] {
        assert!(told[0].line.contains(words), "no {words} in {}", told[0].line);
    }
    assert_eq!(daemon.terminate(), Some(0));
    // Nothing was lost after all, and nothing is told again.
    here.once(&url, source, 0);
    here.alerts("coverage-gap", 1);
    assert_eq!(crate::durable::coverage(&here.state(), 0)["complete"], true);
}

#[test]
fn mysql_purge_near_is_told() {
    purge_near_is_told(Server::MySql);
}

#[test]
fn mariadb_purge_near_is_told() {
    purge_near_is_told(Server::MariaDb);
}

/// One of the addresses is another server's: reading goes on at the right one, and that is told.
fn other_history_is_told(server: Server) {
    let right = OwnServer::start(server, 1, &[]);
    let wrong = OwnServer::start(server, 2, &[]);
    if server == Server::MariaDb {
        // To see that it is no replica, which could still receive what it lacks.
        wrong.execute("SET sql_log_bin = 0; GRANT SLAVE MONITOR ON *.* TO phi_repl@'%'");
    }
    let mut here = Installation::new(&server.fresh_name("other"));
    right.execute("CREATE DATABASE shop");
    wrong.execute("CREATE DATABASE another_shop");
    here.once(&right.url("phi_repl"), "databases = [\"shop\"]", 0);
    let source = format!("databases = [\"shop\"]\nfailover = [{:?}]", right.address());
    let mut daemon = here.follow(&wrong.url("phi_repl"), &source, &[]);
    daemon.wait_ready(LONG);
    let told = here.alerts("coverage-gap", 1);
    for words in [wrong.address().as_str(), "has not the history that was read"] {
        assert!(told[0].line.contains(words), "no {words} in {}", told[0].line);
    }
    let examined = |daemon: &phiwatch_testkit::Daemon| {
        http::metric_sum(&daemon.metrics(), "phiwatch_transactions_total")
    };
    let before = examined(&daemon);
    right.execute("CREATE DATABASE shop_goes_on");
    daemon.wait_for("the right server to be read", LONG, |daemon| examined(daemon) > before);
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn mysql_other_history_is_told() {
    other_history_is_told(Server::MySql);
}

#[test]
fn mariadb_other_history_is_told() {
    other_history_is_told(Server::MariaDb);
}

//! What doctor finds on real servers, and that its statements mend it.

use phiwatch_source::{Finding, Intent, Server, Severity, TlsMode, findings};
use phiwatch_testkit::own::OwnServer;

use crate::support::{BOTH, Kind, alone, login};

/// What is said of a server for a reader of the database `t`.
async fn findings_at(server: &OwnServer, user: &str) -> Vec<Finding> {
    let mut login = login(Kind::MySql, user, TlsMode::Preferred);
    login.address = server.address().parse().unwrap();
    let mut connection = Server::connect(&login).await.unwrap();
    let info = connection.info().await.unwrap();
    let databases = ["t".to_owned()];
    let keyless = connection.tables_without_key(&databases).await.unwrap();
    connection.close().await;
    let intent = Intent { server_id: 4_100_090, databases: &databases, keyless: &keyless };
    findings(&info, &intent)
}

async fn finding(server: &OwnServer, user: &str, name: &str) -> Finding {
    let all = findings_at(server, user).await;
    let found = all.iter().find(|finding| finding.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {all:?}")).clone()
}

/// It is found; and after its statement was run as it is printed, it is not.
async fn mend(server: &OwnServer, user: &str, name: &str, severity: Severity) {
    let found = finding(server, user, name).await;
    assert_eq!(found.severity, severity, "{:?} {found:?}", server.kind);
    let fix = found.fix.unwrap();
    if let Err(error) = server.try_query(&fix) {
        panic!("{fix}: {error}");
    }
    let after = finding(server, user, name).await;
    assert_eq!(after.severity, Severity::Ok, "after {fix}: {after:?}");
}

/// Each setting that can be changed while the server runs.
#[tokio::test(flavor = "multi_thread")]
async fn settings_are_found_and_mended() {
    use Severity::{Fail, Warn};
    let both = [
        ("binlog_row_image = 'MINIMAL'", "row-image", Fail),
        ("binlog_row_image = 'NOBLOB'", "row-image", Fail),
        ("binlog_row_metadata = 'MINIMAL'", "row-metadata", Warn),
        ("binlog_checksum = 'NONE'", "checksum", Warn),
        // The servers of the tests begin so.
        ("sync_binlog = 0, GLOBAL innodb_flush_log_at_trx_commit = 2", "durability", Warn),
        ("binlog_expire_logs_seconds = 3600", "retention", Warn),
    ];
    let mysql = [
        ("binlog_row_value_options = 'PARTIAL_JSON'", "row-value-options", Warn),
        (
            "binlog_transaction_compression = ON, \
             GLOBAL binlog_transaction_compression_level_zstd = 22",
            "compression",
            Fail,
        ),
        ("gtid_mode = 'ON_PERMISSIVE'", "gtid", Warn),
    ];
    let mariadb = [
        ("binlog_row_metadata = 'NO_LOG'", "row-metadata", Warn),
        ("binlog_format = 'MIXED'", "binlog-format", Fail),
        ("binlog_format = 'STATEMENT'", "binlog-format", Fail),
        ("gtid_strict_mode = OFF", "gtid", Warn),
    ];
    let _alone = alone().await;
    for kind in BOTH {
        let (arguments, own) = match kind {
            Kind::MySql => ("--binlog-expire-logs-auto-purge=ON", &mysql[..]),
            Kind::MariaDb => ("", &mariadb[..]),
        };
        let server = OwnServer::start(kind.program(), 1, &[("ARGS", arguments)]);
        for (setting, name, severity) in both.iter().chain(own) {
            server.execute(&format!("SET GLOBAL {setting}"));
            mend(&server, "phi_admin", name, *severity).await;
        }
        let left: Vec<_> = findings_at(&server, "phi_admin")
            .await
            .into_iter()
            .filter(|finding| finding.severity > Severity::Ok)
            .collect();
        assert_eq!(left, [], "{kind:?}");
    }
}

/// MySQL still writes statements where a session, or an older version, asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn statement_format_of_mysql_is_found_and_mended() {
    let _alone = alone().await;
    let server = OwnServer::start(Kind::MySql.program(), 1, &[("ARGS", "--binlog-format=MIXED")]);
    mend(&server, "phi_admin", "binlog-format", Severity::Fail).await;
}

/// What only a restart changes: the line is the one that was left out.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_found_with_its_line() {
    let _alone = alone().await;
    for kind in BOTH {
        let mut server = OwnServer::start(kind.program(), 1, &[("ARGS", "--skip-log-bin")]);
        let found = finding(&server, "phi_admin", "log-bin").await;
        assert_eq!(found.severity, Severity::Fail, "{kind:?}");
        assert!(found.fix.unwrap().starts_with("log_bin = binlog -- "));
        for (arguments, severity, line) in [
            ("--binlog-do-db=other", Severity::Fail, "remove binlog_do_db -- "),
            ("--binlog-ignore-db=t", Severity::Fail, "remove binlog_ignore_db -- "),
            ("--binlog-ignore-db=test", Severity::Warn, "remove binlog_ignore_db -- "),
        ] {
            server.restart_with(arguments);
            for user in ["phi_admin", "phi_repl"] {
                let found = finding(&server, user, "binlog-filters").await;
                assert_eq!(found.severity, severity, "{kind:?} {arguments}");
                assert!(found.fix.unwrap().starts_with(line), "{arguments}");
            }
        }
        server.restart_with("");
        for name in ["log-bin", "binlog-filters"] {
            let found = finding(&server, "phi_admin", name).await;
            assert_eq!(found.severity, Severity::Ok, "{kind:?} {found:?}");
        }
    }
}

/// A replica that does not log what it receives, or filters it.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_keep_something_out_are_found_and_mended() {
    let _alone = alone().await;
    for kind in BOTH {
        let first = OwnServer::start(kind.program(), 1, &[]);
        let mut second = OwnServer::start(kind.program(), 2, &[]);
        assert!(finding(&second, "phi_admin", "replica").await.what.contains("no replica"));
        second.follow(&first);
        let filters: &[(&str, Severity)] = match kind {
            Kind::MySql => &[
                ("CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (t)", Severity::Fail),
                ("CHANGE REPLICATION FILTER REPLICATE_DO_DB = (other)", Severity::Fail),
                (
                    "CHANGE REPLICATION FILTER REPLICATE_WILD_IGNORE_TABLE = ('t.%'), \
                     REPLICATE_DO_DB = (t)",
                    Severity::Warn,
                ),
            ],
            Kind::MariaDb => &[
                ("SET GLOBAL replicate_ignore_db = 't'", Severity::Fail),
                ("SET GLOBAL replicate_do_db = 'other'", Severity::Fail),
                (
                    "SET GLOBAL replicate_wild_ignore_table = 't.%'; \
                     CHANGE MASTER TO IGNORE_DOMAIN_IDS = (5)",
                    Severity::Warn,
                ),
            ],
        };
        let [stop, start] = match kind {
            Kind::MySql => ["STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD"],
            Kind::MariaDb => ["STOP SLAVE", "START SLAVE"],
        };
        for (filter, severity) in filters {
            second.execute(&format!("{stop}; {filter}; {start}"));
            mend(&second, "phi_admin", "replication-filters", *severity).await;
        }
        second.wait_for(&first);
        let (arguments, line) = match kind {
            Kind::MySql => ("--log-replica-updates=OFF", "log_replica_updates = ON -- "),
            Kind::MariaDb => ("--log-slave-updates=OFF", "log_slave_updates = ON -- "),
        };
        second.restart_with(arguments);
        let found = finding(&second, "phi_admin", "replica").await;
        assert_eq!(found.severity, Severity::Fail, "{kind:?} {found:?}");
        assert!(found.fix.unwrap().starts_with(line));
        second.restart_with("");
        assert_eq!(finding(&second, "phi_admin", "replica").await.severity, Severity::Ok);
    }
}

/// An account without any grant, given what doctor says.
#[tokio::test(flavor = "multi_thread")]
async fn grants_are_found_and_mended() {
    let _alone = alone().await;
    for kind in BOTH {
        let server = OwnServer::start(kind.program(), 1, &[]);
        server.execute("CREATE USER phi_bare@'%' IDENTIFIED BY 'phi_bare'; CREATE DATABASE shop");
        let replica = finding(&server, "phi_bare", "replica").await;
        assert_eq!(replica.severity, Severity::Warn, "{kind:?}");
        server.execute(&replica.fix.unwrap());
        assert_eq!(finding(&server, "phi_bare", "replica").await.severity, Severity::Ok);
        mend(&server, "phi_bare", "grants", Severity::Fail).await;
        mend(&server, "phi_bare", "select", Severity::Warn).await;
        // Whether another replica has the number, MariaDB shows to few.
        assert_eq!(finding(&server, "phi_bare", "server-id").await.severity, Severity::Ok);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_without_a_key_are_found_and_mended() {
    let _alone = alone().await;
    for kind in BOTH {
        let server = OwnServer::start(kind.program(), 1, &[]);
        server.execute(
            "CREATE DATABASE t; USE t; CREATE TABLE good (a INT PRIMARY KEY); \
             CREATE TABLE one_key (a INT NOT NULL, b INT, UNIQUE (a)); \
             CREATE TABLE customer_entity (a INT, b INT, UNIQUE (a), KEY (b)); \
             CREATE VIEW v AS SELECT a FROM good; INSERT INTO customer_entity VALUES (1, 2), (3, 4)",
        );
        let found = finding(&server, "phi_admin", "primary-keys").await;
        assert!(found.what.starts_with("t.customer_entity without"), "{kind:?} {}", found.what);
        mend(&server, "phi_admin", "primary-keys", Severity::Warn).await;
        // What the shop writes without naming columns still fits.
        server.execute("INSERT INTO t.customer_entity VALUES (5, 6)");
        assert_eq!(server.query("SELECT * FROM t.customer_entity WHERE a = 5").trim(), "5\t6");
    }
}

/// MariaDB 11.4 and later drop binlogs beyond a size.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_size_is_found_and_mended() {
    let _alone = alone().await;
    let settings = [("SUITE", "sid"), ("ARGS", "--max-binlog-total-size=20000000")];
    let server = OwnServer::start(Kind::MariaDb.program(), 1, &settings);
    let name = "retention-size";
    let found = finding(&server, "phi_admin", name).await;
    assert_eq!(found.severity, Severity::Warn);
    server.execute(&found.fix.unwrap());
    let after = findings_at(&server, "phi_admin").await;
    assert!(after.iter().all(|finding| finding.name != name), "{after:?}");
}

//! What the second connection tells: when our file goes, how far a replica lags.

use std::time::{Duration, Instant};

use phiwatch_source::{LiveHandle, LiveSource, LiveStatus, Notice, PurgeMargin, Source, StartAt};
use phiwatch_testkit::own::OwnServer;

use crate::support::{BOTH, Kind, alone, config_at, make_table, mark, now, pair};

/// Waits until the status is so, while what comes is read; the status.
fn until(source: &mut LiveSource, what: &str, is_so: impl Fn(&LiveStatus) -> bool) -> LiveStatus {
    let handle = source.handle();
    let begun = Instant::now();
    loop {
        let status = handle.status();
        if is_so(&status) {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{what}: {status:?}");
        // Heartbeats come each second.
        let _batch = tokio::task::block_in_place(|| source.next_batch()).unwrap();
    }
}

fn within(status: &LiveStatus) -> Option<Duration> {
    match status.purge_margin {
        Some(PurgeMargin::Within(margin)) => Some(margin),
        _ => None,
    }
}

fn is_near(handle: &LiveHandle, file: &str) -> bool {
    handle.take_notices().iter().any(|notice| match notice {
        Notice::PurgeNear { file: near, .. } => near == file,
        Notice::History { .. } => false,
    })
}

/// Binlogs stay for twenty seconds after they were closed; a checkpoint still needs one of them.
#[tokio::test(flavor = "multi_thread")]
async fn field_25_margin_shrinks_and_is_told_before_the_purge() {
    let _alone = alone().await;
    for kind in BOTH {
        let arguments = match kind {
            Kind::MySql => "--binlog-expire-logs-auto-purge=ON --binlog-expire-logs-seconds=20",
            Kind::MariaDb => "--binlog-expire-logs-seconds=20",
        };
        let server = OwnServer::start(kind.program(), 1, &[("ARGS", arguments)]);
        make_table(&server);
        let before = server.executed();
        let mut source =
            LiveSource::connect(config_at(&server, 4_100_070, StartAt::Latest)).await.unwrap();
        let handle = source.handle();
        // The file that is written to stays, and so long after it.
        let status = until(&mut source, "a margin", |status| status.purge_margin.is_some());
        assert_eq!(within(&status), Some(Duration::from_secs(20)), "{kind:?}");
        let file = status.file;
        handle.keep(&file);
        server.execute("FLUSH BINARY LOGS");
        let half = |status: &LiveStatus| within(status).is_some_and(|left| left.as_secs() < 15);
        until(&mut source, "a smaller margin", half);
        assert!(!is_near(&handle, &file), "three quarters are left");
        let short = |status: &LiveStatus| within(status).is_some_and(|left| left.as_secs() < 4);
        until(&mut source, "a short margin", short);
        assert!(is_near(&handle, &file));
        let over = |status: &LiveStatus| within(status) == Some(Duration::ZERO);
        until(&mut source, "no margin", over);
        // Servers purge when they begin a file, by whole seconds of its last change.
        let begun = Instant::now();
        loop {
            server.execute("FLUSH BINARY LOGS");
            if !server.query("SHOW BINARY LOGS").contains(&file) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "{kind:?}: not purged");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        until(&mut source, "no margin", over);
        assert!(!is_near(&handle, &file), "told once");
        // A later checkpoint has time again; and without expiry there is all the time.
        handle.keep(&handle.status().file);
        until(&mut source, "time again", |status| {
            within(status).is_some_and(|left| left.as_secs() > 10)
        });
        server.execute("SET GLOBAL binlog_expire_logs_seconds = 0");
        until(&mut source, "for ever", |status| status.purge_margin == Some(PurgeMargin::Never));
        assert_eq!(server.executed(), before, "nothing is written to the source");
    }
}

/// Who may not see the files cannot tell: the worst case.
#[tokio::test(flavor = "multi_thread")]
async fn field_25_margin_is_unknown_without_the_grant() {
    let _alone = alone().await;
    for kind in BOTH {
        let server = OwnServer::start(kind.program(), 1, &[]);
        server.execute("CREATE USER phi_bare@'%' IDENTIFIED BY 'phi_bare'");
        server.execute("GRANT REPLICATION SLAVE ON *.* TO phi_bare@'%'");
        let start = now(&server);
        let mut config = config_at(&server, 4_100_071, start);
        (config.login.user, config.login.password) = ("phi_bare".to_owned(), "phi_bare".into());
        let mut source = LiveSource::connect(config).await.unwrap();
        let status = until(&mut source, "a margin", |status| status.purge_margin.is_some());
        assert_eq!(status.purge_margin, Some(PurgeMargin::Unknown), "{kind:?}");
    }
}

/// MariaDB 11.4 and later also purge by the size of all files.
#[tokio::test(flavor = "multi_thread")]
async fn field_25_margin_counts_the_total_size() {
    let _alone = alone().await;
    let arguments = "--max-binlog-total-size=20000000 --binlog-expire-logs-seconds=0";
    let settings = [("SUITE", "sid"), ("ARGS", arguments)];
    let server = OwnServer::start(Kind::MariaDb.program(), 1, &settings);
    make_table(&server);
    let start = now(&server);
    let mut source = LiveSource::connect(config_at(&server, 4_100_072, start)).await.unwrap();
    let first = until(&mut source, "a margin", |status| within(status).is_some());
    // At this pace less is left with each megabyte.
    source.handle().keep(&first.file);
    mark(&server.address(), 0, 5).await;
    let big = "CREATE TABLE t.big (b LONGBLOB); INSERT INTO t.big VALUES (REPEAT('x', 15000000))";
    server.execute(big);
    until(&mut source, "a smaller margin", |status| within(status) < within(&first));
}

/// A replica that applies late, or not at all: its lag is part of ours.
#[tokio::test(flavor = "multi_thread")]
async fn field_30_lag_of_a_replica_is_told() {
    let _alone = alone().await;
    for kind in BOTH {
        let (first, second) = pair(kind);
        let start = now(&second);
        // One account may see the replica's status, the other tells by the commit times.
        second.execute(match kind {
            Kind::MySql => {
                "SET sql_log_bin = 0; CREATE USER phi_bare@'%' IDENTIFIED BY \
                'phi_bare'; GRANT REPLICATION SLAVE ON *.* TO phi_bare@'%'"
            }
            Kind::MariaDb => {
                "SET sql_log_bin = 0; CREATE USER phi_bare@'%' IDENTIFIED BY \
                'phi_bare'; GRANT REPLICATION SLAVE, SLAVE MONITOR ON *.* TO phi_bare@'%'"
            }
        });
        let sees = config_at(&second, 4_100_073, start.clone());
        let mut other = config_at(&second, 4_100_074, start);
        (other.login.user, other.login.password) = ("phi_bare".to_owned(), "phi_bare".into());
        let mut sources =
            [LiveSource::connect(sees).await.unwrap(), LiveSource::connect(other).await.unwrap()];
        for source in &mut sources {
            until(source, "caught up", |status| status.is_caught_up);
        }
        second.execute(match kind {
            Kind::MySql => {
                "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO \
                SOURCE_DELAY = 4; START REPLICA SQL_THREAD"
            }
            Kind::MariaDb => "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 4; START SLAVE",
        });
        mark(&first.address(), 0, 1).await;
        for source in &mut sources {
            let lag = |status: &LiveStatus| status.source_lag >= Some(Duration::from_secs(2));
            until(source, "the delay", lag);
        }
        second.wait_for(&first);
        // Its applier stands still: who may see that knows that it lags more and more.
        second.execute(match kind {
            Kind::MySql => "STOP REPLICA SQL_THREAD",
            Kind::MariaDb => "STOP SLAVE SQL_THREAD",
        });
        let sees = usize::from(kind == Kind::MariaDb);
        let lag = |status: &LiveStatus| status.source_lag >= Some(Duration::from_secs(8));
        until(&mut sources[sees], "a growing lag", lag);
        second.promote();
        let none = |status: &LiveStatus| status.source_lag == Some(Duration::ZERO);
        until(&mut sources[sees], "no replica any more", none);
    }
}

use std::time::{Duration, Instant};

use phiwatch_source::{LiveSource, Server, Source, SourceError, StartAt, TlsMode};

use crate::support::{Admin, BOTH, Kind, Seen, config, login, read_to_error, read_until};

#[tokio::test(flavor = "multi_thread")]
async fn rows_arrive_right_after_their_commit() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "fresh").await;
        let mut source =
            LiveSource::connect(config(kind, 4_100_001, StartAt::Latest)).await.unwrap();
        let mut seen = Seen::default();
        read_until(&mut source, &mut seen, |seen| seen.caught_up > 0).unwrap();
        let mut worst = Duration::ZERO;
        for round in 1..=20 {
            admin.write(1).await;
            let begin = Instant::now();
            read_until(&mut source, &mut seen, |seen| seen.numbers.len() == round).unwrap();
            worst = worst.max(begin.elapsed());
        }
        assert_eq!(seen.numbers, admin.numbers());
        assert!(worst < Duration::from_secs(1), "{kind:?}: {worst:?}");
        let status = source.handle().status();
        assert!(status.is_connected && status.is_encrypted && status.received_bytes > 0);
        assert_eq!(status.is_mariadb, kind == Kind::MariaDb);
        source.handle().stop();
        while source.next_batch().unwrap().is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_ends_when_all_is_delivered() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "once").await;
        admin.write(50).await;
        let mut config = config(kind, 4_100_002, StartAt::Oldest);
        config.once = true;
        let mut source = LiveSource::connect(config).await.unwrap();
        let mut seen = Seen::default();
        read_until(&mut source, &mut seen, |_| false).unwrap();
        assert!(seen.numbers.ends_with(&admin.numbers()), "{kind:?}");
        assert_eq!(seen.caught_up, 1);
        assert!(source.next_batch().unwrap().is_none());
    }
}

/// The dump is killed again and again while rows are written, in transactions large and small.
#[tokio::test(flavor = "multi_thread")]
async fn killed_dump_loses_and_repeats_nothing() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "killed").await;
        let source = LiveSource::connect(config(kind, 4_100_003, StartAt::Latest)).await.unwrap();
        assert_whole(&mut admin, source).await;
        // By file and position, too.
        let (file, offset) = end(&mut admin).await;
        let start = StartAt::Position { file, offset };
        admin.renew().await;
        let source = LiveSource::connect(config(kind, 4_100_003, start)).await.unwrap();
        assert_whole(&mut admin, source).await;
    }
}

async fn assert_whole(admin: &mut Admin, mut source: LiveSource) {
    let mut seen = Seen::default();
    let mut killed = 0;
    for _ in 0..5 {
        admin.write(40).await;
        killed += admin.kill_dumps().await;
        admin.run("FLUSH BINARY LOGS").await;
        admin.write(10).await;
        let want = admin.numbers().len();
        read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= want).unwrap();
    }
    assert_eq!(seen.numbers, admin.numbers(), "{:?} {:?}", admin.kind, seen.files);
    assert!(killed > 0 && source.handle().status().reconnects > 0);
}

/// Transactions of two megabytes are written by another session while the dump is killed: some
/// kills hit the middle of one.
#[tokio::test(flavor = "multi_thread")]
async fn dump_killed_inside_transactions_loses_and_repeats_nothing() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "torn").await;
        let mut source =
            LiveSource::connect(config(kind, 4_100_010, StartAt::Latest)).await.unwrap();
        let table = admin.table.clone();
        let writer = tokio::spawn(async move {
            let login = login(kind, "phi_admin", TlsMode::Preferred);
            let mut server = Server::connect(&login).await.unwrap();
            for transaction in 0..60_u32 {
                server.query_rows("BEGIN").await.unwrap();
                for row in 0..20 {
                    let number = transaction * 20 + row;
                    let sql = format!(
                        "INSERT INTO {table} VALUES ({number}, 'mark-{number:06}', REPEAT('x', 100000))"
                    );
                    server.query_rows(&sql).await.unwrap();
                }
                server.query_rows("COMMIT").await.unwrap();
            }
        });
        let mut seen = Seen::default();
        let mut killed = 0;
        while !writer.is_finished() {
            let goal = seen.numbers.len() + 40;
            let done = |seen: &Seen| seen.numbers.len() >= goal || seen.caught_up > 0;
            read_until(&mut source, &mut seen, done).unwrap();
            seen.caught_up = 0;
            killed += admin.kill_dumps().await;
        }
        writer.await.unwrap();
        read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= 1_200).unwrap();
        assert_eq!(seen.numbers, (0..1_200).collect::<Vec<_>>(), "{kind:?}");
        assert!(killed >= 3, "{killed}");
    }
}

async fn end(admin: &mut Admin) -> (String, u64) {
    let sql = match admin.kind {
        Kind::MySql => "SHOW BINARY LOG STATUS",
        Kind::MariaDb => "SHOW MASTER STATUS",
    };
    let rows = admin.server.query_rows(sql).await.unwrap();
    (rows[0][0].clone().unwrap(), rows[0][1].clone().unwrap().parse().unwrap())
}

/// Tagged GTIDs (MySQL 8.3 and later) come in an event and a set encoding of their own.
#[tokio::test(flavor = "multi_thread")]
async fn reading_resumes_among_tagged_gtids() {
    let mut admin = Admin::new(Kind::MySql, "tagged").await;
    admin.run("SET SESSION gtid_next = 'AUTOMATIC:phi_tag'").await;
    admin.write(5).await;
    let start = StartAt::Gtid(admin.executed().await.parse().unwrap());
    let mut source = LiveSource::connect(config(Kind::MySql, 4_100_011, start)).await.unwrap();
    let mut seen = Seen::default();
    for round in 1..=3 {
        admin.write(10).await;
        let want = round * 10;
        read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= want).unwrap();
        admin.kill_dumps().await;
    }
    admin.write(1).await;
    read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= 31).unwrap();
    assert_eq!(seen.numbers, (5..36).collect::<Vec<_>>());
    assert!(source.handle().status().reconnects > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_resumes_by_gtid_and_by_position() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "resumed").await;
        admin.write(5).await;
        let gtids = StartAt::Gtid(admin.executed().await.parse().unwrap());
        let (file, offset) = end(&mut admin).await;
        admin.write(5).await;
        admin.run("FLUSH BINARY LOGS").await;
        admin.write(5).await;
        for start in [gtids, StartAt::Position { file, offset }] {
            let mut config = config(kind, 4_100_004, start);
            config.once = true;
            let mut source = LiveSource::connect(config).await.unwrap();
            let mut seen = Seen::default();
            read_until(&mut source, &mut seen, |_| false).unwrap();
            assert_eq!(seen.numbers, (5..15).collect::<Vec<_>>(), "{kind:?}");
            assert!(seen.files.len() >= 2);
        }
    }
}

/// A reader far behind its queue: the server waits, nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn field_32_slow_reader_stops_the_stream_and_loses_nothing() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "slow").await;
        // Shorter than the stop below: what the server allows others must not count here.
        admin.run("SET GLOBAL net_write_timeout = 2").await;
        let mut config = config(kind, 4_100_005, StartAt::Latest);
        config.queue_bytes_max = 64 << 10;
        let mut source = LiveSource::connect(config).await.unwrap();
        admin.write(20).await;
        let table = admin.table.clone();
        admin.run(&format!("UPDATE {table} SET big = REPEAT('x', 1000000)")).await;
        admin.write(20).await;
        // Twenty megabytes do not fit the queue: the reader has stopped by now.
        tokio::time::timeout(Duration::from_secs(4), std::future::pending::<()>())
            .await
            .unwrap_err();
        let before = source.handle().status().received_bytes;
        assert!(before < 20_000_000, "{before}");
        let mut seen = Seen::default();
        read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= 40).unwrap();
        assert_eq!(seen.numbers, admin.numbers());
        assert_eq!(source.handle().status().reconnects, 0);
        admin.run("SET GLOBAL net_write_timeout = 60").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn event_beyond_16_mib_arrives_whole_or_in_parts() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "large").await;
        let start = StartAt::Gtid(admin.executed().await.parse().unwrap());
        admin.write(1).await;
        let table = admin.table.clone();
        admin.run(&format!("UPDATE {table} SET big = REPEAT('x', 20000000)")).await;
        admin.write(1).await;
        for limit in [128 << 20, 1 << 20] {
            let mut config = config(kind, 4_100_006, start.clone());
            config.once = true;
            config.whole_bytes_max = limit;
            let mut source = LiveSource::connect(config).await.unwrap();
            let mut seen = Seen::default();
            read_until(&mut source, &mut seen, |_| false).unwrap();
            assert_eq!(seen.numbers, admin.numbers(), "{kind:?}");
            assert!(seen.damage.is_empty());
            if limit > 20_000_000 {
                assert!(seen.largest > 20_000_000 && seen.parts == 0);
            } else {
                assert!(seen.largest < 2 << 20 && seen.parts > 20_000_000);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn field_28_second_reader_with_our_id_ends_the_first() {
    for kind in BOTH {
        let _admin = Admin::new(kind, "twice").await;
        let mut first =
            LiveSource::connect(config(kind, 4_100_007, StartAt::Latest)).await.unwrap();
        let mut second =
            LiveSource::connect(config(kind, 4_100_007, StartAt::Latest)).await.unwrap();
        let error = read_to_error(&mut first);
        assert!(
            matches!(error, SourceError::DuplicateServerId { server_id: 4_100_007, .. }),
            "{kind:?}: {error:?}"
        );
        assert!(error.hint().unwrap().contains("server_id"));
        let mut seen = Seen::default();
        read_until(&mut second, &mut seen, |seen| seen.caught_up > 0).unwrap();
    }
}

/// A start that the server never had: reset, restored or replaced.
#[tokio::test(flavor = "multi_thread")]
async fn start_ahead_of_the_server_is_refused() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "ahead").await;
        let executed = admin.executed().await;
        let ahead = match kind {
            Kind::MySql => format!("{executed},3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"),
            Kind::MariaDb => {
                let (head, sequence) = executed.rsplit_once('-').unwrap();
                format!("{head}-{}", sequence.parse::<u64>().unwrap() + 1_000)
            }
        };
        let start = StartAt::Gtid(ahead.parse().unwrap());
        let error = LiveSource::connect(config(kind, 4_100_008, start)).await.unwrap_err();
        assert!(matches!(error, SourceError::History { .. }), "{kind:?}: {error:?}");
        assert!(!error.is_transient() && error.hint().is_some());
        let (file, _) = end(&mut admin).await;
        let start = StartAt::Position { file, offset: 4_000_000_000 };
        let error = LiveSource::connect(config(kind, 4_100_008, start)).await.unwrap_err();
        assert!(matches!(error, SourceError::History { .. }), "{kind:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn position_of_another_server_is_refused() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "other").await;
        let (file, offset) = end(&mut admin).await;
        let mut config = config(kind, 4_100_009, StartAt::Position { file, offset });
        config.known_server = Some("another".to_owned());
        let error = LiveSource::connect(config).await.unwrap_err();
        assert!(matches!(error, SourceError::History { .. }), "{kind:?}: {error:?}");
    }
}

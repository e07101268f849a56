use phiwatch_source::{LiveSource, OnPurged, SourceError, StartAt};

use crate::support::{Admin, BOTH, Kind, Seen, config, read_until};

/// Writes before and after the start, and purges what comes right after it.
async fn purged(admin: &mut Admin) -> (StartAt, StartAt) {
    admin.write(5).await;
    let gtids = StartAt::Gtid(admin.executed().await.parse().unwrap());
    let rows = admin.server.query_rows("SHOW BINARY LOGS").await.unwrap();
    let file = rows.last().unwrap()[0].clone().unwrap();
    let position = StartAt::Position { file, offset: 4 };
    admin.write(5).await;
    admin.run("FLUSH BINARY LOGS").await;
    admin.write(5).await;
    admin.purge().await;
    (gtids, position)
}

#[tokio::test(flavor = "multi_thread")]
async fn purged_start_stops_with_what_is_missing() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "purged_stop").await;
        let (gtids, position) = purged(&mut admin).await;
        for start in [gtids, position] {
            let error =
                LiveSource::connect(config(kind, 4_100_020, start.clone())).await.unwrap_err();
            let SourceError::Purged { missing } = &error else { panic!("{kind:?}: {error:?}") };
            match (&start, kind) {
                (StartAt::Position { file, .. }, _) => assert!(missing.contains(file.as_str())),
                // Five inserts.
                (_, Kind::MySql) => {
                    let set: phiwatch_binlog::GtidSet = missing.parse().unwrap();
                    assert_eq!(set.count(), 5);
                }
                (_, Kind::MariaDb) => assert!(missing.starts_with("after 0-")),
            }
            assert!(error.hint().unwrap().contains("on_purged"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn purged_start_goes_on_with_a_gap() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "purged_on").await;
        let (gtids, position) = purged(&mut admin).await;
        for start in [gtids, position] {
            let mut config = config(kind, 4_100_021, start.clone());
            config.on_purged = OnPurged::Continue;
            let mut source = LiveSource::connect(config).await.unwrap();
            let mut seen = Seen::default();
            read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= 5).unwrap();
            assert_eq!(seen.numbers, (10..15).collect::<Vec<_>>(), "{kind:?} {start:?}");
            assert_eq!(seen.purged.len(), 1);
            // From there on as any other: a killed dump repeats nothing.
            admin.kill_dumps().await;
            let table = admin.table.clone();
            admin.run(&format!("INSERT INTO {table} VALUES (900, 'mark-000900', NULL)")).await;
            read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= 6).unwrap();
            assert_eq!(seen.numbers, [10, 11, 12, 13, 14, 900], "{kind:?} {start:?}");
            assert_eq!(seen.purged.len(), 1);
            // The second round finds the file as the first one did.
            drop(source);
            admin.run("FLUSH BINARY LOGS").await;
            admin.run(&format!("DELETE FROM {table} WHERE id >= 10")).await;
            for number in 10..15 {
                let row = format!("({number}, 'mark-{number:06}', NULL)");
                admin.run(&format!("INSERT INTO {table} VALUES {row}")).await;
            }
            admin.purge().await;
        }
    }
}

/// Most of the log is gone before the first start, which is at its end.
#[tokio::test(flavor = "multi_thread")]
async fn field_17_start_at_latest_after_a_purge_restarts() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "latest").await;
        admin.write(5).await;
        admin.run("FLUSH BINARY LOGS").await;
        admin.purge().await;
        let mut config = config(kind, 4_100_022, StartAt::Latest);
        let mut seen = Seen::default();
        for round in 1..=2 {
            let mut source = LiveSource::connect(config.clone()).await.unwrap();
            admin.write(3).await;
            read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= round * 3).unwrap();
            config.start = StartAt::Gtid(seen.done.clone().unwrap());
            config.known_server = Some(source.handle().status().server_name);
        }
        assert_eq!(seen.numbers, (5..11).collect::<Vec<_>>(), "{kind:?}");
    }
}

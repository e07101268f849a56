//! A server that was reset, restored or replaced is told, never followed.

use phiwatch_source::{LiveSource, SourceError, StartAt};
use phiwatch_testkit::own::OwnServer;

use crate::support::{
    BOTH, Kind, Seen, alone, config_at, make_table, mark, now, own, pair, read_to_error, read_until,
};

#[track_caller]
fn assert_history(error: &SourceError, says: &str) {
    let SourceError::History { what, .. } = error else { panic!("{error:?}") };
    assert!(what.contains(says), "{what}");
    assert!(!error.is_transient());
    assert!(error.hint().unwrap().contains("reset, restored or replaced"));
}

/// What a checkpoint would start from, after `markers` more have come.
async fn read_some(
    server: &OwnServer,
    start: StartAt,
    from: u32,
    to: u32,
) -> (LiveSource, phiwatch_source::LiveConfig) {
    let mut config = config_at(server, 4_100_060, start);
    let mut source = LiveSource::connect(config.clone()).await.unwrap();
    mark(&server.address(), from, to).await;
    let mut seen = Seen::default();
    read_until(&mut source, &mut seen, |seen| seen.numbers.len() == (to - from) as usize).unwrap();
    let status = source.handle().status();
    config.start = StartAt::Gtid(seen.done.unwrap());
    config.known_server = Some(status.server_name);
    let file = status.file.as_str().into();
    config.known_place = Some(phiwatch_binlog::BinlogPosition { file, offset: status.offset });
    (source, config)
}

/// The log of a server that is followed is emptied: at once, and after a stop.
#[tokio::test(flavor = "multi_thread")]
async fn field_16_reset_server_ends_reading() {
    let _alone = alone().await;
    for kind in BOTH {
        let server = own(kind);
        let start = now(&server);
        let (mut source, config) = read_some(&server, start, 0, 20).await;
        tokio::task::block_in_place(|| server.reset_log());
        mark(&server.address(), 20, 25).await;
        assert_history(&read_to_error(&mut source), "reset or restored");
        let error = LiveSource::connect(config.clone()).await.unwrap_err();
        assert_history(&error, "reset or restored");
        // Later its numbers have passed ours: what bears them now was never read.
        mark(&server.address(), 100, 150).await;
        let error = LiveSource::connect(config).await.unwrap_err();
        assert_history(&error, "reset or restored");
    }
}

/// The same behind a replica, where the dump itself says nothing: its numbers are its source's.
#[tokio::test(flavor = "multi_thread")]
async fn field_16_reset_behind_a_replica_ends_reading() {
    let _alone = alone().await;
    for kind in BOTH {
        let (first, second) = pair(kind);
        let start = now(&second);
        let mut config = config_at(&second, 4_100_061, start);
        let mut source = LiveSource::connect(config.clone()).await.unwrap();
        mark(&first.address(), 0, 20).await;
        let mut seen = Seen::default();
        read_until(&mut source, &mut seen, |seen| seen.numbers.len() == 20).unwrap();
        config.start = StartAt::Gtid(seen.done.unwrap());
        config.known_server = Some(source.handle().status().server_name);
        // Restored from a backup that is older than what was read.
        tokio::task::block_in_place(|| {
            let backup = format!("SET GLOBAL gtid_purged = '{}:1-5'", uuid(&first));
            match kind {
                Kind::MySql => {
                    second.execute("STOP REPLICA");
                    second.reset_log();
                    second.execute(&backup);
                }
                Kind::MariaDb => {
                    second.execute("STOP SLAVE; RESET SLAVE ALL");
                    second.reset_log();
                }
            }
        });
        assert_history(&read_to_error(&mut source), "reset or restored");
        let error = LiveSource::connect(config.clone()).await.unwrap_err();
        assert_history(&error, "reset or restored");
    }
}

fn uuid(server: &OwnServer) -> String {
    match server.kind {
        phiwatch_testkit::Server::MySql => server.query("SELECT @@server_uuid").trim().to_owned(),
        phiwatch_testkit::Server::MariaDb => String::new(),
    }
}

/// Another server at the same address.
#[tokio::test(flavor = "multi_thread")]
async fn field_16_replaced_server_ends_reading() {
    let _alone = alone().await;
    for kind in BOTH {
        let server = own(kind);
        let start = now(&server);
        let (source, config) = read_some(&server, start, 0, 5).await;
        drop(source);
        tokio::task::block_in_place(|| server.replace());
        let error = LiveSource::connect(config.clone()).await.unwrap_err();
        assert_history(&error, "was read");
        // Its numbers pass ours. MariaDB has no uuid that would tell it: but other events.
        server.execute("CREATE DATABASE another_shop_of_another_server");
        make_table(&server);
        mark(&server.address(), 0, 30).await;
        let error = LiveSource::connect(config).await.unwrap_err();
        let says = if kind == Kind::MySql { "was read" } else { "no event begins" };
        assert_history(&error, says);
    }
}

//! The link and the server's dialect.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use phiwatch_source::{LiveSource, StartAt};
use phiwatch_testkit::own::OwnServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    Admin, BOTH, Kind, Seen, alone, config, config_at, make_table, mark, now, own, read_until,
};

/// Hands bytes on between a client and a server until told to keep them, without closing.
async fn relay(to: String, stalls: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&to).await else { continue };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let own = Arc::new(AtomicBool::new(false));
            for (mut from, mut to) in [(from_client, to_server), (from_server, to_client)] {
                let (stalls, own) = (stalls.clone(), own.clone());
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from.read(&mut bytes).await {
                        // Once for the connection that carries something now.
                        if stalls.swap(false, Ordering::Relaxed) {
                            own.store(true, Ordering::Relaxed);
                        }
                        if !own.load(Ordering::Relaxed)
                            && to.write_all(&bytes[..count]).await.is_err()
                        {
                            break;
                        }
                    }
                });
            }
        }
    });
    address
}

/// Nothing comes any more and nobody closes: three heartbeats later the link counts as dead.
#[tokio::test(flavor = "multi_thread")]
async fn field_31_half_open_link_is_left() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "half_open").await;
        let stalls = Arc::new(AtomicBool::new(false));
        let mut config = config(kind, 4_100_080, StartAt::Latest);
        let through = relay(config.login.address.to_string(), stalls.clone()).await;
        config.login.address = through.parse().unwrap();
        // The second connection would carry bytes too.
        config.watch_every = Duration::from_secs(3_600);
        let mut source = LiveSource::connect(config).await.unwrap();
        let mut seen = Seen::default();
        // Idle for longer than a heartbeat: that alone breaks nothing.
        read_until(&mut source, &mut seen, |seen| seen.caught_up > 2).unwrap();
        assert_eq!(source.handle().status().reconnects, 0);
        stalls.store(true, Ordering::Relaxed);
        admin.write(10).await;
        read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= 10).unwrap();
        assert_eq!(seen.numbers, admin.numbers(), "{kind:?}");
        let status = source.handle().status();
        assert!(status.reconnects > 0 && status.last_error.unwrap().contains("silent"));
    }
}

/// The statement for the log's end has changed its name: 9.x refuses the old, MariaDB the new.
#[tokio::test(flavor = "multi_thread")]
async fn field_26_status_statements_of_both_servers() {
    let _alone = alone().await;
    for kind in BOTH {
        // Without GTIDs, or before the first one, the end is a position.
        let server = OwnServer::start(kind.program(), 1, &[("GTID", "OFF")]);
        if kind == Kind::MySql {
            make_table(&server);
        }
        let mut source =
            LiveSource::connect(config_at(&server, 4_100_081, StartAt::Latest)).await.unwrap();
        if kind == Kind::MariaDb {
            make_table(&server);
        }
        mark(&server.address(), 0, 5).await;
        let mut seen = Seen::default();
        read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= 5).unwrap();
        assert_eq!(seen.numbers, [0, 1, 2, 3, 4], "{kind:?}");
    }
}

/// GTIDs are switched off under way: reading resumes by position on the same server.
#[tokio::test(flavor = "multi_thread")]
async fn field_18_gtids_switched_off_resume_by_position() {
    let _alone = alone().await;
    let server = own(Kind::MySql);
    let start = now(&server);
    let mut source = LiveSource::connect(config_at(&server, 4_100_082, start)).await.unwrap();
    let mut seen = Seen::default();
    mark(&server.address(), 0, 5).await;
    read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= 5).unwrap();
    for mode in ["ON_PERMISSIVE", "OFF_PERMISSIVE"] {
        server.execute(&format!("SET GLOBAL gtid_mode = {mode}"));
        let from = u32::try_from(seen.numbers.len()).unwrap();
        // A new connection for the mode, before and after writing.
        for half in 0..2 {
            let ids =
                "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'";
            for id in server.query(ids).lines() {
                let _gone = server.try_query(&format!("KILL {id}"));
            }
            mark(&server.address(), from + half * 5, from + half * 5 + 5).await;
            let want = (from + half * 5 + 5) as usize;
            read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= want).unwrap();
        }
    }
    assert_eq!(seen.numbers, (0..25).collect::<Vec<_>>());
    assert!(source.handle().status().reconnects > 0);
}

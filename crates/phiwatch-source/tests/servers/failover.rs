//! The first server dies; reading goes on elsewhere, by GTID, or says why it must not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use phiwatch_source::{Address, LiveSource, Server, SourceError, StartAt, TlsMode};
use phiwatch_testkit::own::OwnServer;

use crate::support::{BOTH, Kind, Seen, alone, config_at, login, mark, now, pair, read_until};

/// A server and its replica, with an account that read_only stops.
fn shop_pair(kind: Kind) -> (OwnServer, OwnServer) {
    let (first, second) = pair(kind);
    first.execute("CREATE USER phi_shop@'%' IDENTIFIED BY 'phi_shop'");
    first.execute("GRANT ALL ON t.* TO phi_shop@'%'");
    second.execute("SET GLOBAL read_only = 1");
    if kind == Kind::MariaDb {
        // To see whether it is still a replica.
        let grant = "GRANT SLAVE MONITOR ON *.* TO phi_repl@'%'";
        second.execute(&format!("SET sql_log_bin = 0; {grant}"));
    }
    second.wait_for(&first);
    (first, second)
}

fn address(server: &OwnServer) -> Address {
    server.address().parse().unwrap()
}

/// Writes markers one after the other to whichever server takes them, until told to stop; gives
/// how many. A commit is tried again until a server has answered it.
async fn shop(first: String, second: String, stop: Arc<AtomicBool>) -> u32 {
    let mut number = 0;
    let mut login = login(Kind::MySql, "phi_shop", TlsMode::Preferred);
    login.address = first.parse().unwrap();
    let mut server = Server::connect(&login).await.ok();
    while !stop.load(Ordering::Relaxed) {
        let sql = format!("INSERT INTO t.m VALUES ({number}, 'mark-{number:06}')");
        let done = match &mut server {
            Some(server) => server.query_rows(&sql).await.is_ok(),
            None => false,
        };
        if done {
            number += 1;
            continue;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        // Refused by the first one, or lost with it.
        login.address = second.parse().unwrap();
        server = Server::connect(&login).await.ok();
    }
    number
}

/// Starts it; stops with the number of markers.
struct Load {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<u32>,
}

impl Load {
    fn start(first: &OwnServer, second: &OwnServer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(shop(first.address(), second.address(), stop.clone()));
        Self { stop, task }
    }

    async fn finish(self) -> Vec<u32> {
        self.stop.store(true, Ordering::Relaxed);
        (0..self.task.await.unwrap()).collect()
    }
}

/// As a switch-over tool does it: no more commits, the replica has all, the first one is gone.
fn promote(first: &OwnServer, second: &OwnServer) {
    first.execute("SET GLOBAL read_only = 1");
    second.wait_for(first);
    first.crash();
    second.promote();
    second.execute("SET GLOBAL read_only = 0");
}

/// Reads until more than `more` further markers have come.
fn read_on(source: &mut LiveSource, seen: &mut Seen, more: usize) {
    let goal = seen.numbers.len() + more;
    read_until(source, seen, |seen| seen.numbers.len() >= goal).unwrap();
}

/// The shop goes on at the promoted server, and so does reading: also a run that began at a
/// position in the middle of a file.
#[tokio::test(flavor = "multi_thread")]
async fn field_19_failover_by_gtid_loses_and_repeats_nothing() {
    let _alone = alone().await;
    for kind in BOTH {
        for is_mid_file in [false, true] {
            let (first, second) = shop_pair(kind);
            let start = match is_mid_file {
                false => now(&first),
                true => position(&first),
            };
            let load = Load::start(&first, &second);
            let mut config = config_at(&first, 4_100_050, start);
            config.failover = vec![address(&second)];
            let mut source = LiveSource::connect(config).await.unwrap();
            let mut seen = Seen::default();
            read_on(&mut source, &mut seen, 100);
            tokio::task::block_in_place(|| promote(&first, &second));
            read_on(&mut source, &mut seen, 200);
            let want = load.finish().await;
            read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= want.len()).unwrap();
            // Heartbeats come when nothing more does.
            seen.caught_up = 0;
            read_until(&mut source, &mut seen, |seen| seen.caught_up > 1).unwrap();
            assert_eq!(seen.numbers, want, "{kind:?} {is_mid_file}");
            let status = source.handle().status();
            assert_eq!(status.server, second.address());
            assert!(status.reconnects > 0 && seen.purged.is_empty());
            assert!(source.handle().take_notices().is_empty());
        }
    }
}

fn position(server: &OwnServer) -> StartAt {
    let row = server.query(match server.kind {
        phiwatch_testkit::Server::MySql => "SHOW BINARY LOG STATUS",
        phiwatch_testkit::Server::MariaDb => "SHOW MASTER STATUS",
    });
    let mut parts = row.split('\t');
    let (file, offset) = (parts.next().unwrap().to_owned(), parts.next().unwrap());
    StartAt::Position { file, offset: offset.parse().unwrap() }
}

/// A replica that is read is killed while its source is written to, without any order; its source
/// is the other address. Then the program itself starts anew there.
#[tokio::test(flavor = "multi_thread")]
async fn field_20_switchover_needs_no_file_position() {
    let _alone = alone().await;
    for kind in BOTH {
        let (first, second) = shop_pair(kind);
        let start = now(&second);
        let load = Load::start(&first, &second);
        let mut config = config_at(&second, 4_100_051, start);
        config.failover = vec![address(&first)];
        let mut source = LiveSource::connect(config.clone()).await.unwrap();
        let mut seen = Seen::default();
        read_on(&mut source, &mut seen, 100);
        config.known_server = Some(source.handle().status().server_name);
        tokio::task::block_in_place(|| second.crash());
        read_on(&mut source, &mut seen, 200);
        drop(source);
        // What a checkpoint holds: transactions, and a place in the files of a server that is gone.
        let before = seen.done.clone().unwrap();
        config.start = StartAt::Gtid(before);
        config.known_place = None;
        let mut source = LiveSource::connect(config).await.unwrap();
        let want = load.finish().await;
        read_until(&mut source, &mut seen, |seen| seen.numbers.len() >= want.len()).unwrap();
        assert_eq!(seen.numbers, want, "{kind:?}");
    }
}

/// What was read and then lost with its server: the promoted one never had it, and goes on
/// without. Following it would be another history.
#[tokio::test(flavor = "multi_thread")]
async fn field_27_transactions_lost_in_a_failover_end_reading() {
    let _alone = alone().await;
    for kind in BOTH {
        let (first, second) = shop_pair(kind);
        let start = now(&first);
        let mut config = config_at(&first, 4_100_052, start);
        config.failover = vec![address(&second)];
        let mut source = LiveSource::connect(config.clone()).await.unwrap();
        let stop = if kind == Kind::MySql { "STOP REPLICA" } else { "STOP SLAVE" };
        tokio::task::block_in_place(|| second.execute(stop));
        mark(&first.address(), 0, 5).await;
        let mut seen = Seen::default();
        read_on(&mut source, &mut seen, 5);
        tokio::task::block_in_place(|| first.crash());
        // As long as it is a replica it may still receive them.
        let handle = source.handle();
        wait("an error of the replica", || {
            let error = handle.status().last_error.unwrap_or_default();
            error.contains(&second.address()) && error.contains("has not applied")
        })
        .await;
        tokio::task::block_in_place(|| second.promote());
        mark(&second.address(), 100, 105).await;
        // With nobody else to ask, that is the answer.
        config.known_server = Some(source.handle().status().server_name);
        drop(source);
        config.start = StartAt::Gtid(seen.done.unwrap());
        config.login.address = address(&second);
        config.failover.clear();
        let error = LiveSource::connect(config).await.unwrap_err();
        let SourceError::History { what, .. } = &error else { panic!("{kind:?}: {error:?}") };
        assert!(what.contains("was read"), "{what}");
        assert!(!error.is_transient() && error.hint().unwrap().contains("accept-reset"));
    }
}

async fn wait(what: &str, done: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

//! Accounts, markers and reading until something has come.

use std::time::{Duration, Instant};

use phiwatch_binlog::{Gtid, GtidState};
use phiwatch_source::{
    Address, Batch, Item, LiveConfig, LiveSource, Login, Server, Source, SourceError, StartAt, Tls,
    TlsMode,
};
use phiwatch_testkit::own::OwnServer;
use tokio::sync::{Mutex, MutexGuard};

/// Waits for the other tests of this program: servers of one's own have fixed ports.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().await
}

/// One test at a time: purging and rotating concern all readers of a server.
static ONE: Mutex<()> = Mutex::const_new(());

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    MySql,
    MariaDb,
}

pub(crate) const BOTH: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

impl Kind {
    pub(crate) fn program(self) -> phiwatch_testkit::Server {
        match self {
            Self::MySql => phiwatch_testkit::Server::MySql,
            Self::MariaDb => phiwatch_testkit::Server::MariaDb,
        }
    }

    pub(crate) fn address(self) -> Address {
        let (variable, default) = match self {
            Self::MySql => ("PHIWATCH_TEST_MYSQL", "127.0.0.1:33097"),
            Self::MariaDb => ("PHIWATCH_TEST_MARIADB", "127.0.0.1:33110"),
        };
        std::env::var(variable).unwrap_or_else(|_| default.to_owned()).parse().unwrap()
    }
}

/// A replica's settings for a server of the test's own.
pub(crate) fn config_at(server: &OwnServer, server_id: u32, start: StartAt) -> LiveConfig {
    let mut config = config(Kind::MySql, server_id, start);
    config.login.address = server.address().parse().unwrap();
    config.watch_every = Duration::from_secs(1);
    config
}

/// An administrator's connection to a server of the test's own.
pub(crate) async fn admin_at(address: &str) -> Result<Server, SourceError> {
    let mut login = login(Kind::MySql, "phi_admin", TlsMode::Preferred);
    login.address = address.parse().unwrap();
    Server::connect(&login).await
}

/// A server of the test's own with the table for markers.
pub(crate) fn own(kind: Kind) -> OwnServer {
    let server = OwnServer::start(kind.program(), 1, &[]);
    make_table(&server);
    server
}

/// The same, and a replica of it that has all.
pub(crate) fn pair(kind: Kind) -> (OwnServer, OwnServer) {
    let (first, second) = (own(kind), OwnServer::start(kind.program(), 2, &[]));
    second.follow(&first);
    second.wait_for(&first);
    (first, second)
}

/// After all that a server has committed.
pub(crate) fn now(server: &OwnServer) -> StartAt {
    StartAt::Gtid(server.executed().parse().unwrap())
}

/// A table for markers; not replicated from anywhere yet.
pub(crate) fn make_table(server: &OwnServer) {
    server.execute("CREATE DATABASE t; CREATE TABLE t.m (id INT PRIMARY KEY, mark VARCHAR(40))");
}

/// Commits markers from `from` to before `to`, each its own transaction.
pub(crate) async fn mark(address: &str, from: u32, to: u32) {
    let mut server = admin_at(address).await.unwrap();
    for number in from..to {
        let sql = format!("INSERT INTO t.m VALUES ({number}, 'mark-{number:06}')");
        server.query_rows(&sql).await.unwrap();
    }
    server.close().await;
}

pub(crate) fn login(kind: Kind, user: &str, mode: TlsMode) -> Login {
    Login {
        address: kind.address(),
        user: user.to_owned(),
        password: user.into(),
        tls: Tls::with_mode(mode),
        timeout: Duration::from_secs(20),
    }
}

/// A replica's settings with the account of a replica.
pub(crate) fn config(kind: Kind, server_id: u32, start: StartAt) -> LiveConfig {
    let mut config = LiveConfig::new(login(kind, "phi_repl", TlsMode::Preferred), server_id);
    config.heartbeat = Duration::from_secs(1);
    config.start = start;
    config
}

/// An administrator with a table of its own; other tests wait.
pub(crate) struct Admin {
    pub(crate) server: Server,
    pub(crate) kind: Kind,
    pub(crate) table: String,
    next: u32,
    _one: MutexGuard<'static, ()>,
}

impl Admin {
    pub(crate) async fn new(kind: Kind, name: &str) -> Self {
        let one = ONE.lock().await;
        let server = Server::connect(&login(kind, "phi_admin", TlsMode::Preferred)).await;
        let server = server.unwrap_or_else(|error| {
            panic!("no server ({error}): run `make test`, or deploy/dev/up.sh first")
        });
        let table = format!("phiwatch_source_test.{name}");
        let mut this = Self { server, kind, table, next: 0, _one: one };
        this.run("CREATE DATABASE IF NOT EXISTS phiwatch_source_test").await;
        this.renew().await;
        this
    }

    /// An empty table, numbers from 0.
    pub(crate) async fn renew(&mut self) {
        let table = self.table.clone();
        self.run(&format!("DROP TABLE IF EXISTS {table}")).await;
        let columns = "id INT PRIMARY KEY, mark VARCHAR(40), big LONGBLOB";
        self.run(&format!("CREATE TABLE {table} ({columns})")).await;
        self.next = 0;
    }

    /// Purges all binlogs before the current one. A file is free only when the server has
    /// noticed that its last reader is gone.
    pub(crate) async fn purge(&mut self) {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let rows = self.server.query_rows("SHOW BINARY LOGS").await.unwrap();
            if rows.len() == 1 {
                return;
            }
            let last = rows.last().unwrap()[0].clone().unwrap();
            self.kill_dumps().await;
            self.run(&format!("PURGE BINARY LOGS TO '{last}'")).await;
        }
        panic!("the server does not purge");
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        self.server.query_rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) async fn value(&mut self, sql: &str) -> String {
        self.server.query_rows(sql).await.unwrap()[0][0].clone().unwrap_or_default()
    }

    /// Commits rows with markers of ascending number, each its own transaction.
    pub(crate) async fn write(&mut self, rows: u32) {
        for _ in 0..rows {
            let number = self.next;
            let sql =
                format!("INSERT INTO {} VALUES ({number}, 'mark-{number:06}', NULL)", self.table);
            self.run(&sql).await;
            self.next += 1;
        }
    }

    /// What has been committed, as this server numbers it.
    pub(crate) async fn executed(&mut self) -> String {
        let sql = match self.kind {
            Kind::MySql => "SELECT @@global.gtid_executed",
            Kind::MariaDb => "SELECT @@global.gtid_binlog_pos",
        };
        self.value(sql).await.replace('\n', "")
    }

    /// Numbers of all rows written.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        (0..self.next).collect()
    }

    /// Kills every dump of our replicas.
    pub(crate) async fn kill_dumps(&mut self) -> usize {
        let sql = "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%' \
                   AND user = 'phi_repl'";
        let rows = self.server.query_rows(sql).await.unwrap();
        for row in &rows {
            let id = row[0].clone().unwrap();
            // It may have ended by itself.
            let _gone = self.server.query_rows(&format!("KILL {id}")).await;
        }
        rows.len()
    }
}

/// What has come so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Numbers of the markers in rows events of whole transactions, in the order of arrival.
    pub(crate) numbers: Vec<u32>,
    /// Those of the transaction under way.
    open: Vec<u32>,
    pub(crate) files: Vec<(String, u64)>,
    pub(crate) purged: Vec<String>,
    /// Transactions that are done, as a checkpoint would hold them.
    pub(crate) done: Option<GtidState>,
    pending: Option<Gtid>,
    pub(crate) damage: Vec<u64>,
    pub(crate) caught_up: usize,
    pub(crate) largest: usize,
    /// Bytes of events that came in parts.
    pub(crate) parts: usize,
    pub(crate) events: usize,
}

impl Seen {
    pub(crate) fn add(&mut self, batch: &Batch) {
        for item in &batch.items {
            match item {
                Item::File { name, offset } => {
                    // What was under way comes again.
                    self.open.clear();
                    self.files.push((name.to_string(), *offset));
                }
                Item::Event { range, .. } | Item::Inflated { range, .. } => {
                    let event = &batch.bytes[range.clone()];
                    self.events += 1;
                    self.largest = self.largest.max(event.len());
                    match event[4] {
                        // Inserts of either server.
                        30 | 23 => self.open.extend(markers(event)),
                        33 | 162 => self.pending = gtid(event),
                        16 => {
                            self.numbers.append(&mut self.open);
                            if let (Some(done), Some(gtid)) = (&mut self.done, self.pending.take())
                            {
                                done.insert(&gtid);
                            }
                        }
                        _ => {}
                    }
                }
                Item::Part { range, left, .. } => {
                    self.events += usize::from(*left == 0);
                    self.parts += range.len();
                    self.largest = self.largest.max(range.len());
                }
                Item::Damage { bytes, .. } => self.damage.push(*bytes),
                Item::Purged { missing } => self.purged.push(missing.clone()),
                Item::Server { .. } => {}
                Item::Executed { done } => self.done = Some(done.clone()),
                Item::CaughtUp => self.caught_up += 1,
            }
        }
    }
}

/// The transaction that an untagged MySQL or a MariaDB GTID event begins.
fn gtid(event: &[u8]) -> Option<Gtid> {
    let number = |at: usize| Some(u64::from_le_bytes(*event.get(at..)?.first_chunk()?));
    let word = |at: usize| Some(u32::from_le_bytes(*event.get(at..)?.first_chunk()?));
    if event[4] == 33 {
        let uuid = *event.get(20..)?.first_chunk()?;
        return Some(Gtid::MySql { uuid, tag: String::new(), number: number(36)? });
    }
    Some(Gtid::MariaDb { domain: word(27)?, server_id: word(5)?, sequence: number(19)? })
}

fn markers(event: &[u8]) -> Vec<u32> {
    let digits = |window: &[u8]| {
        let digits = window.strip_prefix(b"mark-")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    event.windows(11).filter_map(digits).collect()
}

/// Reads until the condition holds.
pub(crate) fn read_until(
    source: &mut LiveSource,
    seen: &mut Seen,
    done: impl Fn(&Seen) -> bool,
) -> Result<(), SourceError> {
    let begin = Instant::now();
    while !done(seen) {
        assert!(begin.elapsed() < PATIENCE, "waited too long; seen {seen:?}");
        // Heartbeats bring us back at least every second.
        match tokio::task::block_in_place(|| source.next_batch())? {
            Some(batch) => seen.add(&batch),
            None => break,
        }
    }
    Ok(())
}

/// The error that ends the source.
pub(crate) fn read_to_error(source: &mut LiveSource) -> SourceError {
    let mut seen = Seen::default();
    match read_until(source, &mut seen, |_| false) {
        Err(error) => error,
        Ok(()) => panic!("the source ended without an error"),
    }
}

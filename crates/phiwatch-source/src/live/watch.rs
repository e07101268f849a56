//! A second connection that asks, once in a while, what the dump does not say: when our file will
//! be purged, how far the server lags behind its own source, whether its log was emptied.
//!
//! Only SELECT, SHOW, and the heads of binlog files. An error here ends nothing: the next look
//! connects again.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use phiwatch_binlog::{Gtid, GtidSet, GtidState};

use super::{
    head,
    history::{self, BinlogFile},
    margin::{Files, PurgeMargin},
    retention,
    status::{Notice, ReplicaLag, Shared},
};
use crate::{LiveConfig, SourceError, config::Address, wire::Connection};

/// What is asked of the settings of either server.
const SETTINGS: &str = "'binlog_expire_logs_seconds','binlog_expire_logs_auto_purge',\
    'expire_logs_days','max_binlog_total_size','basedir','server_uuid','server_id',\
    'gtid_executed','gtid_binlog_state'";

pub(crate) struct Watch {
    config: LiveConfig,
    shared: Arc<Shared>,
    connection: Option<Connection>,
    /// When files of the current server were begun.
    begun: BTreeMap<String, u32>,
    /// The short margin was told.
    is_told: bool,
    /// It was said that the margin is not known.
    is_unknown_told: bool,
}

/// What was read and the server has not, by its settings.
fn lost(done: &GtidState, settings: &BTreeMap<String, String>) -> Option<String> {
    let text = match done {
        GtidState::MySql(done) => {
            let executed: GtidSet = settings.get("gtid_executed")?.parse().ok()?;
            done.subtract(&executed).to_string()
        }
        GtidState::MariaDb(done) => {
            let states = settings.get("gtid_binlog_state")?.split(',');
            let states: Vec<Gtid> = states.filter_map(|gtid| gtid.parse().ok()).collect();
            history::ahead(&done.iter().collect::<Vec<_>>(), &states)
        }
    };
    (!text.is_empty()).then_some(text)
}

impl Watch {
    pub(crate) fn new(config: LiveConfig, shared: Arc<Shared>) -> Self {
        Self {
            config,
            shared,
            connection: None,
            begun: BTreeMap::new(),
            is_told: false,
            is_unknown_told: false,
        }
    }

    /// Looks after each connection of the reader, and then at its pace.
    pub(crate) async fn run(mut self) {
        loop {
            if let Some(address) = self.shared.connected_to()
                && let Err(error) = Box::pin(self.look(&address)).await
            {
                tracing::debug!(%error, "the second connection to the server broke");
                self.connection = None;
            }
            tokio::select! {
                () = tokio::time::sleep(self.config.watch_every) => {}
                () = self.shared.is_connected.notified() => {}
            }
        }
    }

    async fn look(&mut self, address: &Address) -> Result<(), SourceError> {
        let is_there = self.connection.as_ref().is_some_and(|open| open.address() == address);
        let mut connection = match self.connection.take().filter(|_| is_there) {
            Some(connection) => connection,
            None => {
                self.begun.clear();
                Connection::open(&self.config.login, address).await?
            }
        };
        let done = self.shared.take_done();
        let settings = settings(&mut connection).await?;
        let server = ["server_uuid", "server_id"].iter().find_map(|name| settings.get(*name));
        let done = done.filter(|(of, _)| server.is_some_and(|server| server == of));
        self.compare(done.as_ref().map(|(_, done)| done), &settings);
        self.lag(&mut connection).await?;
        self.purge(&mut connection, address, &settings).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// A log that was emptied does not end every dump: some go on in silence. What was read
    /// before this look must be there in it.
    fn compare(&mut self, done: Option<&GtidState>, settings: &BTreeMap<String, String>) {
        if let Some(lost) = done.and_then(|done| lost(done, settings)) {
            self.shared.alarm(format!("it lacks {lost} now; it was reset or restored"));
        }
    }

    async fn lag(&mut self, connection: &mut Connection) -> Result<(), SourceError> {
        let mut lag = ReplicaLag::Unknown;
        for sql in history::REPLICA_STATUS {
            match connection.named_rows(sql).await {
                Ok(rows) => {
                    lag = replica_lag(&rows);
                    break;
                }
                Err(SourceError::Server { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.shared.set_replica_lag(lag);
        Ok(())
    }

    async fn purge(
        &mut self,
        connection: &mut Connection,
        address: &Address,
        settings: &BTreeMap<String, String>,
    ) -> Result<(), SourceError> {
        let Some(needed) = self.shared.needed_file() else { return Ok(()) };
        let retention = retention::ask(connection, settings).await?;
        let Some(files) = history::files(connection).await? else {
            self.unknown();
            return Ok(());
        };
        let is_mariadb = settings.contains_key("gtid_binlog_state");
        let now_secs = now(connection).await?;
        self.begun.retain(|name, _| files.iter().any(|file| file.name == *name));
        let known = Files { files: &files, begun: &self.begun, now_secs };
        for name in known.wanted(&needed, retention) {
            if !self.begun.contains_key(&name) {
                let head = head::read(&self.config, address, is_mariadb, &name).await?;
                self.begun.insert(name, head.begun_secs);
            }
        }
        let known = Files { files: &files, begun: &self.begun, now_secs };
        let (margin, is_short) = known.margin(&needed, retention);
        self.shared.set_purge_margin(margin);
        self.tell(address, &needed, &files, margin, is_short);
        Ok(())
    }

    /// Once, until there is time again.
    fn tell(
        &mut self,
        address: &Address,
        needed: &str,
        files: &[BinlogFile],
        margin: PurgeMargin,
        is_short: bool,
    ) {
        if let (PurgeMargin::Within(margin), true, false) = (margin, is_short, self.is_told) {
            let newest = files.last().map(|file| file.name.as_str()).unwrap_or_default();
            tracing::error!(
                file = needed,
                newest,
                secs = margin.as_secs(),
                "what is to be read next may be purged soon"
            );
            self.shared.notice(Notice::PurgeNear {
                address: address.to_string(),
                file: needed.to_owned(),
                margin,
            });
        }
        self.is_told = is_short;
    }

    fn unknown(&mut self) {
        self.shared.set_purge_margin(PurgeMargin::Unknown);
        if !self.is_unknown_told {
            self.is_unknown_told = true;
            tracing::warn!(
                "the account may not see the list of binlogs, so nobody can tell when they are \
                 purged: GRANT REPLICATION CLIENT (MariaDB: BINLOG MONITOR) ON *.* TO the account"
            );
        }
    }
}

async fn settings(connection: &mut Connection) -> Result<BTreeMap<String, String>, SourceError> {
    let sql = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({SETTINGS})");
    let rows = connection.rows(&sql).await?;
    let pair = |row: Vec<Option<String>>| match <[_; 2]>::try_from(row) {
        Ok([Some(name), Some(value)]) => Some((name.to_ascii_lowercase(), value)),
        _ => None,
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}

async fn now(connection: &mut Connection) -> Result<u64, SourceError> {
    let row = connection.row("SELECT UNIX_TIMESTAMP()").await?;
    let secs = row.first().and_then(|value| value.as_ref()?.parse().ok());
    secs.ok_or_else(|| connection.protocol("a time that is no number"))
}

/// The slowest channel decides.
fn replica_lag(channels: &[Vec<(String, String)>]) -> ReplicaLag {
    let mut most = Duration::ZERO;
    for channel in channels {
        let behind = channel
            .iter()
            .find(|(name, _)| name == "Seconds_Behind_Source" || name == "Seconds_Behind_Master");
        match behind.map(|(_, secs)| secs.parse()) {
            Some(Ok(secs)) => most = most.max(Duration::from_secs(secs)),
            // NULL: one of its threads does not run.
            Some(Err(_)) => return ReplicaLag::Stopped,
            None => return ReplicaLag::Unknown,
        }
    }
    ReplicaLag::Behind(most)
}

/// A position that a caller's checkpoint needs is older than what was read last.
impl Shared {
    fn needed_file(&self) -> Option<String> {
        let mut file = String::new();
        self.update(|status| file.clone_from(&status.file));
        let kept = self.kept_file();
        let file = kept.unwrap_or(file);
        (!file.is_empty()).then_some(file)
    }

    pub(crate) fn connected_to(&self) -> Option<Address> {
        let mut address = None;
        self.update(|status| {
            address = status.is_connected.then(|| status.server.parse().ok()).flatten();
        });
        address
    }

    fn alarm(&self, what: String) {
        self.set_alarm(what);
        self.is_alarmed.store(true, Ordering::Relaxed);
    }
}

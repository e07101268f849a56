//! How a live source does, for metrics and health; and the way to stop it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use phiwatch_binlog::GtidState;
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    describe::{TableDescription, TableKey},
    margin::PurgeMargin,
};

/// A look at a live source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveStatus {
    /// The dump is running.
    pub is_connected: bool,
    /// All that the server had was delivered when it last said so.
    pub is_caught_up: bool,
    /// `host:port` of the current, or else the last, connection.
    pub server: String,
    /// `server_uuid`; MariaDB: `server_id`. To be kept with a checkpoint.
    pub server_name: String,
    /// The server's version.
    pub server_version: String,
    /// It is MariaDB.
    pub is_mariadb: bool,
    /// The connection is encrypted.
    pub is_encrypted: bool,
    /// Connections after the first.
    pub reconnects: u64,
    /// Bytes of events received.
    pub received_bytes: u64,
    /// Binlog file that is being read.
    pub file: String,
    /// End of the last transaction that was delivered whole, bytes.
    pub offset: u64,
    /// Why the last connection broke.
    pub last_error: Option<String>,
    /// Time until the server may purge the file that reading, or a restart ([`LiveHandle::keep`]),
    /// goes on with; None before the first look.
    pub purge_margin: Option<PurgeMargin>,
    /// How far the server itself lags behind the one that it replicates from: zero if it is no
    /// replica, None if that cannot be told. A replica whose threads are stopped lags since the
    /// commit of the last transaction that it sent.
    pub source_lag: Option<Duration>,
}

/// Something that somebody should know although reading goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// One of the addresses has not the history that was read: reset, restored or replaced.
    History {
        /// `host:port`.
        address: String,
        /// What does not fit.
        what: String,
    },
    /// What a restart would need may be purged soon.
    PurgeNear {
        /// `host:port`.
        address: String,
        /// The binlog file.
        file: String,
        /// In so long.
        margin: Duration,
    },
}

/// What a server says of its own lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ReplicaLag {
    /// Not allowed to see it.
    #[default]
    Unknown,
    /// So far; zero also if it is no replica.
    Behind(Duration),
    /// A thread of its does not run.
    Stopped,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) received_bytes: AtomicU64,
    pub(crate) is_caught_up: AtomicBool,
    /// A connection was made, or its first file named.
    pub(crate) is_connected: Notify,
    /// The second connection asks for [`Looked::done`].
    pub(crate) is_done_wanted: AtomicBool,
    /// [`Self::take_alarm`] has something.
    pub(crate) is_alarmed: AtomicBool,
    /// Original commit time of the last transaction received, µs since 1970; 0 = none.
    pub(crate) committed_us: AtomicU64,
    /// From that commit to the one on the server that is read, µs.
    pub(crate) behind_us: AtomicU64,
    /// There are [`Tables::wanted`].
    pub(crate) is_table_wanted: Notify,
    /// There are [`Tables::told`].
    is_table_told: AtomicBool,
    rest: Mutex<LiveStatus>,
    looked: Mutex<Looked>,
    tables: Mutex<Tables>,
    notices: Mutex<Vec<Notice>>,
}

/// What the second connection found, and what it must know.
#[derive(Debug, Default)]
struct Looked {
    alarm: Option<String>,
    replica_lag: ReplicaLag,
    /// Server, and what was read from it some time before the next look.
    done: Option<(String, GtidState)>,
    /// Server and file that a restart would go on with.
    kept: Option<(String, String)>,
}

/// Definitions of tables: those that are wanted, and those that were told.
#[derive(Debug, Default)]
struct Tables {
    wanted: BTreeSet<TableKey>,
    told: Vec<TableDescription>,
}

/// Notices that nobody takes are not kept without end.
const NOTICES_MAX: usize = 100;

impl Shared {
    /// The same again says nothing new as long as nobody took it.
    pub(crate) fn notice(&self, notice: Notice) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() < NOTICES_MAX && !notices.contains(&notice) {
            notices.push(notice);
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take_wanted_tables(&self) -> BTreeSet<TableKey> {
        std::mem::take(&mut self.tables().wanted)
    }

    pub(crate) fn tell_descriptions(&self, told: Vec<TableDescription>) {
        self.tables().told.extend(told);
        self.is_table_told.store(true, Ordering::Release);
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_alarm(&self, what: String) {
        self.looked().alarm = Some(what);
    }

    /// Why what is read now is not what was read before.
    pub(crate) fn take_alarm(&self) -> Option<String> {
        if !self.is_alarmed.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.looked().alarm.take()
    }

    /// A transaction begins: when it was committed on the server that is read, and when on the
    /// one where it was made, µs since 1970. Where only the latter is known, a transaction that
    /// nothing else was waiting for has come as late as its server lags.
    pub(crate) fn committed(&self, here: u64, original: u64) {
        let mut behind = here.saturating_sub(original);
        if here == original && self.is_caught_up.load(Ordering::Relaxed) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            behind = u64::try_from(now.as_micros()).unwrap_or(u64::MAX).saturating_sub(original);
        }
        self.committed_us.store(original, Ordering::Relaxed);
        self.behind_us.store(behind, Ordering::Relaxed);
    }

    pub(crate) fn set_done(&self, server: &str, done: GtidState) {
        self.looked().done = Some((server.to_owned(), done));
    }

    /// A server and what was read from it before the call.
    pub(crate) fn take_done(&self) -> Option<(String, GtidState)> {
        let done = self.looked().done.take();
        self.is_done_wanted.store(true, Ordering::Relaxed);
        done
    }

    pub(crate) fn set_replica_lag(&self, lag: ReplicaLag) {
        self.looked().replica_lag = lag;
    }

    pub(crate) fn set_purge_margin(&self, margin: PurgeMargin) {
        self.update(|status| status.purge_margin = Some(margin));
    }

    /// The file that a restart would go on with, if it is one of the current server.
    pub(crate) fn kept_file(&self) -> Option<String> {
        let mut server = String::new();
        self.update(|status| server.clone_from(&status.server_name));
        let looked = self.looked();
        looked.kept.as_ref().filter(|(of, _)| *of == server).map(|(_, file)| file.clone())
    }

    fn source_lag(&self) -> Option<Duration> {
        let micros = |counter: &AtomicU64| match counter.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        };
        match self.looked().replica_lag {
            ReplicaLag::Behind(lag) => Some(lag),
            ReplicaLag::Stopped => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
                Some(now.saturating_sub(micros(&self.committed_us)?))
            }
            ReplicaLag::Unknown => micros(&self.behind_us),
        }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut LiveStatus)) {
        change(&mut self.rest.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Stops a live source and tells how it does.
#[derive(Debug, Clone)]
pub struct LiveHandle {
    shared: Arc<Shared>,
    reader: AbortHandle,
}

impl LiveHandle {
    pub(crate) fn new(shared: Arc<Shared>, reader: AbortHandle) -> Self {
        Self { shared, reader }
    }

    /// Ends reading: [`crate::Source::next_batch`] gives what is queued, then None.
    pub fn stop(&self) {
        self.reader.abort();
    }

    /// A restart would go on with this file of the current server (a checkpoint's): how long it
    /// stays is what [`LiveStatus::purge_margin`] tells. Without this it is the file being read.
    pub fn keep(&self, file: &str) {
        let mut server = String::new();
        self.shared.update(|status| server.clone_from(&status.server_name));
        self.shared.looked().kept = Some((server, file.to_owned()));
    }

    /// Asks the server for the definitions of tables, in the background; each wanted table is told
    /// once, unless the reader is stopped. Tables that are busy or a server that does not answer
    /// are asked again, at a bounded pace.
    pub fn describe(&self, tables: impl IntoIterator<Item = TableKey>) {
        self.shared.tables().wanted.extend(tables);
        self.shared.is_table_wanted.notify_one();
    }

    /// What was told of tables, since the last call.
    #[must_use]
    pub fn take_descriptions(&self) -> Vec<TableDescription> {
        if !self.shared.is_table_told.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.shared.tables().told)
    }

    /// What somebody should know, since the last call.
    #[must_use]
    pub fn take_notices(&self) -> Vec<Notice> {
        let mut notices = self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *notices)
    }

    /// A copy of the current state.
    #[must_use]
    pub fn status(&self) -> LiveStatus {
        let mut status = LiveStatus::default();
        self.shared.update(|rest| status.clone_from(rest));
        status.received_bytes = self.shared.received_bytes.load(Ordering::Relaxed);
        status.is_caught_up = self.shared.is_caught_up.load(Ordering::Relaxed);
        status.source_lag = self.shared.source_lag();
        status
    }
}

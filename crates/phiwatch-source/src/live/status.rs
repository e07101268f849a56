//! How a live source does, for metrics and health; and the way to stop it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::task::AbortHandle;

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
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) received_bytes: AtomicU64,
    pub(crate) is_caught_up: AtomicBool,
    rest: Mutex<LiveStatus>,
}

impl Shared {
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

    /// A copy of the current state.
    #[must_use]
    pub fn status(&self) -> LiveStatus {
        let mut status = LiveStatus::default();
        self.shared.update(|rest| status.clone_from(rest));
        status.received_bytes = self.shared.received_bytes.load(Ordering::Relaxed);
        status.is_caught_up = self.shared.is_caught_up.load(Ordering::Relaxed);
        status
    }
}

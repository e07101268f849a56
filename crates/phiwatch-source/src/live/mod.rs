//! A live server as a source: a task reads the dump and fills a queue; [`LiveSource`] empties it.
//!
//! # Invariants
//! - In one life of a source no transaction is skipped, and none is delivered whole twice.
//! - A broken connection is made again for ever, with growing pauses; an error that somebody must
//!   mend ends the source.

mod describe;
pub(crate) mod event;
mod head;
mod history;
mod large;
mod margin;
pub(crate) mod open;
mod queue;
mod reader;
pub(crate) mod retention;
mod session;
mod status;
mod tracker;
mod watch;

pub use describe::{Found, TableDescription, TableKey};
pub use margin::PurgeMargin;
pub use status::{LiveHandle, LiveStatus, Notice};

pub(crate) mod script {
    //! What the fuzz targets need of the reader.
    pub(crate) use super::{
        open::{Opened, first_packet},
        queue::bounded,
        reader::Reader,
        session::{identify, request, resolve},
        status::Shared,
    };
}

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{Batch, LiveConfig, Source, SourceError};
use status::Shared;

/// Follows a server's binlog.
#[derive(Debug)]
pub struct LiveSource {
    queue: queue::Receiver,
    handle: LiveHandle,
    reader: JoinHandle<()>,
    watch: JoinHandle<()>,
    describer: JoinHandle<()>,
}

impl LiveSource {
    /// Connects, checks that the server has what comes after the start, and begins to read in a
    /// task of the current runtime. The source's addresses are tried in turn, each once.
    ///
    /// # Errors
    /// The last address's error. [`SourceError::is_transient`] tells whether to try again;
    /// once started, the source itself does.
    pub async fn connect(config: LiveConfig) -> Result<Self, SourceError> {
        let shared = Arc::new(Shared::default());
        let (sender, queue) = queue::bounded(config.queue_bytes_max);
        let watch = watch::Watch::new(config.clone(), shared.clone());
        let describer = describe::Describer::new(config.clone(), shared.clone());
        let reader = reader::Reader::start(config, sender, shared.clone()).await?;
        let reader = tokio::spawn(reader.run());
        let watch = tokio::spawn(watch.run());
        let describer = tokio::spawn(describer.run());
        let handle = LiveHandle::new(shared, reader.abort_handle());
        Ok(Self { queue, handle, reader, watch, describer })
    }

    /// Stops the source and tells how it does, from any thread.
    #[must_use]
    pub fn handle(&self) -> LiveHandle {
        self.handle.clone()
    }
}

impl Source for LiveSource {
    /// Must not be called from an async task: it blocks.
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        self.queue.next()
    }

    fn recycle(&mut self, batch: Batch) {
        self.queue.recycle(batch);
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.reader.abort();
        self.watch.abort();
        self.describer.abort();
    }
}

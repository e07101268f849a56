//! What a source hands to the decoder.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use phiwatch_binlog::{GtidState, Malformed};

/// Some consecutive items of a binlog. One buffer for many events, so that an event costs no
/// allocation.
#[derive(Debug, Default)]
pub struct Batch {
    /// Bytes of the events.
    pub bytes: Vec<u8>,
    /// In binlog order.
    pub items: Vec<Item>,
    /// The events carry a CRC32, as far as the source knows.
    pub has_checksums: bool,
    /// The checksums of all whole events were found right.
    pub is_verified: bool,
}

/// One item of a [`Batch`].
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A live source has (re)connected: what follows comes from this server.
    Server {
        /// `server_uuid`; MariaDB: `server_id`. To be kept with a checkpoint.
        name: Arc<str>,
        /// As the server says it at login.
        version: Arc<str>,
    },
    /// A file begins, or goes on after a (re)connection, at `offset`: the decoder forgets its
    /// table maps and any open transaction.
    File {
        /// Last path component.
        name: Arc<str>,
        /// Where the next event stands, bytes.
        offset: u64,
    },
    /// One whole event.
    Event {
        /// Start in the file, bytes.
        offset: u64,
        /// Its bytes in [`Batch::bytes`].
        range: Range<usize>,
    },
    /// One whole payload event, inflated ahead.
    Inflated {
        /// Start in the file, bytes.
        offset: u64,
        /// Its bytes in [`Batch::bytes`].
        range: Range<usize>,
        /// The bytes of the events inside, in [`Batch::bytes`].
        events: Range<usize>,
    },
    /// A part of an event larger than [`WHOLE_BYTES_MAX`](crate::WHOLE_BYTES_MAX). Its parts follow
    /// each other, unless a file or connection breaks off ([`Item::File`]); the first holds the
    /// event's header.
    Part {
        /// Start of the event in the file, bytes.
        offset: u64,
        /// The part's bytes in [`Batch::bytes`].
        range: Range<usize>,
        /// Bytes of the event that come after this part.
        left: u64,
    },
    /// Bytes that are no event.
    Damage {
        /// Start in the file, bytes.
        offset: u64,
        /// How many bytes were passed over.
        bytes: u64,
        /// Why.
        cause: Malformed,
    },
    /// Transactions that the source will never deliver: purged before they were read.
    Purged {
        /// The missing transactions, as the server's GTID set text, or `file:position`.
        missing: String,
    },
    /// Transactions that are done before the next event, told once at the start of a live source:
    /// what was examined before, or what came before the log that the server still has. A
    /// position to resume from must hold them.
    Executed {
        /// The server's kind of GTID state.
        done: GtidState,
    },
    /// A live source has sent all that the server has (heartbeat, or the end of a non-blocking
    /// dump).
    CaughtUp,
}

/// A binlog, read in order. Called from the decode thread; blocks until something is there.
pub trait Source {
    /// The next batch; `None` at the end (files read, or the source was stopped).
    ///
    /// # Errors
    /// The source cannot go on; what was handed out before stays valid.
    fn next_batch(&mut self) -> Result<Option<Batch>, crate::SourceError>;

    /// Takes a used batch back, to read into its memory again.
    fn recycle(&mut self, batch: Batch);
}

/// Used batches kept.
const SPARES_MAX: usize = 6;
/// Larger ones are given back to the system.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// Used batches: batches come by the thousand, and new memory for each costs more than decoding it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spares(Arc<Mutex<Vec<Batch>>>);

impl Spares {
    /// An empty batch.
    pub(crate) fn take(&self) -> Batch {
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        batches.pop().unwrap_or_default()
    }

    pub(crate) fn put(&self, batch: Batch) {
        let Batch { mut bytes, mut items, .. } = batch;
        if bytes.capacity() <= SPARE_BYTES_MAX {
            bytes.clear();
            items.clear();
            let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if batches.len() < SPARES_MAX {
                batches.push(Batch { bytes, items, ..Batch::default() });
            }
        }
    }
}

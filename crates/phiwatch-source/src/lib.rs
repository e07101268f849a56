//! Binlog bytes from files or from a live server, as batches of whole events.
//!
//! Input: file paths, or a server's address and account. Output: [`Batch`]es in binlog order from
//! [`Source::next_batch`], which blocks.
//!
//! # Invariants
//! - Every byte of the binlog is either in an [`Item::Event`] or counted in an [`Item::Damage`].
//! - Memory is bounded by the queue's bytes plus one event, whatever the server or file claims.
//! - Nothing is ever written to the server.

mod batch;

pub use batch::{Batch, Item, Source};

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A binlog file cannot be opened or read.
    #[error("cannot read binlog file {file}")]
    File {
        /// Path as given.
        file: String,
        /// The system's reason.
        #[source]
        cause: std::io::Error,
    },
}

//! Binlog bytes from files or from a live server, as batches of whole events.
//!
//! Input: file paths, or a server's address and account. Output: [`Batch`]es in binlog order from
//! [`Source::next_batch`], which blocks.
//!
//! # Invariants
//! - Every byte of the binlog is in an [`Item::Event`] or [`Item::Part`], or counted in an [`Item::Damage`].
//! - Memory is bounded by the queue's bytes plus one event, whatever the server or file claims.
//! - Nothing is ever written to the server.
//!
//! One client of our own speaks to the server, for the dump and for questions alike: same TLS,
//! same login, same bounds. Published clients allocate what a packet claims and have no mode
//! between no TLS and full verification.

mod batch;
mod config;
mod error;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod live;
mod preflight;
mod wire;

pub use batch::{Batch, Item, Source};
pub use config::{
    Address, HEARTBEAT, LOGIN_TIMEOUT, LiveConfig, Login, OnPurged, QUEUE_BYTES_MAX, SourceUrl,
    StartAt, Tls, TlsMode, WATCH_EVERY, WHOLE_BYTES_MAX,
};
pub use error::SourceError;
pub use file::{Ahead, FileProgress, FileSource};
pub use live::{
    Found, LiveHandle, LiveSource, LiveStatus, Notice, PurgeMargin, TableDescription, TableKey,
};
pub use preflight::{
    BinaryLog, Finding, Flavor, Intent, Server, ServerInfo, Severity, TableColumns, findings,
};

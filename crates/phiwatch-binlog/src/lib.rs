//! MySQL and MariaDB binlog bytes to row changes.
//!
//! Input: whole binlog events as bytes ([`Decoder::event`]), from a file or a dump connection.
//! Output: calls of a [`Visitor`], in binlog order: transactions, row changes, statements, gaps.
//!
//! # Invariants
//! - No bytes make it panic, loop, or allocate what they merely claim; every refused event becomes
//!   one [`Gap`] with its position, and decoding goes on at the next event.
//! - Only the columns that the visitor asked for ([`Projection`]) are materialised.
//! - Pure: no files, sockets, clocks, threads or logging.
//!
//! # Example
//! ```
//! use phiwatch_binlog::{
//!     BinlogPosition, Decoder, End, Gap, Limits, Plan, Projection, RowChange, Statement, Table,
//!     Transaction, Visitor, framing,
//! };
//!
//! /// Counts rows, and wants no column of them.
//! #[derive(Default)]
//! struct Counter {
//!     rows: u64,
//!     gaps: u64,
//! }
//!
//! impl Visitor for Counter {
//!     fn table(&mut self, _: &Table) -> Plan {
//!         Plan { projection: Projection::Columns(vec![]), handle: 0 }
//!     }
//!     fn begin(&mut self, _: &Transaction) {}
//!     fn row(&mut self, _: &Transaction, _: &RowChange<'_>) {
//!         self.rows += 1;
//!     }
//!     fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {}
//!     fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {}
//!     fn gap(&mut self, _: &Gap) {
//!         self.gaps += 1;
//!     }
//! }
//!
//! let file = b"\xfebin\0\0\0\0";
//! assert_eq!(framing::magic(file), framing::Magic::Plain);
//! let mut decoder = Decoder::new(Limits::default());
//! let mut counter = Counter::default();
//! decoder.start_file("binlog.000001");
//! // Four bytes are no event: one gap.
//! decoder.event(4, &file[4..], &mut counter);
//! decoder.finish(&mut counter);
//! assert_eq!((counter.rows, counter.gaps), (0, 1));
//! ```
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a test that panics has failed, as it should"
    )
)]

mod charset;
mod classify;
mod compact;
mod decimal;
mod decode;
mod decoder;
mod described;
mod format;
pub mod framing;
mod gap;
mod grant;
mod gtid;
mod gtid_event;
mod gtid_set;
mod inflate;
mod json;
mod jsonb;
mod jsondiff;
mod large;
mod payload;
mod position;
mod query;
mod reader;
mod row;
mod row_events;
mod rows;
mod sql;
mod statement;
mod table;
mod table_cache;
mod table_map;
mod temporal;
mod transaction;
mod transactions;
mod varlen;
mod visitor;

pub use decoder::{Decoder, Limits, Seen};
pub use gap::{Gap, Malformed};
pub use grant::{Grant, Privileges};
pub use gtid::{Gtid, GtidState, MariaGtidState, ParseGtidError};
pub use gtid_set::GtidSet;
pub use json::{write_gap_json, write_json_update, write_row_json};
pub use payload::Inflater;
pub use position::{BinlogPosition, EventTime};
pub use row::{Bytes, Cell, Image, Op, RowChange, Value};
pub use statement::{SqlText, Statement, StatementKind, TableName};
pub use table::{Column, ColumnType, Table};
pub use transaction::{End, Transaction, Xid};
pub use visitor::{Plan, Projection, Visitor};

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
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used)]

mod charset;
mod classify;
mod decimal;
mod decode;
mod decoder;
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
pub use json::{write_gap_json, write_row_json};
pub use position::{BinlogPosition, EventTime};
pub use row::{Bytes, Cell, Image, Op, RowChange, Value};
pub use statement::{SqlText, Statement, StatementKind, TableName};
pub use table::{Column, ColumnType, Table};
pub use transaction::{End, Transaction, Xid};
pub use visitor::{Plan, Projection, Visitor};

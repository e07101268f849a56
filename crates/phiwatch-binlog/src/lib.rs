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

mod decoder;
mod gap;
mod gtid;
mod position;
mod row;
mod statement;
mod table;
mod transaction;
mod visitor;

pub use decoder::{Decoder, Limits};
pub use gap::{Gap, Malformed};
pub use gtid::{Gtid, GtidSet, MariaGtidState, ParseGtidError};
pub use position::{BinlogPosition, EventTime};
pub use row::{Bytes, Cell, Image, Op, RowChange, Value};
pub use statement::{SqlText, Statement, StatementKind, TableName};
pub use table::{Column, ColumnType, Table};
pub use transaction::{End, Transaction, Xid};
pub use visitor::{Plan, Projection, Visitor};

//! What a caller of the decoder implements.

use std::sync::Arc;

use crate::{BinlogPosition, End, Gap, GtidState, RowChange, Statement, Table, Transaction};

/// Which columns of a table's rows to materialise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Projection {
    /// Rows are neither walked nor reported; [`Visitor::ignored`] is told the bytes.
    Ignore,
    /// Every column, in table order.
    All,
    /// These columns (0-based, ascending, no repeats); images hold them in this order.
    Columns(Vec<u16>),
}

/// The visitor's answer for one table map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What to materialise.
    pub projection: Projection,
    /// Given back with every row of the table ([`RowChange::handle`]).
    pub handle: u32,
}

/// Receives what the decoder finds, in binlog order.
pub trait Visitor {
    /// A table map that is new, or differs from the last one with its table id. The plan holds
    /// until the table map changes, or [`Self::names_revision`] does and the map has no names.
    fn table(&mut self, table: &Table) -> Plan;

    /// Column names for a table whose map carries none. They come from elsewhere, as the table is
    /// now: whoever gives them has checked each against what the map says
    /// ([`Column::could_be`](crate::Column::could_be)). The answer must have a name for each
    /// column, else it is not used.
    fn column_names(&mut self, table: &Table) -> Option<Vec<Arc<str>>> {
        let _unused = table;
        None
    }

    /// A number that changes whenever [`Self::column_names`] may answer otherwise than before: a map
    /// without names is then asked about again when it comes next.
    fn names_revision(&self) -> u64 {
        0
    }

    /// A binlog file begins (format description read) or goes on after a reconnect. `server_id`
    /// is that of the server that wrote it.
    fn file(&mut self, name: &Arc<str>, server_id: u32, server_version: &str) {
        let _unused = (name, server_id, server_version);
    }

    /// A file's head says which transactions came before it (MySQL PREVIOUS_GTIDS, MariaDB
    /// GTID_LIST).
    fn previous(&mut self, done: &GtidState) {
        let _unused = done;
    }

    /// A transaction begins. `thread` may still be unknown and come with its BEGIN.
    fn begin(&mut self, transaction: &Transaction);

    /// XA: the transaction that has begun will be prepared, so its rows take effect only at the
    /// commit of the same name ([`End::XaCommit`]), which may be far away or never come. Told
    /// before its rows; committed in one phase it ends as [`End::Commit`] all the same.
    fn prepares(&mut self, transaction: &Transaction) {
        let _unused = transaction;
    }

    /// One row change.
    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>);

    /// A rows event of a table with [`Projection::Ignore`].
    fn ignored(&mut self, table: &Table, bytes: usize) {
        let _unused = (table, bytes);
    }

    /// A statement in the log: DDL, account statements, statement-format changes. Not BEGIN,
    /// COMMIT, XA and savepoints.
    fn statement(&mut self, transaction: &Transaction, statement: &Statement<'_>);

    /// The transaction's end; `next` is a position from which the stream can be resumed.
    fn end(&mut self, transaction: &Transaction, end: &End, next: &BinlogPosition);

    /// Something that could not be read.
    fn gap(&mut self, gap: &Gap);
}

//! What could not be read, and why.

use crate::{BinlogPosition, Gtid, TableName};

/// One event (or stretch of bytes) that was not read.
#[derive(Debug, Clone)]
pub struct Gap {
    /// Start of the event.
    pub at: BinlogPosition,
    /// Bytes not read; 0 if unknown.
    pub bytes: u64,
    /// The transaction that it belongs to, if known.
    pub gtid: Option<Gtid>,
    /// The table that it belongs to, if known.
    pub table: Option<TableName>,
    /// Why.
    pub cause: Malformed,
}

/// Why bytes of a binlog were refused. Names, lengths and positions only, never a column value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A field reaches past the end.
    #[error("{field} needs {needed} bytes, {left} are left")]
    Truncated {
        /// Name of the field.
        field: &'static str,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// A feature that this reader does not know.
    #[error("unsupported: {0}")]
    Unsupported(&'static str),
}

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
    /// The event's CRC32 does not fit its bytes.
    #[error("checksum is {found:08x}, the bytes give {computed:08x}")]
    Checksum {
        /// What the event carries.
        found: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The header's event size is not the size of what was handed over, or cannot be one.
    #[error("header claims an event of {claimed} bytes, there are {found}")]
    EventSize {
        /// From the header.
        claimed: u64,
        /// What there is.
        found: u64,
    },
    /// Larger than this reader's limit.
    #[error("{field} of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// What is too large.
        field: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// An event type that this reader does not know, and that is not marked ignorable.
    #[error("unknown event type {code}")]
    UnknownEvent {
        /// The type's number.
        code: u8,
    },
    /// A rows event whose table map was not seen, or was refused.
    #[error("no table map for table id {table_id}")]
    UnmappedTable {
        /// The id.
        table_id: u64,
    },
    /// A column of a type whose length is not known: no row of its table can be read.
    #[error("column {column} has the unsupported type {code}")]
    ColumnType {
        /// 1-based.
        column: u32,
        /// The type's number (`enum_field_types`).
        code: u8,
    },
    /// A number that the format does not allow there.
    #[error("{field} is {value}, at most {max} is allowed")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        value: u64,
        /// What it may hold.
        max: u64,
    },
    /// A column's bytes do not fit its type.
    #[error("{bytes} bytes do not make a {ty}")]
    Value {
        /// Name of the type.
        ty: &'static str,
        /// Length of the value.
        bytes: u64,
    },
    /// A binary JSON document that breaks its format, or is nested too deeply.
    #[error("JSON document: {0}")]
    Json(&'static str),
    /// A row whose images do not hold the columns that name what it is about (row image MINIMAL or
    /// NOBLOB).
    #[error("the row image lacks columns that a rule needs (binlog_row_image is not FULL)")]
    RowImage,
    /// Rows of a table whose columns have no names: which column is which would be a guess.
    #[error(
        "columns without names: binlog_row_metadata is not FULL, and the server has not told names \
         that are known to be the table's at this place"
    )]
    ColumnNames,
    /// A compressed block that does not inflate.
    #[error("{0} does not decompress")]
    Compression(&'static str),
    /// A change of rows logged as text: which rows is not known.
    #[error("change logged as a statement, its rows are not in the log")]
    StatementFormat,
    /// A statement of a kind that this reader does not know: what it changed is not known.
    #[error("statement of an unknown kind")]
    UnknownStatement,
    /// A statement that failed midway on the source.
    #[error("statement failed midway on the source with error {error_code}")]
    PartialStatement {
        /// The server's error number.
        error_code: u16,
    },
    /// An XA transaction was committed whose rows came before what was read.
    #[error("an XA transaction was committed whose rows were prepared before what was read")]
    PreparedUnknown,
    /// More is prepared and not yet committed than is held: what is dropped is not judged, even if
    /// it is committed.
    #[error(
        "more XA transactions are prepared than are held, this one's commit will not be judged"
    )]
    PreparedOverBound,
    /// The source itself lost events.
    #[error("incident {code}: the source lost events")]
    Incident {
        /// Its number; 1 = lost events.
        code: u16,
    },
    /// The file, or the rest of it, is encrypted.
    #[error("encrypted")]
    Encrypted,
    /// The file does not begin like a binlog.
    #[error("not a binlog")]
    NotBinlog,
    /// Bytes between two events that belong to none.
    #[error("no event starts here")]
    NoEvent,
}

impl Malformed {
    /// A word for metric labels, out of a closed set.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Unsupported(_) => "unsupported",
            Self::Checksum { .. } => "checksum",
            Self::EventSize { .. } => "event_size",
            Self::TooLarge { .. } => "too_large",
            Self::UnknownEvent { .. } => "unknown_event",
            Self::UnmappedTable { .. } => "unmapped_table",
            Self::ColumnType { .. } => "column_type",
            Self::OutOfRange { .. } => "out_of_range",
            Self::Value { .. } => "value",
            Self::Json(_) => "json",
            Self::RowImage => "row_image",
            Self::ColumnNames => "column_names",
            Self::Compression(_) => "compression",
            Self::StatementFormat => "statement_format",
            Self::UnknownStatement => "unknown_statement",
            Self::PartialStatement { .. } => "partial_statement",
            Self::PreparedUnknown => "prepared_unknown",
            Self::PreparedOverBound => "prepared_over_bound",
            Self::Incident { .. } => "incident",
            Self::Encrypted => "encrypted",
            Self::NotBinlog => "not_binlog",
            Self::NoEvent => "no_event",
        }
    }
}

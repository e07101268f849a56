//! Row changes, images, cells and decoded values.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::Table;

/// Kind of a row change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// INSERT: after image only.
    Create,
    /// UPDATE: both images.
    Update,
    /// DELETE: before image only.
    Delete,
}

/// One changed row.
#[derive(Debug, Clone, Copy)]
pub struct RowChange<'a> {
    /// Its table.
    pub table: &'a Table,
    /// What the visitor's plan for the table carried.
    pub handle: u32,
    /// Start of the rows event in the file (of the payload event for a row inside one), bytes.
    pub offset: u64,
    /// 0-based in that event, over the whole payload inside one.
    pub row: u64,
    /// 0-based ordinal of the statement in its transaction (ends with STMT_END_F).
    pub statement: u32,
    /// Kind.
    pub op: Op,
    /// What foreign keys do to other tables with this row is done by the storage engine and is not
    /// in the log (MariaDB, MySQL before 9.6); false where it is logged, or where keys are not
    /// checked.
    pub cascades_unseen: bool,
    /// Before image: UPDATE and DELETE.
    pub before: Option<Image<'a>>,
    /// After image: INSERT and UPDATE.
    pub after: Option<Image<'a>>,
}

/// The projected cells of one row image, in the projection's order.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// One cell per projected column.
    pub cells: &'a [Cell<'a>],
}

impl<'a> Image<'a> {
    /// The cell of a projected column; `Absent` beyond the projection.
    #[must_use]
    pub fn cell(&self, slot: usize) -> Cell<'a> {
        self.cells.get(slot).copied().unwrap_or(Cell::Absent)
    }
}

/// One column of a row image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Not in this image (row image MINIMAL or NOBLOB).
    Absent,
    /// SQL NULL.
    Null,
    /// The value's bytes, without its length prefix, as on the wire.
    Value(Bytes<'a>),
    /// A partial JSON update: the diffs' bytes.
    JsonDiff(Bytes<'a>),
}

/// One column value of a row image: patient data. `Debug` prints its length only; there is no
/// `Display` and no `Serialize`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Wraps raw column bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    /// The bytes. Search for callers of this to audit every reader of patient data.
    #[must_use]
    pub fn expose(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// A decoded column value ([`crate::Column::decode`]): patient data, so no `Display`.
#[derive(Clone, PartialEq)]
pub enum Value<'a> {
    /// Signed integer (also where the signedness is unknown).
    Int(i64),
    /// Unsigned integer.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL as MySQL prints it.
    Decimal(String),
    /// DATE `YYYY-MM-DD`.
    Date(String),
    /// DATETIME `YYYY-MM-DD hh:mm:ss[.ffffff]`.
    DateTime(String),
    /// TIMESTAMP in UTC, `YYYY-MM-DD hh:mm:ss[.ffffff]Z` (zero: without `Z`).
    Timestamp(String),
    /// TIME `[-]hhh:mm:ss[.ffffff]`.
    Time(String),
    /// YEAR, 0 or 1901-2155.
    Year(u16),
    /// ENUM: index (0 = the empty error value) and its name if known.
    Enum(u16, Option<Arc<str>>),
    /// SET: bits and, if all are known, the names in definition order.
    Set(u64, Option<Vec<Arc<str>>>),
    /// BIT, most significant bit first, `0101`.
    Bit(String),
    /// MySQL's binary JSON.
    Json(&'a [u8]),
    /// Text, decoded by its character set.
    Text(Cow<'a, str>),
    /// Binary data, or text that is not valid in its character set.
    Binary(Cow<'a, [u8]>),
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<value>")
    }
}

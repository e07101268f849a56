//! A table as its table map describes it.

use std::sync::Arc;

use crate::{Bytes, Malformed, Value};

/// A table map, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The server's table id (unique per table version within a file).
    pub id: u64,
    /// Schema name.
    pub database: Arc<str>,
    /// Table name, with the shop's prefix if it has one.
    pub name: Arc<str>,
    /// Columns in table order.
    pub columns: Vec<Column>,
    /// Indexes of the primary key's columns; empty if unknown.
    pub primary_key: Vec<u16>,
}

/// One column of a table map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// None if neither the log nor the visitor knows it.
    pub name: Option<Arc<str>>,
    /// Type with its metadata.
    pub ty: ColumnType,
    /// None if the log does not say.
    pub unsigned: Option<bool>,
    /// Collation id of a character column (63 = binary), if the log says.
    pub collation: Option<u16>,
    /// Names of an ENUM's or SET's members, in definition order, if the log has them.
    pub members: Arc<[Arc<str>]>,
}

impl Column {
    /// Decodes a cell's bytes.
    ///
    /// # Errors
    /// The bytes do not fit the type.
    pub fn decode<'a>(&self, bytes: Bytes<'a>) -> Result<Value<'a>, Malformed> {
        crate::decode::decode(self, bytes.expose())
    }
}

/// Column type and metadata, as in facts of the wire (MySQL `enum_field_types`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are MySQL's own")]
pub enum ColumnType {
    Tiny,
    Short,
    Int24,
    Long,
    LongLong,
    Float,
    Double,
    Null,
    Year,
    Date,
    Time,
    DateTime,
    Timestamp,
    Time2 {
        fsp: u8,
    },
    DateTime2 {
        fsp: u8,
    },
    Timestamp2 {
        fsp: u8,
    },
    Decimal {
        precision: u8,
        scale: u8,
    },
    Bit {
        bits: u16,
    },
    Enum {
        bytes: u8,
    },
    Set {
        bytes: u8,
    },
    /// CHAR or BINARY of at most `bytes_max` bytes.
    String {
        bytes_max: u16,
    },
    VarChar {
        bytes_max: u16,
    },
    Blob {
        length_bytes: u8,
    },
    Json {
        length_bytes: u8,
    },
    Geometry {
        length_bytes: u8,
    },
    Vector {
        length_bytes: u8,
    },
    /// MariaDB compressed VARCHAR.
    VarCharCompressed {
        bytes_max: u16,
    },
    /// MariaDB compressed BLOB or TEXT.
    BlobCompressed {
        length_bytes: u8,
    },
}

//! MySQL's binary JSON: documents and the differences of partial updates.
//!
//! Input: a byte whose lowest bit says differences, then the bytes. Asserts that what is written
//! is JSON, and not much longer than its source can hold.

use phiwatch_binlog::{Bytes, Cell, Column, ColumnType};

use crate::columns::write;

/// Writes the document or the differences as JSON.
pub fn run(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let column = Column {
        name: Some("c".into()),
        ty: ColumnType::Json { length_bytes: 4 },
        unsigned: None,
        collation: None,
        members: [].into(),
    };
    let bytes = Bytes::new(bytes);
    write(column, if kind & 1 == 1 { Cell::JsonDiff(bytes) } else { Cell::Value(bytes) });
}

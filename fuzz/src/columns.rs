//! One column value of any type, as a value and as JSON.
//!
//! Input: type, two bytes of metadata, signedness, two bytes of collation, number of ENUM or SET
//! members; then the value's bytes. Asserts that the value decodes exactly if its line is written,
//! and that `Debug` of a value shows nothing of it.

use std::sync::Arc;

use phiwatch_binlog::{
    BinlogPosition, Bytes, Cell, Column, ColumnType, EventTime, Image, Op, RowChange, Table,
    Transaction, write_row_json,
};

use crate::lines::check_line;

/// Decodes the value and writes it.
pub fn run(data: &[u8]) {
    let Some((head, value)) = data.split_first_chunk::<7>() else { return };
    let &[code, a, b, sign, low, high, members] = head;
    let name = |index: u8| Arc::from(format!("m{index}"));
    let column = Column {
        name: Some("c".into()),
        ty: column_type(code, a, b),
        unsigned: [None, Some(false), Some(true)][usize::from(sign % 3)],
        collation: Some(u16::from_le_bytes([low, high])).filter(|id| *id != 0),
        members: (0..members % 70).map(name).collect(),
    };
    let decoded = column.decode(Bytes::new(value));
    if let Ok(value) = &decoded {
        assert_eq!(format!("{value:?}"), "<value>");
    }
    let is_json = matches!(column.ty, ColumnType::Json { .. });
    let is_written = write(column, Cell::Value(Bytes::new(value)));
    // A JSON document is looked into only when it is written.
    assert!(is_json || is_written == decoded.is_ok(), "value and line disagree");
}

/// Writes a row with this one cell; whether it was written.
pub fn write(column: Column, cell: Cell<'_>) -> bool {
    let table = Table {
        id: 1,
        database: "d".into(),
        name: "t".into(),
        columns: vec![column],
        primary_key: vec![],
    };
    let transaction = Transaction {
        start: BinlogPosition { file: "f".into(), offset: 4 },
        gtid: None,
        time: EventTime(0),
        server_id: 1,
        thread: None,
    };
    let cells = [cell];
    let change = RowChange {
        table: &table,
        handle: 0,
        offset: 4,
        row: 0,
        statement: 0,
        op: Op::Create,
        cascades_unseen: true,
        before: None,
        after: Some(Image { cells: &cells }),
    };
    let mut line = Vec::new();
    let is_written = write_row_json(&mut line, "f", &transaction, &change).is_ok();
    if is_written {
        check_line(&line);
    } else {
        assert!(line.is_empty(), "a refused row writes nothing");
    }
    is_written
}

fn column_type(code: u8, a: u8, b: u8) -> ColumnType {
    let length_bytes = a % 4 + 1;
    let bytes_max = u16::from_le_bytes([a, b]);
    // Metadata as far as a table map would let it through.
    let fsp = a % 7;
    let precision = a % 65 + 1;
    match code % 28 {
        0 => ColumnType::Tiny,
        1 => ColumnType::Short,
        2 => ColumnType::Int24,
        3 => ColumnType::Long,
        4 => ColumnType::LongLong,
        5 => ColumnType::Float,
        6 => ColumnType::Double,
        7 => ColumnType::Null,
        8 => ColumnType::Year,
        9 => ColumnType::Date,
        10 => ColumnType::Time,
        11 => ColumnType::DateTime,
        12 => ColumnType::Timestamp,
        13 => ColumnType::Time2 { fsp },
        14 => ColumnType::DateTime2 { fsp },
        15 => ColumnType::Timestamp2 { fsp },
        16 => ColumnType::Decimal { precision, scale: (b % 31).min(precision) },
        17 => ColumnType::Bit { bits: u16::from(a % 64) + 1 },
        18 => ColumnType::Enum { bytes: a % 2 + 1 },
        19 => ColumnType::Set { bytes: a % 8 + 1 },
        20 => ColumnType::String { bytes_max },
        21 => ColumnType::VarChar { bytes_max },
        22 => ColumnType::Blob { length_bytes },
        23 => ColumnType::Json { length_bytes },
        24 => ColumnType::Geometry { length_bytes },
        25 => ColumnType::Vector { length_bytes },
        26 => ColumnType::VarCharCompressed { bytes_max },
        _ => ColumnType::BlobCompressed { length_bytes },
    }
}

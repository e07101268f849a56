//! Row changes and gaps as lines of JSON: the `decode` command's format.
//!
//! Input: one row change of a table with [`crate::Projection::All`]. Output: one line with
//! `{"file","pos","row","ts_us","gtid","server_id","thread","db","table","op","before","after"}`,
//! ended by a line feed. A row of which one column does not decode gives no line but an error.

use std::fmt::{Display, LowerExp};
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{
    Cell, Column, Gap, Image, Malformed, Op, RowChange, Transaction, Value, jsonb, jsondiff,
};

/// Appends one line for a row change; every column must have been asked for.
///
/// # Errors
/// A column does not decode: nothing is appended.
pub fn write_row_json(
    out: &mut Vec<u8>,
    file: &str,
    transaction: &Transaction,
    change: &RowChange<'_>,
) -> Result<(), Malformed> {
    let start = out.len();
    let result = row(out, file, transaction, change);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Appends one line for a gap: `{"file","pos","error"}`.
pub fn write_gap_json(out: &mut Vec<u8>, gap: &Gap) {
    out.extend(b"{\"file\":");
    string(out, &gap.at.file);
    out.extend(b",\"pos\":");
    display(out, gap.at.offset);
    out.extend(b",\"error\":");
    let mut error = gap.cause.to_string();
    if let Some(table) = &gap.table {
        error = format!("{}.{}: {error}", table.database, table.table);
    }
    string(out, &error);
    out.extend(b"}\n");
}

fn row(
    out: &mut Vec<u8>,
    file: &str,
    transaction: &Transaction,
    change: &RowChange<'_>,
) -> Result<(), Malformed> {
    out.extend(b"{\"file\":");
    string(out, file);
    out.extend(b",\"pos\":");
    display(out, change.offset);
    out.extend(b",\"row\":");
    display(out, change.row);
    out.extend(b",\"ts_us\":");
    display(out, transaction.time.0);
    out.extend(b",\"gtid\":");
    match &transaction.gtid {
        Some(gtid) => quoted(out, gtid),
        None => out.extend(b"null"),
    }
    out.extend(b",\"server_id\":");
    display(out, transaction.server_id);
    out.extend(b",\"thread\":");
    match transaction.thread {
        Some(thread) => display(out, thread),
        None => out.extend(b"null"),
    }
    out.extend(b",\"db\":");
    string(out, &change.table.database);
    out.extend(b",\"table\":");
    string(out, &change.table.name);
    out.extend(match change.op {
        Op::Create => b",\"op\":\"c\",\"before\":",
        Op::Update => b",\"op\":\"u\",\"before\":",
        Op::Delete => b",\"op\":\"d\",\"before\":",
    });
    image(out, &change.table.columns, change.before, None)?;
    out.extend(b",\"after\":");
    image(out, &change.table.columns, change.after, change.before)?;
    out.extend(b"}\n");
    Ok(())
}

/// `before`: the image that differences are from.
fn image(
    out: &mut Vec<u8>,
    columns: &[Column],
    image: Option<Image<'_>>,
    before: Option<Image<'_>>,
) -> Result<(), Malformed> {
    let base = before;
    let Some(image) = image else {
        out.extend(b"null");
        return Ok(());
    };
    let mut before = b'{';
    for ((column, cell), number) in columns.iter().zip(image.cells).zip(1_u32..) {
        if *cell == Cell::Absent {
            continue;
        }
        out.push(before);
        before = b',';
        match &column.name {
            Some(name) => string(out, name),
            None => quoted(out, format_args!("@{number}")),
        }
        out.push(b':');
        match cell {
            Cell::Absent | Cell::Null => out.extend(b"null"),
            Cell::Value(bytes) => value(out, column.decode(*bytes)?)?,
            Cell::JsonDiff(bytes) => {
                let slot = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
                let base = base.map_or(Cell::Absent, |base| base.cell(slot));
                let start = out.len();
                if write_json_update(out, base, *cell).is_err() {
                    // Not from a document that is here: the differences as they are.
                    out.truncate(start);
                    jsonb::write_diffs(out, bytes.expose())?;
                }
            }
        }
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(())
}

/// Appends the document that a cell of a JSON column holds: of a partial update, what its
/// differences make of the cell `before`.
///
/// # Errors
/// The differences have no document to start from (row image MINIMAL or NOBLOB), do not fit it, or
/// are over a bound; or the cell holds no document. What was appended is of no use then.
pub fn write_json_update(
    out: &mut Vec<u8>,
    before: Cell<'_>,
    cell: Cell<'_>,
) -> Result<(), Malformed> {
    match (cell, before) {
        (Cell::Value(document), _) => jsonb::write(out, document.expose()),
        (Cell::JsonDiff(diffs), Cell::Value(document)) => {
            jsondiff::write_applied(out, document.expose(), diffs.expose())
        }
        (Cell::JsonDiff(_), _) => Err(Malformed::Json("a difference without its document")),
        (Cell::Null | Cell::Absent, _) => Err(Malformed::Json("no document")),
    }
}

fn value(out: &mut Vec<u8>, value: Value<'_>) -> Result<(), Malformed> {
    match value {
        Value::Int(number) => display(out, number),
        Value::UInt(number) => display(out, number),
        Value::Float(number) => float(out, number, number.is_finite()),
        Value::Double(number) => float(out, number, number.is_finite()),
        Value::Decimal(text)
        | Value::Date(text)
        | Value::DateTime(text)
        | Value::Timestamp(text)
        | Value::Time(text) => string(out, &text),
        Value::Year(year) => display(out, year),
        Value::Enum(0, _) => out.extend(b"\"\""),
        Value::Enum(_, Some(name)) => string(out, &name),
        Value::Enum(index, None) => display(out, index),
        Value::Set(bits, None) => display(out, bits),
        Value::Set(_, Some(names)) => {
            out.push(b'[');
            for (index, name) in names.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(out, name);
            }
            out.push(b']');
        }
        Value::Bit(digits) => quoted(out, format_args!("b'{digits}'")),
        Value::Json(document) => jsonb::write(out, document)?,
        Value::Text(text) => string(out, &text),
        Value::Binary(bytes) => {
            out.extend(b"{\"base64\":\"");
            // In pieces of whole groups, so that a large value is not held twice.
            for piece in bytes.chunks(3 << 12) {
                out.extend(STANDARD.encode(piece).as_bytes());
            }
            out.extend(b"\"}");
        }
    }
    Ok(())
}

/// The shortest decimal that reads back to the same number; JSON has no NaN and no infinity.
pub(crate) fn float<N: std::fmt::Debug + Display + LowerExp>(
    out: &mut Vec<u8>,
    number: N,
    is_finite: bool,
) {
    if is_finite {
        // Debug changes to an exponent where Display would print up to 300 zeros.
        display(out, format_args!("{number:?}"));
    } else {
        quoted(out, format_args!("{number}"));
    }
}

pub(crate) fn display(out: &mut Vec<u8>, value: impl Display) {
    // Writing to a vector cannot fail.
    if write!(out, "{value}").is_err() {
        out.extend(b"null");
    }
}

/// Something whose text needs no escapes.
fn quoted(out: &mut Vec<u8>, value: impl Display) {
    out.push(b'"');
    display(out, value);
    out.push(b'"');
}

/// A JSON string (RFC 8259).
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(size) = rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')) {
        let (plain, tail) = rest.split_at_checked(size).unwrap_or((rest, &[]));
        out.extend(plain);
        let Some((special, tail)) = tail.split_first() else { break };
        match special {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            control => display(out, format_args!("\\u{control:04x}")),
        }
        rest = tail;
    }
    out.extend(rest);
    out.push(b'"');
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;

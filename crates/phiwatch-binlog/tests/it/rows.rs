//! Row for row and column for column: the decoder against the server's own reader.

use std::sync::Arc;

use phiwatch_binlog::{
    Bytes, Cell, Column, ColumnType, End, Gap, Image, Op, Plan, Projection, RowChange, Statement,
    Table, Transaction, Value, Visitor, write_row_json,
};

use crate::oracle::{OracleCell, OracleRow};
use crate::{files, oracle};

/// A row as the visitor saw it.
pub struct Row {
    at: u64,
    gtid: Option<String>,
    thread: Option<u32>,
    op: Op,
    table: String,
    columns: Arc<[Column]>,
    before: Option<Vec<Option<Owned>>>,
    after: Option<Vec<Option<Owned>>>,
    line: String,
}

/// A cell's bytes.
enum Owned {
    Null,
    Value(Vec<u8>),
    Diff(Vec<u8>),
}

#[derive(Default)]
struct Recorder {
    rows: Vec<Row>,
    gaps: Vec<Gap>,
}

impl Visitor for Recorder {
    fn table(&mut self, _: &Table) -> Plan {
        Plan { projection: Projection::All, handle: 7 }
    }
    fn begin(&mut self, _: &Transaction) {}
    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        assert_eq!(change.handle, 7);
        let mut line = Vec::new();
        write_row_json(&mut line, "f", transaction, change).unwrap();
        self.rows.push(Row {
            at: change.offset,
            gtid: transaction.gtid.as_ref().map(ToString::to_string),
            thread: transaction.thread,
            op: change.op,
            table: format!("{}.{}", change.table.database, change.table.name),
            columns: change.table.columns.clone().into(),
            before: change.before.map(own),
            after: change.after.map(own),
            line: String::from_utf8(line).unwrap(),
        });
    }
    fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {}
    fn end(&mut self, _: &Transaction, end: &End, _: &phiwatch_binlog::BinlogPosition) {
        assert_ne!(*end, End::Torn);
    }
    fn gap(&mut self, gap: &Gap) {
        self.gaps.push(gap.clone());
    }
}

fn own(image: Image<'_>) -> Vec<Option<Owned>> {
    let one = |cell: &Cell<'_>| match cell {
        Cell::Absent => None,
        Cell::Null => Some(Owned::Null),
        Cell::Value(bytes) => Some(Owned::Value(bytes.expose().to_vec())),
        Cell::JsonDiff(bytes) => Some(Owned::Diff(bytes.expose().to_vec())),
    };
    image.cells.iter().map(one).collect()
}

#[test]
fn recorded_rows_equal_the_servers_own_reader() {
    let mut compared = 0;
    for (name, bytes) in files::binlogs() {
        let mut recorder = Recorder::default();
        files::decode(&name, &bytes, &mut recorder);
        let want = oracle::read(&name);
        let tables: Vec<_> = recorder.rows.iter().map(|row| (&row.table, row.op)).collect();
        let oracle: Vec<_> = want.iter().map(|row| (&row.table, row.op)).collect();
        let differs = tables.iter().zip(&oracle).position(|(a, b)| a != b);
        assert_eq!(tables.len(), oracle.len(), "{name}: first difference at {differs:?}");
        for (row, want) in recorder.rows.iter().zip(&want) {
            // Events in a payload have the payload's end.
            let end = row.at + u64::from(event_bytes(&bytes, row.at));
            assert!(
                want.place.at.contains(&row.at) || want.place.at.contains(&end),
                "{name} {}",
                row.at
            );
            compare(&name, row, want);
            compared += 1;
        }
        if !name.contains("statements") {
            let unexpected =
                recorder.gaps.iter().find(|gap| gap.cause.label() != "statement_format");
            assert!(unexpected.is_none(), "{name}: {unexpected:?}");
        }
    }
    assert!(compared > 3_000, "{compared} rows");
}

fn event_bytes(file: &[u8], at: u64) -> u32 {
    let header = &file[usize::try_from(at).unwrap()..];
    phiwatch_binlog::framing::Header::parse(header).unwrap().event_bytes
}

#[track_caller]
fn compare(name: &str, row: &Row, want: &OracleRow) {
    let place = format!("{name} at {} {}", row.at, row.table);
    assert_eq!(row.op, want.op, "{place}");
    assert_eq!((&row.table, &row.gtid), (&want.table, &want.place.gtid), "{place}");
    assert_eq!(row.thread, want.place.thread, "{place}");
    image(&place, row, row.before.as_deref(), want.before.as_deref());
    // It stops printing a row at the first GEOMETRY.
    let unknown = |cell: &OracleCell| cell.text.starts_with(b"!! ");
    if want.after.is_some() || !want.before.iter().flatten().any(unknown) {
        image(&place, row, row.after.as_deref(), want.after.as_deref());
    }
    let line: serde_json::Value = serde_json::from_str(&row.line).unwrap();
    assert_eq!(line["pos"], row.at, "{place}");
    if let Some(time_us) = want.place.time_us {
        assert_eq!(line["ts_us"], time_us, "{place}");
    }
}

fn image(place: &str, row: &Row, got: Option<&[Option<Owned>]>, want: Option<&[OracleCell]>) {
    assert_eq!(got.is_some(), want.is_some(), "{place}");
    let (Some(got), Some(want)) = (got, want) else { return };
    let stops = want.iter().any(|cell| cell.text.starts_with(b"!! Don't know"));
    let present = got.iter().filter(|cell| cell.is_some()).count();
    assert!(present == want.len() || stops, "{place}: {present} columns, not {}", want.len());
    for cell in want {
        let column = &row.columns[cell.column - 1];
        let place = format!("{place} column {} {}", cell.column, cell.ty);
        let text = String::from_utf8_lossy(&cell.text).into_owned();
        if text.starts_with("!! ") {
            continue;
        }
        match &got[cell.column - 1] {
            None => panic!("{place} is absent"),
            Some(Owned::Null) => assert_eq!(text, "NULL", "{place}"),
            Some(Owned::Diff(diff)) => {
                // Nested calls are broken over lines.
                let text = text.replace("(      ", "(").replace(",      ", ", ");
                assert_eq!(calls(cell.column, diff), text, "{place}");
            }
            Some(Owned::Value(bytes)) => value(&place, column, bytes, cell, &text),
        }
    }
}

fn value(place: &str, column: &Column, bytes: &[u8], want: &OracleCell, text: &str) {
    let is_maria = place.starts_with("mariadb");
    let decoded = column.decode(Bytes::new(bytes)).unwrap();
    match (column.ty, decoded) {
        (_, Value::Int(number)) => {
            assert_eq!(text.split(' ').next().unwrap(), number.to_string(), "{place}")
        }
        (_, Value::UInt(number)) => {
            let unsigned = text.split(['(', ')']).nth(1).unwrap_or(text);
            assert_eq!(unsigned, number.to_string(), "{place}");
        }
        (_, Value::Float(number)) => {
            let want: f32 = text.trim().parse().unwrap();
            assert!((number - want).abs() <= want.abs() * 1e-5, "{place}: {number} {want}");
        }
        (_, Value::Double(number)) => assert_eq!(number, text.parse::<f64>().unwrap(), "{place}"),
        (_, Value::Decimal(number)) => assert_eq!(number, text, "{place}"),
        (_, Value::Date(date)) => {
            assert_eq!(format!("'{}'", date.replace('-', ":")), text, "{place}")
        }
        (_, Value::DateTime(time) | Value::Time(time)) => {
            assert_eq!(format!("'{time}'"), text, "{place}")
        }
        (_, Value::Timestamp(time)) => assert_eq!(epoch(&time), text, "{place}"),
        (_, Value::Year(0)) => assert_eq!(text, "1900", "{place}"),
        (_, Value::Year(year)) => assert_eq!(year.to_string(), text, "{place}"),
        (_, Value::Enum(index, name)) => {
            assert_eq!(index.to_string(), text, "{place}");
            assert!(name.is_some() || index == 0 || column.members.is_empty(), "{place}");
        }
        (_, Value::Set(bits, _)) => {
            // The oracle prints the bytes as they come, the lowest first.
            let bytes = bits.to_le_bytes();
            let width = (text.len() - 3) / 8;
            let digits: String = bytes[..width].iter().map(|byte| format!("{byte:08b}")).collect();
            assert_eq!(format!("b'{digits}'"), text, "{place}");
        }
        (_, Value::Bit(digits)) => assert_eq!(format!("b'{digits}'"), text, "{place}"),
        (_, Value::Json(_)) => json(place, column, bytes, text),
        (ColumnType::Vector { .. }, _) => vector(place, bytes, text),
        (_, Value::Text(_) | Value::Binary(_)) => {
            let escaped = if is_maria { escape_maria(bytes) } else { escape_mysql(bytes) };
            assert!(want.text == escaped, "{place}: {text}");
        }
    }
}

fn escape_maria(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in bytes {
        match byte {
            0..=0x1f => out.extend(format!("\\x{byte:02x}").bytes()),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

fn escape_mysql(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'\t' => out.extend(b"\\t"),
            b'\r' => out.extend(b"\\r"),
            8 => out.extend(b"\\b"),
            12 => out.extend(b"\\f"),
            b'\\' | b'\'' => out.extend([b'\\', *byte]),
            0..=0x1f => out.extend(format!("\\x{byte:02x}").bytes()),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

/// Undoes the escapes of a literal, without its quotes.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('x')) => {
                let digits: String = chars.by_ref().take(2).collect();
                out.push(char::from(u8::from_str_radix(&digits, 16).unwrap()));
            }
            ('\\', Some(other)) => out.push(other),
            _ => out.push(c),
        }
    }
    out
}

fn json_text(column: &Column, bytes: &[u8]) -> String {
    // Through the public writer: one column, one row.
    let table = Table {
        id: 0,
        database: "".into(),
        name: "".into(),
        columns: vec![Column { name: Some("j".into()), ..column.clone() }],
        primary_key: Vec::new(),
    };
    let cells = [Cell::Value(Bytes::new(bytes))];
    let transaction = Transaction {
        start: phiwatch_binlog::BinlogPosition { file: "".into(), offset: 0 },
        gtid: None,
        time: phiwatch_binlog::EventTime(0),
        server_id: 0,
        thread: None,
    };
    let after = Some(Image { cells: &cells });
    let change = RowChange {
        table: &table,
        handle: 0,
        offset: 0,
        row: 0,
        statement: 0,
        op: Op::Create,
        cascades_unseen: false,
        before: None,
        after,
    };
    let mut out = Vec::new();
    write_row_json(&mut out, "", &transaction, &change).unwrap();
    let line = String::from_utf8(out).unwrap();
    line.split_once("\"after\":{\"j\":").unwrap().1.trim_end_matches("}}\n").to_owned()
}

fn json(place: &str, column: &Column, bytes: &[u8], text: &str) {
    let want = unescape(text.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap());
    let got = json_text(column, bytes);
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text);
    match (parse(&got), parse(&want)) {
        // A string at the top stands without its quotes.
        (Ok(serde_json::Value::String(got)), _) => assert_eq!(got, want, "{place}"),
        (Ok(got), Ok(want)) => assert_eq!(got, want, "{place}"),
        (got, want) => panic!("{place}: {got:?} {want:?}"),
    }
}

fn vector(place: &str, bytes: &[u8], text: &str) {
    let numbers = bytes.chunks(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap()));
    let want = text.trim_matches(['[', ']']).split(',').filter(|number| !number.is_empty());
    let want: Vec<f32> = want.map(|number| number.parse().unwrap()).collect();
    assert_eq!(bytes.len(), want.len() * 4, "{place}");
    for (got, want) in numbers.zip(want) {
        assert!((got - want).abs() <= want.abs() * 1e-5, "{place}: {got} {want}");
    }
}

/// Seconds since 1970 with the fraction, as the oracle prints TIMESTAMP.
fn epoch(time: &str) -> String {
    let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction).trim_end_matches('Z');
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    if time.starts_with("0000") {
        return format!("0{fraction}");
    }
    let parts: Vec<i64> =
        (time[..19].split(['-', ' ', ':'])).map(|part| part.parse().unwrap()).collect();
    let &[year, month, day, hour, minute, second] = parts.as_slice() else { panic!("{time}") };
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let months = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: i64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let days = years + months[..usize::try_from(month).unwrap() - 1].iter().sum::<i64>() + day - 1;
    format!("{}{fraction}", ((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// A partial update as the oracle prints it: nested calls, the last diff outermost.
fn calls(column: usize, diff: &[u8]) -> String {
    let mut text = format!("@{column}");
    let mut diffs = diff;
    let mut open: Option<u8> = None;
    while let [op, tail @ ..] = diffs {
        let (path, tail) = short(tail);
        let name = ["JSON_REPLACE", "JSON_INSERT", "JSON_REMOVE"][usize::from(*op)];
        let path = String::from_utf8_lossy(path);
        let mut argument = format!(", '{path}'");
        diffs = tail;
        if *op != 2 {
            let (value, tail) = short(tail);
            diffs = tail;
            argument = format!("{argument}, {}", literal(value));
        }
        // Neighbours of one kind share a call.
        if open == Some(*op) {
            text = format!("{}{argument})", text.strip_suffix(')').unwrap());
        } else {
            text = format!("{name}({text}{argument})");
        }
        open = Some(*op);
    }
    text
}

fn short(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes[1..].split_at(usize::from(bytes[0]))
}

fn literal(value: &[u8]) -> String {
    let column = Column {
        name: None,
        ty: ColumnType::Json { length_bytes: 4 },
        unsigned: None,
        collation: None,
        members: Arc::new([]),
    };
    let text = json_text(&column, value);
    match text.as_bytes()[0] {
        b'{' | b'[' => format!("CAST('{}' AS JSON)", text.replace("\":", "\": ")),
        b'"' => format!("'{}'", text.trim_matches('"')),
        _ => text,
    }
}

#[test]
fn text_is_decoded_by_its_character_set() {
    for server in ["mysql-9.7", "mariadb-10.11", "mariadb-11.8"] {
        let mut recorder = Recorder::default();
        let name = format!("{server}/all-types-full.binlog");
        files::decode(&name, &files::binlog(&name), &mut recorder);
        let texts = recorder.rows.iter().filter(|row| row.table == "types.texts");
        let lines = texts.map(|row| serde_json::from_str::<serde_json::Value>(&row.line).unwrap());
        let after = lines.map(|line| line["after"].clone()).find(|after| after["id"] == 4).unwrap();
        // latin1, ascii, utf8mb3, utf16, cp1251, and BINARY as it is on the wire.
        let want = [
            ("c", "é漢😀"),
            ("cl", "éÿ€"),
            ("vl", "naïve €\u{81}\u{8d}\u{8f}\u{90}\u{9d}ÿ"),
            ("va", "ascii"),
            ("v3", "Привет"),
            ("vu", "漢字😀"),
            ("vc", "Привет"),
            ("txl", "ÀÿŸ"),
        ];
        for (column, want) in want {
            assert_eq!(after[column], want, "{server} {column}");
        }
        assert_eq!(after["b"], serde_json::json!({"base64": "AP8="}), "{server}");
    }
}

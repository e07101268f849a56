//! Tests of the lines, with values and documents built by hand.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{BinlogPosition, Bytes, ColumnType, EventTime, Gtid, Table};

fn text(write: impl FnOnce(&mut Vec<u8>) -> Result<(), Malformed>) -> Result<String, Malformed> {
    let mut out = Vec::new();
    write(&mut out).map(|()| String::from_utf8(out).unwrap())
}

#[track_caller]
fn check(document: &[u8], want: Option<&str>) {
    let got = text(|out| jsonb::write(out, document));
    assert_eq!(got.as_deref().ok(), want, "{got:?}");
    if let Ok(got) = got {
        serde_json::from_str::<serde_json::Value>(&got).unwrap();
    }
}

/// A small array of the given entries (type, inlined or offset) and data behind them.
fn array(entries: &[(u8, u16)], data: &[u8]) -> Vec<u8> {
    let size = u16::try_from(4 + 3 * entries.len() + data.len()).unwrap();
    let count = u16::try_from(entries.len()).unwrap();
    let mut out = [count.to_le_bytes(), size.to_le_bytes()].concat();
    for (kind, value) in entries {
        out.push(*kind);
        out.extend(value.to_le_bytes());
    }
    out.extend(data);
    out
}

fn nested(depth: usize) -> Vec<u8> {
    let inner = (1..depth).fold(array(&[], &[]), |inner, _| array(&[(2, 7)], &inner));
    [&[2][..], &inner].concat()
}

#[test]
fn scalars() {
    check(&[], Some("null"));
    check(&[4, 1], Some("true"));
    check(&[4, 9], None);
    check(&[5, 0xff, 0xff], Some("-1"));
    check(&[10, 255, 255, 255, 255, 255, 255, 255, 255], Some("18446744073709551615"));
    check(&[&[11][..], &1.5_f64.to_le_bytes()].concat(), Some("1.5"));
    check(&[&[11][..], &1e300_f64.to_le_bytes()].concat(), Some("1e300"));
    check(&[&[11][..], &f64::NAN.to_le_bytes()].concat(), Some("\"NaN\""));
    check(b"\x0c\x04a\"\\\n", Some(r#""a\"\\\n""#));
    check(b"\x0c\x02\xff\xff", None);
    check(b"\x0c\x80\x80\x80\x80\x80\x00", None);
    check(&[99], None);
}

#[test]
fn opaque_values() {
    check(&[15, 246, 4, 4, 2, 0x80 + 12, 50], Some("12.50"));
    let packed = |kind: u8, packed: i64| [&[15, kind, 8][..], &packed.to_le_bytes()].concat();
    let day = (2_024 * 13 + 2) << 5 | 29;
    check(&packed(10, (day << 17) << 24), Some("\"2024-02-29\""));
    check(&packed(12, ((day << 17 | 1 << 12) << 24) | 5), Some("\"2024-02-29 01:00:00.000005\""));
    check(&packed(11, -((1 << 12) << 24)), Some("\"-01:00:00.000000\""));
    check(&[15, 252, 3, 1, 2, 3], Some("\"base64:type252:AQID\""));
}

#[test]
fn containers() {
    check(&[&[2][..], &array(&[(5, 7), (4, 0), (12, 10)], b"\x02hi")].concat(), None);
    check(
        &[&[2][..], &array(&[(5, 7), (4, 0), (12, 13)], b"\x02hi")].concat(),
        Some("[7,null,\"hi\"]"),
    );
    // {"k":1}: count, size, key entry (offset, length), value entry, key.
    let object = [1, 0, 12, 0, 11, 0, 1, 0, 5, 1, 0, b'k'];
    check(&[&[0][..], &object].concat(), Some("{\"k\":1}"));
    check(&[2, 255, 255, 4, 0], None);
    check(&[2, 0, 0, 9, 0], None);
}

#[test]
fn depth_100_is_read_and_101_is_refused() {
    check(&nested(100), Some(&format!("{}{}", "[".repeat(100), "]".repeat(100))));
    check(&nested(101), None);
}

#[test]
fn shared_offsets_do_not_multiply() {
    // Each array's ten entries all point at the same next array.
    let mut inner = array(&[(5, 1); 10], &[]);
    for _ in 0..20 {
        inner = array(&[(2, 34); 10], &inner);
    }
    check(&[&[2][..], &inner].concat(), None);
    // Ten strings at the same place.
    let long = [&[100][..], &[b'a'; 100]].concat();
    check(&[&[2][..], &array(&[(12, 34); 10], &long)].concat(), None);
}

#[test]
fn diffs() {
    let got = text(|out| jsonb::write_diffs(out, b"\0\x03$.a\x03\x05\x07\0\x02\x03$.b"));
    let want =
        r#"{"json_diff":[{"op":"replace","path":"$.a","value":7},{"op":"remove","path":"$.b"}]}"#;
    assert_eq!(got.as_deref(), Ok(want));
    assert_eq!(text(|out| jsonb::write_diffs(out, b"")).as_deref(), Ok(r#"{"json_diff":[]}"#));
    assert!(text(|out| jsonb::write_diffs(out, b"\x05\x01$")).is_err());
}

fn column(name: Option<&str>, ty: ColumnType) -> Column {
    let members: Arc<[Arc<str>]> = Arc::new(["x".into(), "y".into()]);
    Column { name: name.map(Into::into), ty, unsigned: None, collation: None, members }
}

fn line(columns: Vec<Column>, cells: &[Cell<'_>]) -> Result<String, Malformed> {
    let table =
        Table { id: 1, database: "d".into(), name: "t".into(), columns, primary_key: vec![] };
    let transaction = Transaction {
        start: BinlogPosition { file: "f".into(), offset: 4 },
        gtid: Some(Gtid::MariaDb { domain: 0, server_id: 1, sequence: 2 }),
        time: EventTime(5),
        server_id: 1,
        thread: None,
    };
    let change = RowChange {
        table: &table,
        handle: 0,
        offset: 120,
        row: 3,
        statement: 0,
        op: Op::Create,
        cascades_unseen: false,
        before: None,
        after: Some(Image { cells }),
    };
    text(|out| write_row_json(out, "f", &transaction, &change))
}

#[test]
fn a_row_is_one_line() {
    let value = |bytes| Cell::Value(Bytes::new(bytes));
    let columns = vec![
        column(Some("id"), ColumnType::Long),
        column(None, ColumnType::Enum { bytes: 1 }),
        column(Some("s"), ColumnType::Set { bytes: 1 }),
        column(Some("f"), ColumnType::Float),
        column(Some("b"), ColumnType::Bit { bits: 4 }),
        column(Some("x"), ColumnType::Blob { length_bytes: 1 }),
        column(Some("gone"), ColumnType::Tiny),
        column(Some("n"), ColumnType::Tiny),
    ];
    let float = 0.1_f32.to_le_bytes();
    let cells = [
        value(&[1, 0, 0, 0]),
        value(&[2]),
        value(&[3]),
        value(&float),
        value(&[5]),
        value(b"\xff"),
        Cell::Absent,
        Cell::Null,
    ];
    let want = r#"{"file":"f","pos":120,"row":3,"ts_us":5,"gtid":"0-1-2","server_id":1,"thread":null,"db":"d","table":"t","op":"c","before":null,"after":{"id":1,"@2":"y","s":["x","y"],"f":0.1,"b":"b'0101'","x":{"base64":"/w=="},"n":null}}"#;
    assert_eq!(line(columns, &cells).as_deref(), Ok(&*format!("{want}\n")));
    assert!(line(vec![], &[]).unwrap().ends_with("\"after\":{}}\n"));
}

#[test]
fn a_column_that_does_not_decode_takes_the_line_with_it() {
    let mut out = b"before".to_vec();
    let cells = [Cell::Value(Bytes::new(&[1]))];
    assert!(line(vec![column(None, ColumnType::Long)], &cells).is_err());
    let table = Table {
        id: 1,
        database: "d".into(),
        name: "t".into(),
        columns: vec![column(None, ColumnType::Long)],
        primary_key: vec![],
    };
    let failed = image(&mut out, &table.columns, Some(Image { cells: &cells }), None);
    assert!(failed.is_err());
}

#[test]
fn gaps_name_place_and_cause() {
    let gap = Gap {
        at: BinlogPosition { file: "b.1".into(), offset: 9 },
        bytes: 0,
        gtid: None,
        table: None,
        cause: Malformed::UnknownEvent { code: 99 },
    };
    let mut out = Vec::new();
    write_gap_json(&mut out, &gap);
    assert_eq!(out, b"{\"file\":\"b.1\",\"pos\":9,\"error\":\"unknown event type 99\"}\n");
}

proptest! {
    #[test]
    fn any_document_ends(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..4_u8) {
        let document = [&[kind][..], &bytes].concat();
        if let Ok(text) = text(|out| jsonb::write(out, &document)) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
        let _ignored = text(|out| jsonb::write_diffs(out, &bytes));
    }
}

//! What readers of the binlog have failed at, on recorded binlogs: one test a failure.

use std::collections::BTreeMap;

use phiwatch_binlog::{
    BinlogPosition, End, Gap, Malformed, Plan, Projection, RowChange, Statement, Table,
    Transaction, Visitor, write_row_json,
};
use serde_json::{Value, json};

use crate::files;

/// Row changes as JSON lines, and gaps.
#[derive(Default)]
struct Lines {
    rows: Vec<Value>,
    gaps: Vec<Gap>,
    statements: usize,
}

impl Visitor for Lines {
    fn table(&mut self, _: &Table) -> Plan {
        Plan { projection: Projection::All, handle: 0 }
    }
    fn begin(&mut self, _: &Transaction) {}
    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        let mut line = Vec::new();
        write_row_json(&mut line, "f", transaction, change).unwrap();
        self.rows.push(serde_json::from_slice(&line).unwrap());
    }
    fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {
        self.statements += 1;
    }
    fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {}
    fn gap(&mut self, gap: &Gap) {
        self.gaps.push(gap.clone());
    }
}

fn lines(name: &str) -> Lines {
    let mut lines = Lines::default();
    files::decode(name, &files::binlog(name), &mut lines);
    // A system-versioned table has the clock of its recording in its rows.
    lines.rows.retain(|row| row["table"] != "versioned");
    lines
}

/// What a row says, without where and when it stands.
fn content(row: &Value) -> Value {
    json!([row["table"], row["op"], row["before"], row["after"]])
}

#[track_caller]
fn same_rows(one: &str, other: &str) {
    let (one_rows, other_rows) = (lines(one), lines(other));
    assert!(one_rows.rows.len() > 20, "{one}: {}", one_rows.rows.len());
    assert_eq!(one_rows.rows.len(), other_rows.rows.len(), "{one} {other}");
    for (a, b) in one_rows.rows.iter().zip(&other_rows.rows) {
        assert_eq!(content(a), content(b), "{one} {other}");
    }
    assert!(one_rows.gaps.is_empty() && other_rows.gaps.is_empty());
}

#[test]
fn field_01_compressed_transactions_have_the_same_rows() {
    same_rows("mysql-9.7/all-types-full.binlog", "mysql-9.7/all-types-compressed.binlog");
    same_rows("mysql-9.7/transactions.binlog", "mysql-9.7/transactions-compressed.binlog");
    same_rows("mysql-9.7/big-values.binlog", "mysql-9.7/big-values-compressed.binlog");
}

#[test]
fn field_05_compressed_events_of_mariadb_have_the_same_rows() {
    for version in ["mariadb-10.11", "mariadb-11.8"] {
        for name in ["all-types", "big-values"] {
            let plain = if name == "all-types" { "all-types-full" } else { name };
            same_rows(
                &format!("{version}/{plain}.binlog"),
                &format!("{version}/{name}-compressed.binlog"),
            );
        }
    }
}

#[test]
fn field_03_changes_as_text_are_gaps_with_their_table_and_never_text() {
    for version in ["mysql-9.7", "mariadb-10.11", "mariadb-11.8"] {
        let lines = lines(&format!("{version}/statements.binlog"));
        let of_text: Vec<&Gap> =
            lines.gaps.iter().filter(|gap| gap.cause == Malformed::StatementFormat).collect();
        assert!(of_text.len() >= 4, "{version}: {}", of_text.len());
        for gap in &of_text {
            let table = gap.table.as_ref().unwrap();
            assert_eq!((&*table.database, &*table.table), ("types", "st"), "{version}");
            assert!(!format!("{gap:?}").contains("by statement"), "{gap:?}");
        }
    }
}

#[test]
fn field_36_the_null_bitmap_of_a_partial_image_counts_its_own_columns() {
    for version in ["mysql-9.7", "mariadb-10.11", "mariadb-11.8"] {
        let (full, minimal) = (
            lines(&format!("{version}/all-types-full.binlog")),
            lines(&format!("{version}/all-types-minimal.binlog")),
        );
        assert_eq!(full.rows.len(), minimal.rows.len(), "{version}");
        let mut keys_only = 0;
        for (whole, part) in full.rows.iter().zip(&minimal.rows) {
            assert_eq!((&whole["table"], &whole["op"]), (&part["table"], &part["op"]));
            for image in ["before", "after"] {
                for (name, value) in part[image].as_object().into_iter().flatten() {
                    assert_eq!(value, &whole[image][name], "{version} {} {name}", whole["table"]);
                }
            }
            let (before, all) = (part["before"].as_object(), whole["before"].as_object());
            if let (Some(before), Some(all)) = (before, all)
                && before.len() < all.len()
            {
                keys_only += 1;
                assert!(before.values().any(|value| !value.is_null()), "{version}: key is NULL");
            }
        }
        assert!(keys_only >= 3, "{version}: {keys_only}");
    }
}

/// Values of the tables `all-types` by table and column, over all its rows.
fn values(name: &str) -> BTreeMap<(String, String), Vec<Value>> {
    let mut found: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for row in lines(name).rows {
        for image in ["before", "after"] {
            for (column, value) in row[image].as_object().into_iter().flatten() {
                let key = (row["table"].as_str().unwrap().to_owned(), column.clone());
                found.entry(key).or_default().push(value.clone());
            }
        }
    }
    found
}

#[test]
fn field_38_values_that_others_get_wrong() {
    for version in ["mysql-9.7", "mariadb-10.11", "mariadb-11.8"] {
        let all: Vec<Value> =
            values(&format!("{version}/all-types-full.binlog")).into_values().flatten().collect();
        let has = |value: Value| {
            assert!(all.contains(&value), "{version}: no {value}");
        };
        // Unsigned and signed extremes of every width.
        has(json!(u64::MAX));
        has(json!(i64::MIN));
        has(json!(-8_388_608));
        has(json!(16_777_215));
        // TIME below zero and beyond a day, zero dates.
        has(json!("-838:59:59"));
        has(json!("838:59:59"));
        has(json!("0000-00-00"));
        // Geometry is bytes, as is text that is not valid in its character set.
        assert!(all.iter().any(|value| value.get("base64").is_some()), "{version}");
    }
}

#[test]
fn field_38_temporals_of_before_5_6() {
    for version in ["mariadb-10.11", "mariadb-11.8"] {
        let lines = lines(&format!("{version}/old-temporals.binlog"));
        let row = |index: usize| &lines.rows[index]["after"];
        assert_eq!(
            row(0),
            &json!({"id": 1, "t": "-838:59:59", "dt": "1000-01-01 00:00:00",
                "ts": "1970-01-01 00:00:01Z", "v": "a"}),
        );
        let zero = "0000-00-00 00:00:00";
        assert_eq!(row(2), &json!({"id": 3, "t": "00:00:00", "dt": zero, "ts": zero, "v": "c"}));
        assert_eq!(row(3)["t"], "-00:00:01");
        assert_eq!(row(4), &json!({"id": 5, "t": null, "dt": null, "ts": null, "v": null}));
        assert_eq!(lines.rows[5]["after"]["t"], "25:01:02");
        assert!(lines.gaps.is_empty());
    }
}

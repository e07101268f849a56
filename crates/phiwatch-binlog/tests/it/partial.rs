//! Partial JSON updates of a recorded binlog: the document that a row's differences make is the
//! one that the row's next image holds whole.

use std::collections::BTreeMap;

use phiwatch_binlog::{
    BinlogPosition, End, Gap, Plan, Projection, RowChange, Statement, Table, Transaction, Visitor,
    write_row_json,
};
use serde_json::Value;

use crate::files;

#[derive(Default)]
struct Documents {
    lines: Vec<Value>,
    gaps: usize,
}

impl Visitor for Documents {
    fn table(&mut self, _: &Table) -> Plan {
        Plan { projection: Projection::All, handle: 0 }
    }
    fn begin(&mut self, _: &Transaction) {}
    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        let mut line = Vec::new();
        write_row_json(&mut line, "f", transaction, change).unwrap();
        self.lines.push(serde_json::from_slice(&line).unwrap());
    }
    fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {}
    fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {}
    fn gap(&mut self, _: &Gap) {
        self.gaps += 1;
    }
}

fn rows(name: &str) -> Vec<Value> {
    let (name, bytes) = files::binlogs().into_iter().find(|(file, _)| file == name).unwrap();
    let mut documents = Documents::default();
    files::decode(&name, &bytes, &mut documents);
    assert_eq!(documents.gaps, 0);
    documents.lines
}

#[test]
fn field_04_partial_updates_make_the_document_that_comes_next() {
    let mut last: BTreeMap<u64, Value> = BTreeMap::new();
    let mut compared = 0;
    let lines = rows("mysql-9.7/partial-json.binlog");
    for line in lines.iter().filter(|line| line["table"] == "doc") {
        let before = &line["before"];
        if let Some(known) = before["id"].as_u64().and_then(|id| last.get(&id)) {
            assert_eq!(known, before, "the next image of the row");
            compared += 1;
        }
        let after = &line["after"];
        assert!(!after.to_string().contains("json_diff"), "{after}");
        if let Some(id) = after["id"].as_u64() {
            last.insert(id, after.clone());
        }
    }
    assert!(compared >= 10, "{compared}");
    // Row 1 was deleted; what its differences made over five updates stood in its last image.
    assert_eq!(last[&2]["j"], Value::Null);
    assert_eq!(last[&3]["j"], serde_json::json!({"whole": "new"}));
}

#[test]
fn differences_without_a_document_are_told_as_they_are() {
    let lines = rows("mysql-9.7/partial-json-minimal.binlog");
    let diffs: Vec<&Value> =
        (lines.iter()).filter_map(|line| line["after"]["j"].get("json_diff")).collect();
    assert!(diffs.len() >= 4, "{diffs:?}");
    assert_eq!(diffs[0][0]["path"], "$.a");
}

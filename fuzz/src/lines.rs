//! A visitor that wants everything and writes it as lines of JSON.

use phiwatch_binlog::{
    BinlogPosition, End, Gap, Plan, Projection, RowChange, Statement, Table, Transaction, Visitor,
    write_gap_json, write_row_json,
};
use serde::de::IgnoredAny;

/// Reads every column of every row.
///
/// Asserts that each line is valid JSON, that a refused row writes nothing, that images have as
/// many cells as the table has columns, and that each transaction begins and ends once.
#[derive(Debug, Default)]
pub struct Lines {
    /// Rows seen.
    pub rows: u64,
    /// Gaps seen.
    pub gaps: u64,
    is_open: bool,
    line: Vec<u8>,
}

impl Lines {
    /// Asserts what must hold at the end of the input.
    pub fn check(&self) {
        assert!(!self.is_open, "a transaction without an end");
    }
}

/// Asserts that this is one line of JSON.
pub fn check_line(line: &[u8]) {
    let (last, text) = line.split_last().expect("a line is not empty");
    assert_eq!(*last, b'\n', "a line ends with a line feed");
    assert!(!text.contains(&b'\n'), "one line a row");
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(text) {
        panic!("not JSON: {error}");
    }
}

impl Visitor for Lines {
    fn table(&mut self, table: &Table) -> Plan {
        let columns = table.columns.len();
        assert!(table.primary_key.iter().all(|index| usize::from(*index) < columns));
        Plan { projection: Projection::All, handle: 7 }
    }

    fn begin(&mut self, _: &Transaction) {
        assert!(!self.is_open, "a transaction begins in another");
        self.is_open = true;
    }

    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        assert!(self.is_open && change.handle == 7);
        for image in [change.before, change.after].iter().flatten() {
            assert_eq!(image.cells.len(), change.table.columns.len());
        }
        self.rows += 1;
        self.line.clear();
        match write_row_json(&mut self.line, "binlog.000001", transaction, change) {
            Ok(()) => check_line(&self.line),
            Err(_) => assert!(self.line.is_empty(), "a refused row writes nothing"),
        }
    }

    fn statement(&mut self, _: &Transaction, statement: &Statement<'_>) {
        assert!(self.is_open, "a statement outside of a transaction");
        let printed = format!("{:?}", statement.text);
        assert_eq!(printed, format!("<{} bytes of SQL>", statement.text.expose().len()));
    }

    fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {
        assert!(self.is_open, "an end without a begin");
        self.is_open = false;
    }

    fn gap(&mut self, gap: &Gap) {
        self.gaps += 1;
        self.line.clear();
        write_gap_json(&mut self.line, gap);
        check_line(&self.line);
    }
}

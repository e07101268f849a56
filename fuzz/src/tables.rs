//! A table map: types and their metadata, names, charsets, members, keys.
//!
//! Input: a byte of options (bit 0: MariaDB), then a table map's body.
//!
//! Asserts that a table costs no more than its bytes allow, that a map which repeats byte for byte
//! is not told again, and that one which was refused refuses its rows.

use phiwatch_binlog::{
    BinlogPosition, End, Gap, Plan, Projection, RowChange, Statement, Table, Transaction, Visitor,
};

use crate::lines::Lines;
use crate::log::{TABLE_MAP, Writer};

const WRITE_ROWS: u8 = 30;

/// Reads the map, the map again, and rows of the table.
pub fn run(data: &[u8]) {
    let Some((options, map)) = data.split_first() else { return };
    let mut told = Told { bytes: map.len(), ..Told::default() };
    write(options & 1 == 1, map, &mut told);
    assert!(told.tables <= 1, "a map that repeats is told once");
    // Rows of a table that is not known are a gap: of each of the two events.
    assert!(told.tables == 1 || told.gaps > 0, "nothing is lost in silence");
    let mut lines = Lines::default();
    write(options & 1 == 1, map, &mut lines);
    lines.check();
}

fn write(is_mariadb: bool, map: &[u8], visitor: &mut impl Visitor) {
    let mut writer = Writer::new(is_mariadb, visitor);
    writer.begin(visitor);
    writer.event(TABLE_MAP, map, visitor);
    writer.event(TABLE_MAP, map, visitor);
    // Its own id, no flags, no columns: an image without any.
    let mut rows = map.get(..6).unwrap_or_default().to_vec();
    rows.extend([1, 0, 2, 0, 0]);
    writer.event(WRITE_ROWS, &rows, visitor);
    writer.finish(visitor);
}

#[derive(Default)]
struct Told {
    bytes: usize,
    tables: u32,
    gaps: u32,
}

impl Visitor for Told {
    fn table(&mut self, table: &Table) -> Plan {
        self.tables += 1;
        let members: usize = table.columns.iter().map(|column| column.members.len()).sum();
        let names = table.columns.iter().filter_map(|column| column.name.as_ref());
        // What is no UTF-8 becomes up to three bytes.
        let letters: usize = names.map(|name| name.len()).sum();
        assert!(table.columns.len() <= 4_096 && table.columns.len() <= self.bytes);
        assert!(members + letters / 3 + table.primary_key.len() <= self.bytes);
        Plan { projection: Projection::All, handle: 0 }
    }
    fn begin(&mut self, _: &Transaction) {}
    fn row(&mut self, _: &Transaction, _: &RowChange<'_>) {}
    fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {}
    fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {}
    fn gap(&mut self, _: &Gap) {
        self.gaps += 1;
    }
}

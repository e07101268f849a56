//! A table map and a rows event of its table.
//!
//! Input: a byte that chooses the event type, a byte of options, two bytes of length
//! (little-endian), a table map's body of that length, a rows event's body. The rows event gets
//! the table map's id.
//!
//! Asserts, beside what [`Lines`] does, that a walk which materialises only some columns finds the
//! same rows, and in them the same cells, as one which materialises all; and that both find the
//! same when the events come in parts.

use phiwatch_binlog::{
    BinlogPosition, Cell, End, Gap, Image, Op, Plan, Projection, RowChange, Statement, Table,
    Transaction, Visitor,
};

use crate::lines::Lines;
use crate::log::{TABLE_MAP, Writer};

/// Rows events of both servers: v1, v2, partial updates, MariaDB's compressed ones.
const KINDS: [u8; 13] = [30, 31, 32, 39, 23, 24, 25, 166, 167, 168, 169, 170, 171];

/// Reads the rows with all columns as JSON, then with all and with some columns as cells.
pub fn run(data: &[u8]) {
    let Some((&[kind, options, low, high], rest)) = data.split_first_chunk::<4>() else { return };
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    let is_mariadb = options & 1 == 1;
    let map_bytes = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
    let (map, rows) = rest.split_at(map_bytes);
    let mut rows = rows.to_vec();
    for (to, from) in rows.iter_mut().zip(map).take(6) {
        *to = *from;
    }
    let mut lines = Lines::default();
    write(kind, is_mariadb, map, &rows, &mut lines);
    lines.check();

    let mut all = Cells { mask: u8::MAX, ..Cells::default() };
    write(kind, is_mariadb, map, &rows, &mut all);
    let mut some = Cells { mask: options, ..Cells::default() };
    write(kind, is_mariadb, map, &rows, &mut some);
    for whole in [&all, &some] {
        let mut parts = Cells { mask: whole.mask, ..Cells::default() };
        let writer = Writer::in_parts(is_mariadb, usize::from(options), &mut parts);
        write_to(writer, kind, map, &rows, &mut parts);
        // A refused event that comes whole has told the rows before the damage.
        if whole.gaps == 0 || parts.gaps == 0 {
            assert_eq!(whole.gaps, parts.gaps, "gaps do not depend on parts");
            assert!(whole.rows == parts.rows, "rows do not depend on parts");
        }
    }
    assert_eq!(all.rows.len(), some.rows.len(), "rows do not depend on the projection");
    assert_eq!(all.gaps, some.gaps, "gaps do not depend on the projection");
    for (all, some) in all.rows.iter().zip(&some.rows) {
        assert_eq!(all.0, some.0);
        let projected = |image: &Kept| -> Kept {
            let is_chosen = |(index, _): &(usize, _)| is_chosen(options, *index);
            image.iter().enumerate().filter(is_chosen).map(|(_, cell)| cell.clone()).collect()
        };
        assert!(all.1.as_ref().map(projected) == some.1, "before images differ");
        assert!(all.2.as_ref().map(projected) == some.2, "after images differ");
    }
}

fn write(kind: u8, is_mariadb: bool, map: &[u8], rows: &[u8], visitor: &mut impl Visitor) {
    write_to(Writer::new(is_mariadb, visitor), kind, map, rows, visitor);
}

fn write_to(mut writer: Writer, kind: u8, map: &[u8], rows: &[u8], visitor: &mut impl Visitor) {
    writer.begin(visitor);
    writer.event(TABLE_MAP, map, visitor);
    writer.event(kind, rows, visitor);
    writer.finish(visitor);
}

/// Bits of the mask, over and over along the columns.
fn is_chosen(mask: u8, column: usize) -> bool {
    mask >> (column % 8) & 1 == 1
}

/// The cells of an image: absent, null, bytes (with whether they are a difference).
type Kept = Vec<Option<Option<(bool, Vec<u8>)>>>;

/// What a row is called (kind, number, statement), and its images.
type KeptRow = ((Op, u64, u32), Option<Kept>, Option<Kept>);

/// Keeps the cells of the columns in the mask.
#[derive(Debug, Default)]
struct Cells {
    mask: u8,
    rows: Vec<KeptRow>,
    gaps: usize,
}

fn kept(image: Image<'_>) -> Kept {
    let keep = |cell: &Cell<'_>| match cell {
        Cell::Absent => None,
        Cell::Null => Some(None),
        Cell::Value(bytes) => Some(Some((false, bytes.expose().to_vec()))),
        Cell::JsonDiff(bytes) => Some(Some((true, bytes.expose().to_vec()))),
    };
    image.cells.iter().map(keep).collect()
}

impl Visitor for Cells {
    fn table(&mut self, table: &Table) -> Plan {
        let projection = if self.mask == u8::MAX {
            Projection::All
        } else {
            let columns = u16::try_from(table.columns.len()).unwrap_or(u16::MAX);
            Projection::Columns(
                (0..columns).filter(|c| is_chosen(self.mask, (*c).into())).collect(),
            )
        };
        Plan { projection, handle: 0 }
    }
    fn begin(&mut self, _: &Transaction) {}
    fn row(&mut self, _: &Transaction, change: &RowChange<'_>) {
        let name = (change.op, change.row, change.statement);
        self.rows.push((name, change.before.map(kept), change.after.map(kept)));
    }
    fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {}
    fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {}
    fn gap(&mut self, _: &Gap) {
        self.gaps += 1;
    }
}

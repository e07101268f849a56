//! The projected walk against the full one: whatever columns are asked for, their cells are the
//! same, in every recorded binlog.

use std::collections::BTreeMap;

use phiwatch_binlog::{
    BinlogPosition, Cell, End, Gap, Image, Op, Plan, Projection, RowChange, Statement, Table,
    Transaction, Visitor,
};

use crate::files;

/// What a cell holds: its kind and its bytes.
type Kept = (u8, Vec<u8>);

/// One row: where, what, and the cells of both images by column.
#[derive(Debug, PartialEq)]
struct Row {
    at: (u64, u64),
    op: Op,
    table: String,
    before: BTreeMap<u16, Kept>,
    after: BTreeMap<u16, Kept>,
}

struct Walker {
    /// 0: all columns.
    seed: u64,
    plans: Vec<Vec<u16>>,
    rows: Vec<Row>,
    gaps: Vec<String>,
}

impl Walker {
    fn walk(name: &str, bytes: &[u8], seed: u64) -> Self {
        let mut walker = Self { seed, plans: Vec::new(), rows: Vec::new(), gaps: Vec::new() };
        files::decode(name, bytes, &mut walker);
        walker
    }

    fn image(&self, handle: u32, image: Option<Image<'_>>) -> BTreeMap<u16, Kept> {
        let columns = &self.plans[handle as usize];
        let Some(image) = image else { return BTreeMap::new() };
        assert_eq!(image.cells.len(), columns.len());
        let kept = |cell: &Cell<'_>| match cell {
            Cell::Absent => (0, Vec::new()),
            Cell::Null => (1, Vec::new()),
            Cell::Value(bytes) => (2, bytes.expose().to_vec()),
            Cell::JsonDiff(bytes) => (3, bytes.expose().to_vec()),
        };
        columns.iter().copied().zip(image.cells.iter().map(kept)).collect()
    }
}

/// Finisher of splitmix64: enough to choose columns by.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

impl Visitor for Walker {
    fn table(&mut self, table: &Table) -> Plan {
        let all = 0..table.columns.len() as u16;
        let chosen: Vec<u16> = match self.seed {
            0 => all.collect(),
            // A few, half, nearly all.
            seed => {
                let share = [1, 4, 7][(seed % 3) as usize];
                all.filter(|column| {
                    mix(seed ^ mix(table.id ^ u64::from(*column) << 40)) % 8 < share
                })
                .collect()
            }
        };
        self.plans.push(chosen.clone());
        let handle = self.plans.len() as u32 - 1;
        let projection = if self.seed == 0 { Projection::All } else { Projection::Columns(chosen) };
        Plan { projection, handle }
    }
    fn begin(&mut self, _: &Transaction) {}
    fn row(&mut self, _: &Transaction, change: &RowChange<'_>) {
        self.rows.push(Row {
            at: (change.offset, change.row),
            op: change.op,
            table: format!("{}.{}", change.table.database, change.table.name),
            before: self.image(change.handle, change.before),
            after: self.image(change.handle, change.after),
        });
    }
    fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {}
    fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {}
    fn gap(&mut self, gap: &Gap) {
        self.gaps.push(format!("{} {}", gap.at, gap.cause));
    }
}

#[test]
fn any_columns_are_walked_as_all_are() {
    let mut compared = 0_u64;
    for (name, bytes) in files::binlogs() {
        let all = Walker::walk(&name, &bytes, 0);
        for seed in 1..=6 {
            let some = Walker::walk(&name, &bytes, seed);
            assert_eq!(some.gaps, all.gaps, "{name}");
            assert_eq!(some.rows.len(), all.rows.len(), "{name}");
            for (some, all) in some.rows.iter().zip(&all.rows) {
                assert_eq!((some.at, some.op, &some.table), (all.at, all.op, &all.table));
                for (some, all) in [(&some.before, &all.before), (&some.after, &all.after)] {
                    for (column, cell) in some {
                        assert_eq!(all.get(column), Some(cell), "{name} column {column}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 100_000, "{compared} cells");
}

//! The status variables of a QUERY event, which stand between its head and its texts.
//!
//! Input: a byte of options (bit 0: MariaDB), a byte that chooses the statement, then the status
//! variables.
//!
//! Asserts that schema, thread and text of the statement are the ones that were written, whatever
//! the variables hold: their length is in the head, and nothing in them moves what comes behind.

use phiwatch_binlog::{
    BinlogPosition, End, Gap, Plan, Projection, RowChange, Statement, Table, Transaction, Visitor,
};

use crate::lines::Lines;
use crate::log::{QUERY, Writer};

const TEXTS: [&str; 6] = [
    "TRUNCATE TABLE `customer_entity`",
    "ALTER TABLE \"sales_order\" ADD COLUMN \"x\" int",
    "DELETE FROM quote WHERE entity_id > 1",
    "DROP TABLE `a\\`, `b`",
    "CREATE TABLE c SELECT 'it''s \\' FROM d",
    "GRANT SELECT ON `magento`.* TO 'u'@'%'",
];
const THREAD: u32 = 4_711;

/// Reads the event as lines and as parts.
pub fn run(data: &[u8]) {
    let Some((&[options, choice], status)) = data.split_first_chunk::<2>() else { return };
    let status = &status[..status.len().min(60_000)];
    let text = TEXTS[usize::from(choice) % TEXTS.len()];
    let body = body(status, text);
    let is_mariadb = options & 1 == 1;
    let mut lines = Lines::default();
    write(is_mariadb, &body, &mut lines);
    lines.check();
    let mut parts = Parts { text, found: 0, gaps: 0 };
    write(is_mariadb, &body, &mut parts);
    assert!(parts.found > 0 || parts.gaps > 0, "the statement is told or is a gap");
}

/// A QUERY event's body with these status variables.
#[must_use]
pub fn body(status: &[u8], text: &str) -> Vec<u8> {
    let mut body = THREAD.to_le_bytes().to_vec();
    body.extend([0, 0, 0, 0, 7, 0, 0]);
    body.extend((status.len() as u16).to_le_bytes());
    body.extend(status);
    body.extend(b"magento\0");
    body.extend(text.bytes());
    body
}

fn write(is_mariadb: bool, body: &[u8], visitor: &mut impl Visitor) {
    let mut writer = Writer::new(is_mariadb, visitor);
    writer.event(QUERY, body, visitor);
    writer.finish(visitor);
}

struct Parts {
    text: &'static str,
    found: u32,
    gaps: u32,
}

impl Visitor for Parts {
    fn table(&mut self, _: &Table) -> Plan {
        Plan { projection: Projection::All, handle: 0 }
    }
    fn begin(&mut self, _: &Transaction) {}
    fn row(&mut self, _: &Transaction, _: &RowChange<'_>) {}
    fn statement(&mut self, transaction: &Transaction, statement: &Statement<'_>) {
        self.found += 1;
        assert_eq!(statement.text.expose(), self.text.as_bytes());
        assert!(transaction.thread.is_none_or(|thread| thread == THREAD));
    }
    fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {}
    fn gap(&mut self, _: &Gap) {
        self.gaps += 1;
    }
}

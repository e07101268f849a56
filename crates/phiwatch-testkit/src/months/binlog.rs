//! Simulated transactions as binlog bytes: MySQL, ROW format, FULL metadata, checksums.
//!
//! Each table has the columns of Magento's that say whose a row is, and one that is edited.

use std::io::{self, Write as Out};

use super::people::{What, Write};

/// Event types.
const QUERY: u8 = 2;
const FORMAT_DESCRIPTION: u8 = 15;
const XID: u8 = 16;
const TABLE_MAP: u8 = 19;
const WRITE_ROWS: u8 = 30;
const UPDATE_ROWS: u8 = 31;
const DELETE_ROWS: u8 = 32;
const GTID: u8 = 33;

/// A column's type.
#[derive(Clone, Copy)]
enum Type {
    SmallUnsigned,
    IntUnsigned,
    /// VARCHAR of up to 255 characters in four bytes each.
    Text,
    LongText,
}

type Columns = [(&'static str, Type)];

const CUSTOMER: &Columns = &[
    ("entity_id", Type::IntUnsigned),
    ("website_id", Type::SmallUnsigned),
    ("email", Type::Text),
    ("store_id", Type::SmallUnsigned),
    ("firstname", Type::Text),
];
const ORDER: &Columns = &[
    ("entity_id", Type::IntUnsigned),
    ("store_id", Type::SmallUnsigned),
    ("customer_id", Type::IntUnsigned),
    ("customer_email", Type::Text),
];
const STORE: &Columns =
    &[("store_id", Type::SmallUnsigned), ("code", Type::Text), ("website_id", Type::SmallUnsigned)];
const IMPORT_DATA: &Columns = &[
    ("id", Type::IntUnsigned),
    ("entity", Type::Text),
    ("behavior", Type::Text),
    ("data", Type::LongText),
];
const IMPORT_HISTORY: &Columns = &[("history_id", Type::IntUnsigned), ("summary", Type::Text)];

/// A cell.
enum Cell {
    Number(u64),
    Text(String),
}

/// Writes one binlog file.
#[derive(Debug)]
pub struct Binlog<W> {
    out: W,
    bytes: u64,
    /// Transactions, orders and other rows so far: their ids.
    number: u64,
    secs: i64,
}

impl<W: Out> Binlog<W> {
    /// Begins a file; its first transaction makes the stores, one a website.
    ///
    /// # Errors
    /// What the writer says.
    pub fn begin(mut out: W, secs: i64, websites: &[u32]) -> io::Result<Self> {
        out.write_all(b"\xfebin")?;
        let mut binlog = Self { out, bytes: 4, number: 0, secs };
        let mut body = vec![4, 0];
        let mut version = b"9.7.0".to_vec();
        version.resize(50, 0);
        body.extend(version);
        body.extend([0, 0, 0, 0, 19]);
        let mut lengths = [0; 42];
        lengths[1] = 13;
        lengths[18] = 8;
        for index in 22..25 {
            lengths[index] = 8;
            lengths[index + 7] = 10;
        }
        body.extend(lengths);
        body.push(1);
        binlog.event(FORMAT_DESCRIPTION, &body)?;
        let rows = websites.iter().map(|id| {
            let id = u64::from(*id);
            vec![Cell::Number(id), Cell::Text(format!("site{id}")), Cell::Number(id)]
        });
        let rows: Vec<_> = rows.collect();
        binlog.transaction(1, "store", STORE, WRITE_ROWS, &rows)?;
        Ok(binlog)
    }

    /// Appends a transaction of a website.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&mut self, website: u32, write: &Write) -> io::Result<()> {
        self.secs = write.secs;
        let thread = write.thread;
        match &write.what {
            What::SignUp(id) => {
                let row = [customer(*id, website, "Ann")];
                self.transaction(thread, "customer_entity", CUSTOMER, WRITE_ROWS, &row)
            }
            What::Change(ids) => {
                let rows: Vec<_> = ids
                    .iter()
                    .flat_map(|id| [customer(*id, website, "Ann"), customer(*id, website, "Anna")])
                    .collect();
                self.transaction(thread, "customer_entity", CUSTOMER, UPDATE_ROWS, &rows)
            }
            What::Delete(id) => {
                let row = [customer(*id, website, "Ann")];
                self.transaction(thread, "customer_entity", CUSTOMER, DELETE_ROWS, &row)
            }
            What::Order(id) => {
                let site = Cell::Number(u64::from(website));
                let order = Cell::Number(self.number);
                let row = [vec![order, site, Cell::Number(*id), Cell::Text(email(*id))]];
                self.transaction(thread, "sales_order", ORDER, WRITE_ROWS, &row)
            }
            What::ImportBegins(rows) => self.announce(thread, *rows),
            What::ImportEnds => {
                let row = |summary: &str| vec![Cell::Number(1), Cell::Text(summary.to_owned())];
                let rows = [row(""), row("done")];
                self.transaction(thread, "import_history", IMPORT_HISTORY, UPDATE_ROWS, &rows)
            }
        }
    }

    /// The rows that Magento's import writes before its own: its data in bunches, and its history.
    fn announce(&mut self, thread: u32, rows: u32) -> io::Result<()> {
        for first in (0..rows).step_by(500) {
            let bunch: Vec<String> =
                (first..rows.min(first + 500)).map(|row| format!("{{\"n\":{row}}}")).collect();
            let text = |text: &str| Cell::Text(text.to_owned());
            let data = Cell::Text(format!("[{}]", bunch.join(",")));
            let row = [vec![Cell::Number(1), text("customer"), text("append"), data]];
            let table = "importexport_importdata";
            self.transaction(thread, table, IMPORT_DATA, WRITE_ROWS, &row)?;
        }
        let row = [vec![Cell::Number(1), Cell::Text(String::new())]];
        self.transaction(thread, "import_history", IMPORT_HISTORY, WRITE_ROWS, &row)
    }

    /// One statement in a transaction of its own; rows of an update are pairs.
    fn transaction(
        &mut self,
        thread: u32,
        table: &str,
        columns: &Columns,
        kind: u8,
        rows: &[Vec<Cell>],
    ) -> io::Result<()> {
        self.number += 1;
        let gtid = [&[1][..], &[0xaa; 16], &self.number.to_le_bytes()].concat();
        self.event(GTID, &gtid)?;
        let mut begin = thread.to_le_bytes().to_vec();
        begin.extend([0, 0, 0, 0, 4, 0, 0, 0, 0]);
        begin.extend(b"shop\0BEGIN");
        self.event(QUERY, &begin)?;
        // A table keeps its number: ids of table maps say which rows belong to which.
        let id = table.len() as u8;
        self.event(TABLE_MAP, &table_map(id, table, columns))?;
        self.event(kind, &rows_body(id, columns, kind, rows))?;
        self.event(XID, &self.number.to_le_bytes())
    }

    fn event(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let size = 19 + body.len() + 4;
        let mut event = Vec::with_capacity(size);
        event.extend((self.secs as u32).to_le_bytes());
        event.push(kind);
        event.extend(1_u32.to_le_bytes());
        event.extend((size as u32).to_le_bytes());
        self.bytes += size as u64;
        event.extend((self.bytes as u32).to_le_bytes());
        event.extend([0, 0]);
        event.extend(body);
        event.extend(crc32fast::hash(&event).to_le_bytes());
        self.out.write_all(&event)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

fn email(id: u64) -> String {
    format!("person{id}@example.com")
}

fn customer(id: u64, website: u32, name: &str) -> Vec<Cell> {
    let site = || Cell::Number(u64::from(website));
    vec![Cell::Number(id), site(), Cell::Text(email(id)), site(), Cell::Text(name.to_owned())]
}

fn table_map(id: u8, table: &str, columns: &Columns) -> Vec<u8> {
    let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0, 4];
    body.extend(b"shop\0");
    body.push(table.len() as u8);
    body.extend(table.as_bytes());
    body.extend([0, columns.len() as u8]);
    let mut metadata = Vec::new();
    for (_, of) in columns {
        body.push(match of {
            Type::SmallUnsigned => 2,
            Type::IntUnsigned => 3,
            Type::Text => 15,
            Type::LongText => 252,
        });
        match of {
            Type::Text => metadata.extend(1_020_u16.to_le_bytes()),
            Type::LongText => metadata.push(4),
            Type::SmallUnsigned | Type::IntUnsigned => {}
        }
    }
    body.push(metadata.len() as u8);
    body.extend(metadata);
    body.extend(vec![0xff; columns.len().div_ceil(8)]);
    // Optional metadata: all numbers are unsigned; texts are utf8mb4_general_ci; names; first
    // column is the primary key.
    body.extend([1, 1, 0xff, 2, 1, 45]);
    let names: Vec<u8> = columns
        .iter()
        .flat_map(|(name, _)| std::iter::once(name.len() as u8).chain(name.bytes()))
        .collect();
    body.extend([4, names.len() as u8]);
    body.extend(names);
    body.extend([8, 1, 0]);
    body
}

fn rows_body(id: u8, columns: &Columns, kind: u8, rows: &[Vec<Cell>]) -> Vec<u8> {
    let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0, 2, 0, columns.len() as u8];
    let images = if kind == UPDATE_ROWS { 2 } else { 1 };
    for _ in 0..images {
        body.extend(vec![0xff; columns.len().div_ceil(8)]);
    }
    for row in rows {
        body.extend(vec![0; columns.len().div_ceil(8)]);
        for (cell, (_, of)) in row.iter().zip(columns) {
            match (cell, of) {
                (Cell::Number(value), Type::SmallUnsigned) => {
                    body.extend((*value as u16).to_le_bytes());
                }
                (Cell::Number(value), _) => body.extend((*value as u32).to_le_bytes()),
                (Cell::Text(text), Type::LongText) => {
                    body.extend((text.len() as u32).to_le_bytes());
                    body.extend(text.as_bytes());
                }
                (Cell::Text(text), _) => {
                    body.extend((text.len() as u16).to_le_bytes());
                    body.extend(text.as_bytes());
                }
            }
        }
    }
    body
}

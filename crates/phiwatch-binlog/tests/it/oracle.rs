//! Reads what `mysqlbinlog -v -v --base64-output=decode-rows` prints.

use std::io::Read as _;

use flate2::read::GzDecoder;
use phiwatch_binlog::Op;

use crate::files::types;

/// One column of an image: its number (1-based), the text, and the comment with its type.
#[derive(Debug, Clone, PartialEq)]
pub struct OracleCell {
    pub column: usize,
    pub text: Vec<u8>,
    pub ty: String,
}

/// What was printed last of the transaction and its events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Place {
    /// Every `# at` since the rows before: the rows of a statement are printed behind its last
    /// event. Inside a payload it is the payload's end.
    pub at: Vec<u64>,
    pub gtid: Option<String>,
    pub thread: Option<u32>,
    /// MySQL: original commit time.
    pub time_us: Option<i64>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct OracleRow {
    pub place: Place,
    pub op: Op,
    /// `schema.table`
    pub table: String,
    pub before: Option<Vec<OracleCell>>,
    pub after: Option<Vec<OracleCell>>,
}

pub fn read(name: &str) -> Vec<OracleRow> {
    let path = types().join(name.replace(".binlog", ".mysqlbinlog.txt.gz"));
    let mut text = Vec::new();
    GzDecoder::new(&*std::fs::read(path).unwrap()).read_to_end(&mut text).unwrap();
    let mut rows: Vec<OracleRow> = Vec::new();
    let mut place = Place::default();
    let mut is_used = false;
    for line in text.split(|byte| *byte == b'\n') {
        let plain = String::from_utf8_lossy(line);
        if let Some(rest) = line.strip_prefix(b"###") {
            is_used = true;
            row_line(rest, &place, &mut rows);
        } else if let Some(offset) = plain.strip_prefix("# at ") {
            if std::mem::take(&mut is_used) {
                place.at.clear();
            }
            place.at.push(offset.parse().unwrap());
        } else if let Some(time) = plain.split("original_committed_timestamp=").nth(1) {
            let digits = time.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            place.time_us = Some(digits.parse().unwrap());
        } else if let Some(rest) = plain.strip_prefix("SET @@SESSION.GTID_NEXT= '") {
            let next = rest.split('\'').next().unwrap();
            place.gtid = (next != "ANONYMOUS").then(|| next.to_owned());
            place.thread = None;
        } else if let Some(rest) = plain.split("\tGTID ").nth(1).filter(|_| plain.starts_with('#'))
        {
            // MariaDB: GTID 0-1-300 trans thread_id=36
            place.gtid = Some(rest.split(' ').next().unwrap().to_owned());
            place.thread = number_after(&plain, "thread_id=");
        } else if plain.starts_with('#') && plain.contains("\tQuery\t") && place.thread.is_none() {
            place.thread = number_after(&plain, "thread_id=");
        }
    }
    rows
}

fn number_after(line: &str, key: &str) -> Option<u32> {
    let digits: String = line.split(key).nth(1)?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn row_line(rest: &[u8], place: &Place, rows: &mut Vec<OracleRow>) {
    let text = String::from_utf8_lossy(rest);
    let text = text.trim_start();
    let verbs =
        [("INSERT INTO ", Op::Create), ("UPDATE ", Op::Update), ("DELETE FROM ", Op::Delete)];
    for (verb, op) in verbs {
        if let Some(table) = text.strip_prefix(verb) {
            let (place, table) = (place.clone(), table.replace('`', ""));
            rows.push(OracleRow { place, op, table, before: None, after: None });
            return;
        }
    }
    // A statement text (binlog_rows_query_log_events) has one # only; so here a row was begun.
    let row = rows.last_mut().unwrap();
    match text {
        "WHERE" => row.before = Some(Vec::new()),
        "SET" => row.after = Some(Vec::new()),
        _ => {
            let cells = row.after.as_mut().or(row.before.as_mut()).unwrap();
            match rest.strip_prefix(b"   @") {
                Some(rest) => cells.push(cell(rest)),
                // A function call over several lines.
                None => cells.last_mut().unwrap().append(rest),
            }
        }
    }
}

fn cell(rest: &[u8]) -> OracleCell {
    let equals = rest.iter().position(|byte| *byte == b'=').unwrap();
    let column = std::str::from_utf8(&rest[..equals]).unwrap().parse().unwrap();
    let mut cell = OracleCell { column, text: Vec::new(), ty: String::new() };
    cell.append(&rest[equals + 1..]);
    cell
}

impl OracleCell {
    /// Adds text up to the comment that names the type.
    fn append(&mut self, text: &[u8]) {
        let comment = text.windows(4).rposition(|window| window == b" /* ");
        let (text, comment) = text.split_at(comment.unwrap_or(text.len()));
        self.text.extend(text);
        let comment = String::from_utf8_lossy(comment);
        let comment = comment.trim_start_matches(" /* ");
        self.ty = comment.split(" meta=").next().unwrap().to_owned();
    }
}

//! Cuts the seeds in `corpus/` from the recordings in `../fixtures`, and writes those that need no
//! recording. Same recordings, same seeds; seeds of other names (crashes of the past) stay.
//!
//! `cargo run --bin cut-corpus`, in this folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use phiwatch_binlog::framing::{CHECKSUM_BYTES, HEADER_BYTES, Header};
use phiwatch_binlog::{
    BinlogPosition, Cell, Column, ColumnType, End, Gap, Plan, Projection, RowChange, Statement,
    Table, Transaction, Visitor,
};
use phiwatch_fuzz::log::{
    QUERY, TABLE_MAP, TRANSACTION_PAYLOAD, XID, event_of, query, read, sealed,
};
use phiwatch_fuzz::login::written;
use phiwatch_fuzz::pipeline::Pipeline;

const SERVERS: [&str; 3] = ["mysql-9.7", "mariadb-10.11", "mariadb-11.8"];
const PREVIOUS_GTIDS: u8 = 35;
const ROWS: [u8; 13] = [30, 31, 32, 39, 23, 24, 25, 166, 167, 168, 169, 170, 171];
const BEGINS: [u8; 4] = [33, 34, 42, 162];

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = Corpus { dir: here.join("corpus") };
    let types = here.join("../fixtures/types");
    let mut recordings = Vec::new();
    for server in SERVERS {
        let mut paths: Vec<_> = fs::read_dir(types.join(server))?
            .map(|e| e.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "binlog")) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            recordings.push(Recording::new(format!("{server}-{stem}"), fs::read(path)?));
        }
    }
    events(&corpus, &recordings)?;
    for (target, name, bytes) in phiwatch_fuzz::seeds::all() {
        corpus.write(target, name, &[&bytes])?;
    }
    dumps(&corpus, &recordings)?;
    tables(&corpus, &recordings)?;
    status(&corpus, &recordings)?;
    rows(&corpus, &recordings)?;
    values(&corpus, &recordings)?;
    gtids(&corpus, &recordings)?;
    statements(&corpus, &recordings)?;
    payloads(&corpus, &recordings)?;
    let mut demo = Vec::new();
    for number in 1..=4 {
        let name = format!("binlog.00000{number}");
        demo.push(Recording::new(
            name.clone(),
            fs::read(here.join("../fixtures/demo").join(name))?,
        ));
    }
    shop(&corpus, &demo)
}

/// The folder of seeds.
struct Corpus {
    dir: PathBuf,
}

impl Corpus {
    fn write(&self, target: &str, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let dir = self.dir.join(target);
        fs::create_dir_all(&dir)?;
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name: String = name.chars().map(|c| if is_plain(&c) { c } else { '-' }).collect();
        fs::write(dir.join(name), parts.concat())
    }
}

/// A recorded file and where its events are.
struct Recording {
    name: String,
    bytes: Vec<u8>,
    /// Type, start, end.
    events: Vec<(u8, usize, usize)>,
    checksum_bytes: usize,
}

impl Recording {
    fn new(name: String, bytes: Vec<u8>) -> Self {
        let mut events = Vec::new();
        let mut at = 4;
        while let Ok(header) = Header::parse(&bytes[at..]) {
            let end = at + header.event_bytes as usize;
            events.push((header.kind, at, end));
            at = end;
        }
        let format_end = events[0].2;
        let has_checksums = bytes[format_end - CHECKSUM_BYTES - 1] == 1;
        let checksum_bytes = if has_checksums { CHECKSUM_BYTES } else { 0 };
        Self { name, bytes, events, checksum_bytes }
    }

    fn body(&self, (_, start, end): (u8, usize, usize)) -> &[u8] {
        &self.bytes[start + HEADER_BYTES..end - self.checksum_bytes]
    }

    /// Magic number and format description.
    fn head(&self) -> &[u8] {
        &self.bytes[..self.events[0].2]
    }

    /// Transactions, each from its GTID to the next one's, with its events.
    fn transactions(&self) -> Vec<&[(u8, usize, usize)]> {
        let mut starts: Vec<usize> = (0..self.events.len())
            .filter(|index| BEGINS.contains(&self.events[*index].0))
            .collect();
        starts.push(self.events.len());
        starts.windows(2).map(|pair| &self.events[pair[0]..pair[1]]).collect()
    }
}

/// Whole small files, and the first transactions of larger ones.
fn events(corpus: &Corpus, recordings: &[Recording]) -> io::Result<()> {
    const PARTS: [&str; 17] = [
        "mysql-9.7-accounts",
        "mysql-9.7-partial-json",
        "mysql-9.7-statements",
        "mysql-9.7-tagged-gtid-compressed",
        "mysql-9.7-transactions-compressed",
        "mysql-9.7-transactions-checksum-none-compressed",
        "mysql-9.7-xa",
        "mysql-9.7-all-types-full",
        "mysql-9.7-query-events",
        "mariadb-10.11-all-types-compressed",
        "mariadb-10.11-all-types-metadata-no-log",
        "mariadb-10.11-gtid-domain",
        "mariadb-10.11-statements-compressed",
        "mariadb-11.8-all-types-checksum-none",
        "mariadb-11.8-query-events",
        "mariadb-11.8-transactions-minimal",
        "mariadb-11.8-xa",
    ];
    for recording in recordings.iter().filter(|one| PARTS.contains(&one.name.as_str())) {
        let mut end = recording.head().len();
        for transaction in recording.transactions() {
            let next = transaction[transaction.len() - 1].2;
            if next > 5_000 && end > 2_000 {
                break;
            }
            end = next;
        }
        if end > 12_000 {
            end = 12_000;
        }
        corpus.write("events", &recording.name, &[&recording.bytes[..end]])?;
    }
    Ok(())
}

/// The first events of files as a server sends them: the file's name, then one packet each.
fn dumps(corpus: &Corpus, recordings: &[Recording]) -> io::Result<()> {
    const PARTS: [&str; 6] = [
        "mysql-9.7-tagged-gtid",
        "mysql-9.7-transactions-compressed",
        "mysql-9.7-xa",
        "mysql-9.7-statements",
        "mariadb-11.8-gtid-domain",
        "mariadb-10.11-transactions-compressed",
    ];
    let mut rotate = event_of(4, b"\x04\0\0\0\0\0\0\0binlog.000001", 0);
    // Made up for this connection.
    rotate[17] = 0x20;
    for recording in recordings.iter().filter(|one| PARTS.contains(&one.name.as_str())) {
        let options = 4 | u8::from(recording.name.starts_with("mariadb")) << 1;
        let mut packets = vec![rotate.clone()];
        let mut bytes = 0;
        for (_, start, end) in &recording.events {
            bytes += end - start;
            if bytes > 2_500 {
                break;
            }
            packets.push(recording.bytes[*start..*end].to_vec());
        }
        packets.push(event_of(27, b"binlog.000001", 0));
        let found = written(&packets);
        corpus.write("dump", &recording.name, &[&[options], &found])?;
        let cut = &found[..found.len() * 2 / 3];
        corpus.write("dump", &format!("{}-cut", recording.name), &[&[options | 64], cut])?;
        let at_a_place = format!("{}-at-a-place", recording.name);
        corpus.write("dump", &at_a_place, &[&[options | 16], &found])?;
    }
    Ok(())
}

/// Table maps of each table and server.
fn tables(corpus: &Corpus, recordings: &[Recording]) -> io::Result<()> {
    const PARTS: [&str; 5] = [
        "mysql-9.7-all-types-full",
        "mysql-9.7-all-types-metadata-minimal",
        "mysql-9.7-transactions",
        "mariadb-11.8-all-types-full",
        "mariadb-10.11-all-types-metadata-no-log",
    ];
    for recording in recordings.iter().filter(|one| PARTS.contains(&one.name.as_str())) {
        let options = u8::from(recording.name.starts_with("mariadb"));
        let mut seen = BTreeSet::new();
        for event in recording.events.iter().filter(|event| event.0 == TABLE_MAP) {
            let map = recording.body(*event);
            let name = table_name(map);
            if map.len() < 700 && seen.len() < 12 && seen.insert(name.clone()) {
                let name = format!("{}-{name}", recording.name);
                corpus.write("tables", &name, &[&[options], map])?;
            }
        }
    }
    Ok(())
}

/// Status variables of each shape, named after the keys of the fixed ones.
fn status(corpus: &Corpus, recordings: &[Recording]) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for recording in recordings {
        let is_mariadb = recording.name.starts_with("mariadb");
        for event in recording.events.iter().filter(|event| event.0 == QUERY) {
            let body = recording.body(*event);
            let bytes = usize::from(u16::from_le_bytes([body[11], body[12]]));
            let found = &body[13..13 + bytes];
            if seen.len() < 40 && seen.insert((is_mariadb, bytes)) {
                let name =
                    format!("{}-of-{bytes}-bytes", if is_mariadb { "mariadb" } else { "mysql" });
                let head = [u8::from(is_mariadb), (seen.len() % 6) as u8];
                corpus.write("status", &name, &[&head, found])?;
            }
        }
    }
    // 254 stands for too many schemas to name; each ends with a zero byte.
    corpus.write("status", "too-many-schemas", &[&[0, 0, 12, 254]])?;
    corpus.write("status", "two-schemas-of-which-one-is-cut", &[&[0, 1, 12, 2], b"magento\0shop"])
}

/// One rows event of each kind and table with its table map.
fn rows(corpus: &Corpus, recordings: &[Recording]) -> io::Result<()> {
    const PARTS: [&str; 8] = [
        "mysql-9.7-all-types-full",
        "mysql-9.7-all-types-minimal",
        "mysql-9.7-partial-json",
        "mysql-9.7-partial-json-minimal",
        "mariadb-11.8-all-types-full",
        "mariadb-11.8-all-types-minimal",
        "mariadb-11.8-all-types-compressed",
        "mariadb-10.11-all-types-metadata-no-log",
    ];
    let mut seen = BTreeSet::new();
    for recording in recordings.iter().filter(|one| PARTS.contains(&one.name.as_str())) {
        let is_mariadb = recording.name.starts_with("mariadb");
        let mut map = None;
        let mut written = 0;
        for event in &recording.events {
            if event.0 == TABLE_MAP {
                map = Some(recording.body(*event));
            }
            let (Some(map), Some(kind)) = (map, ROWS.iter().position(|kind| *kind == event.0))
            else {
                continue;
            };
            let body = recording.body(*event);
            let table = table_name(map);
            let fits = map.len() + body.len() < 900 && written < 20;
            if fits && seen.insert((recording.name.clone(), kind, table.clone())) {
                written += 1;
                let head = [kind as u8, u8::from(is_mariadb) | 0b0101_0100];
                let length = (map.len() as u16).to_le_bytes();
                let name = format!("{}-{table}-type-{}", recording.name, event.0);
                corpus.write("rows", &name, &[&head, &length, map, body])?;
            }
        }
    }
    Ok(())
}

/// The table's name in a table map's body.
fn table_name(map: &[u8]) -> String {
    let at = 8 + 1 + usize::from(map[8]) + 1;
    let bytes = usize::from(map[at]);
    String::from_utf8_lossy(&map[at + 1..at + 1 + bytes]).into_owned()
}

/// Values of every column type, JSON documents and differences.
fn values(corpus: &Corpus, recordings: &[Recording]) -> io::Result<()> {
    let mut found = Values::default();
    for recording in recordings {
        found.server = recording.name.split('-').next().unwrap_or_default().to_owned();
        read(&recording.bytes, &mut found);
    }
    for (target, name, bytes) in &found.seeds {
        corpus.write(target, name, &[bytes])?;
    }
    Ok(())
}

#[derive(Default)]
struct Values {
    server: String,
    seen: BTreeSet<String>,
    seeds: Vec<(&'static str, String, Vec<u8>)>,
}

impl Values {
    fn cell(&mut self, table: &Table, column: &Column, cell: Cell<'_>) {
        let Some(name) = column.name.as_deref() else { return };
        let place = format!("{}-{}-{name}", self.server, table.name);
        match cell {
            Cell::JsonDiff(bytes) => self.json(1, format!("{place}-diff"), bytes.expose()),
            Cell::Value(bytes) if matches!(column.ty, ColumnType::Json { .. }) => {
                self.json(0, place, bytes.expose());
            }
            Cell::Value(bytes) if bytes.expose().len() < 300 => {
                let (name, code, a, b) = type_code(column.ty);
                let sign = match column.unsigned {
                    None => 0,
                    Some(false) => 1,
                    Some(true) => 2,
                };
                let [low, high] = column.collation.unwrap_or(0).to_le_bytes();
                let members = column.members.len().min(69) as u8;
                let head = [code, a, b, sign, low, high, members];
                let name = format!("{}-{name}-{a}", self.server);
                if self.seen.insert(name.clone()) {
                    self.seeds.push(("columns", name, [&head, bytes.expose()].concat()));
                }
            }
            Cell::Absent | Cell::Null | Cell::Value(_) => {}
        }
    }

    fn json(&mut self, kind: u8, place: String, bytes: &[u8]) {
        // Documents of another first byte or another magnitude are another seed.
        let shape = format!("{place}-{}", bytes.first().copied().unwrap_or(99));
        let key = format!("{shape}-{}", bytes.len().checked_ilog2().unwrap_or(0));
        if bytes.len() < 1_200 && self.seen.len() < 400 && self.seen.insert(key.clone()) {
            self.seeds.push(("json", key, [&[kind], bytes].concat()));
        }
    }
}

/// Name, number and metadata of a type, as the target `columns` reads them.
fn type_code(ty: ColumnType) -> (&'static str, u8, u8, u8) {
    let wide = |bytes: u16| (bytes.to_le_bytes()[0], bytes.to_le_bytes()[1]);
    match ty {
        ColumnType::Tiny => ("tiny", 0, 0, 0),
        ColumnType::Short => ("short", 1, 0, 0),
        ColumnType::Int24 => ("int24", 2, 0, 0),
        ColumnType::Long => ("long", 3, 0, 0),
        ColumnType::LongLong => ("longlong", 4, 0, 0),
        ColumnType::Float => ("float", 5, 0, 0),
        ColumnType::Double => ("double", 6, 0, 0),
        ColumnType::Null => ("null", 7, 0, 0),
        ColumnType::Year => ("year", 8, 0, 0),
        ColumnType::Date => ("date", 9, 0, 0),
        ColumnType::Time => ("time", 10, 0, 0),
        ColumnType::DateTime => ("datetime", 11, 0, 0),
        ColumnType::Timestamp => ("timestamp", 12, 0, 0),
        ColumnType::Time2 { fsp } => ("time2", 13, fsp, 0),
        ColumnType::DateTime2 { fsp } => ("datetime2", 14, fsp, 0),
        ColumnType::Timestamp2 { fsp } => ("timestamp2", 15, fsp, 0),
        ColumnType::Decimal { precision, scale } => ("decimal", 16, precision - 1, scale),
        ColumnType::Bit { bits } => ("bit", 17, (bits - 1) as u8, 0),
        ColumnType::Enum { bytes } => ("enum", 18, bytes - 1, 0),
        ColumnType::Set { bytes } => ("set", 19, bytes - 1, 0),
        ColumnType::String { bytes_max } => ("string", 20, wide(bytes_max).0, wide(bytes_max).1),
        ColumnType::VarChar { bytes_max } => ("varchar", 21, wide(bytes_max).0, wide(bytes_max).1),
        ColumnType::Blob { length_bytes } => ("blob", 22, length_bytes - 1, 0),
        ColumnType::Json { length_bytes } => ("json", 23, length_bytes - 1, 0),
        ColumnType::Geometry { length_bytes } => ("geometry", 24, length_bytes - 1, 0),
        ColumnType::Vector { length_bytes } => ("vector", 25, length_bytes - 1, 0),
        ColumnType::VarCharCompressed { bytes_max } => {
            ("varchar-compressed", 26, wide(bytes_max).0, wide(bytes_max).1)
        }
        ColumnType::BlobCompressed { length_bytes } => ("blob-compressed", 27, length_bytes - 1, 0),
    }
}

impl Visitor for Values {
    fn table(&mut self, _: &Table) -> Plan {
        Plan { projection: Projection::All, handle: 0 }
    }
    fn begin(&mut self, _: &Transaction) {}
    fn row(&mut self, _: &Transaction, change: &RowChange<'_>) {
        for image in [change.before, change.after].iter().flatten() {
            for (column, cell) in change.table.columns.iter().zip(image.cells) {
                self.cell(change.table, column, *cell);
            }
        }
    }
    fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {}
    fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {}
    fn gap(&mut self, _: &Gap) {}
}

/// Sets in words, and those that servers wrote into PREVIOUS_GTIDS.
fn gtids(corpus: &Corpus, recordings: &[Recording]) -> io::Result<()> {
    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";
    let texts = [
        ("one-gtid", format!("{A}:23")),
        ("one-tagged-gtid", format!("{A}:nightly_batch:7")),
        ("mariadb-gtid", "0-11-20".to_owned()),
        ("mariadb-domains", "0-11-20,1-5-9,4294967295-1-18446744073709551615".to_owned()),
        ("set-of-intervals", format!("{A}:1-5:7:9-11")),
        ("set-with-blanks", format!(" {A} : 1 - 5 : 7,\n{B}:2,")),
        ("set-with-tags", format!("{A}:1-5:a:1:b:2-3,{B}:_x9:9223372036854775806")),
        ("largest-interval", format!("{A}:1-9223372036854775806")),
        ("uuid-in-braces", format!("{{{}}}:1", A.replace('-', ""))),
        ("two-sets-that-overlap", format!("{A}:1-10:20-30,{B}:5|{A}:5-25,{B}:t:5")),
        ("two-sets-that-touch", format!("{A}:1-3:7-9|{A}:4-6:10")),
        ("two-sets-one-inside", format!("{A}:1-9:tag:1|{A}:2:4:6:8")),
    ];
    for (name, text) in &texts {
        corpus.write("gtids", name, &[text.as_bytes()])?;
    }
    for (name, text) in &texts {
        if let Ok(set) = text.parse::<phiwatch_binlog::GtidSet>() {
            corpus.write("gtids", &format!("wire-{name}"), &[&set.encode()])?;
        }
    }
    for recording in recordings.iter().filter(|one| one.name.contains("tagged")) {
        for event in recording.events.iter().filter(|event| event.0 == PREVIOUS_GTIDS) {
            corpus.write(
                "gtids",
                &format!("previous-{}", recording.name),
                &[recording.body(*event)],
            )?;
        }
    }
    Ok(())
}

/// Statement texts that differ in their first words, and some whole events.
fn statements(corpus: &Corpus, recordings: &[Recording]) -> io::Result<()> {
    let texts: [(&str, u8, &str); 8] = [
        (
            "copy-of-customers",
            0,
            "CREATE TABLE `x` AS SELECT entity_id, email FROM customer_entity",
        ),
        (
            "copy-by-insert",
            0,
            "INSERT INTO a.b (c) SELECT `email` FROM magento.customer_entity c JOIN d ON 1",
        ),
        ("comments", 0, "/*!50003 DROP */ -- x\n TABLE /* y */ customer_entity # z"),
        (
            "ansi-quotes",
            2,
            "ALTER TABLE \"sales_order\" ADD COLUMN \"ssn\" varchar(11), RENAME TO \"o\"\"o\"",
        ),
        ("no-backslash-escapes", 4, "TRUNCATE `quote\\`, 'it''s \\'"),
        ("grant", 0, "GRANT SELECT, INSERT (a,b) ON `magento`.* TO 'u'@'%' WITH GRANT OPTION"),
        (
            "trigger",
            0,
            "CREATE DEFINER=`a`@`b` TRIGGER t AFTER INSERT ON customer_entity FOR EACH ROW INSERT INTO x.y VALUES (NEW.email)",
        ),
        (
            "load-data",
            8,
            "LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE `customer_address_entity` FIELDS TERMINATED BY ','",
        ),
    ];
    for (name, options, text) in texts {
        corpus.write("statements", name, &[&[options], text.as_bytes()])?;
    }
    let mut seen = BTreeSet::new();
    for recording in recordings {
        let maria = if recording.name.starts_with("mariadb") { 8 } else { 0 };
        for event in recording.events.iter().filter(|event| event.0 == QUERY) {
            let body = recording.body(*event);
            let status_bytes = usize::from(u16::from_le_bytes([body[11], body[12]]));
            let text = &body[13 + status_bytes + usize::from(body[8]) + 1..];
            let words: Vec<_> = String::from_utf8_lossy(&text[..text.len().min(60)])
                .split_whitespace()
                .take(3)
                .map(|word| word.trim_matches('`').to_ascii_lowercase())
                .collect();
            let kind = words.iter().take(2).cloned().collect::<Vec<_>>().join("-");
            if text.len() > 500 || seen.len() > 60 || !seen.insert(kind) {
                continue;
            }
            corpus.write("statements", &words.join("-"), &[&[maria], text])?;
            if seen.len() % 8 == 1 {
                corpus.write(
                    "statements",
                    &format!("event-{}", words.join("-")),
                    &[&[1 | maria], body],
                )?;
            }
        }
    }
    Ok(())
}

/// Compressed payloads, and the events of transactions as they stand in one.
fn payloads(corpus: &Corpus, recordings: &[Recording]) -> io::Result<()> {
    for recording in recordings {
        let payloads = recording.events.iter().filter(|event| event.0 == TRANSACTION_PAYLOAD);
        let small = payloads.filter(|event| event.2 - event.1 < 1_500);
        for (index, event) in small.take(4).enumerate() {
            let name = format!("{}-{index}", recording.name);
            corpus.write("payload", &name, &[&[1], recording.body(*event)])?;
        }
    }
    let whole = ["mysql-9.7-transactions", "mysql-9.7-partial-json", "mysql-9.7-all-types-minimal"];
    for recording in recordings.iter().filter(|one| whole.contains(&one.name.as_str())) {
        let of_rows = recording.transactions().into_iter().filter(|transaction| {
            transaction.len() > 3 && transaction[transaction.len() - 1].0 == XID
        });
        for (index, transaction) in of_rows.take(5).enumerate() {
            let mut inner = vec![0];
            for event in &transaction[1..] {
                inner.extend(event_of(event.0, recording.body(*event), 0));
            }
            if inner.len() < 4_000 {
                corpus.write(
                    "payload",
                    &format!("stored-{}-{index}", recording.name),
                    &[&inner],
                )?;
            }
        }
    }
    Ok(())
}

/// Transactions of the demo's shop that bring a table nobody brought before, their events unpacked
/// and sealed, and what is known after them: maps and engine.
fn shop(corpus: &Corpus, demo: &[Recording]) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    let mut all = demo[0].head().to_vec();
    let mut half = 0;
    for recording in demo {
        for transaction in recording.transactions() {
            let events = unpacked(recording, transaction)?;
            let maps = events.iter().filter(|event| event[4] == TABLE_MAP);
            let tables: BTreeSet<_> =
                maps.map(|event| table_name(&event[HEADER_BYTES..])).collect();
            let bytes = events.concat();
            let new = tables.difference(&seen).next().cloned();
            let is_statement = tables.is_empty() && bytes.len() > 100;
            if bytes.len() > 9_000 || new.is_none() && !is_statement {
                continue;
            }
            let name = new.unwrap_or_else(|| format!("statement-{}", all.len()));
            if all.len() + bytes.len() > 90_000 {
                continue;
            }
            seen.extend(tables);
            all.extend(&bytes);
            half = if half == 0 && all.len() > 40_000 { all.len() } else { half };
            let file = sealed(&[recording.head(), &bytes].concat());
            corpus.write("shop", &format!("first-{name}"), &[&file])?;
            if ["customer_entity", "core_config_data", "sales_order"].contains(&name.as_str()) {
                state(corpus, &format!("after-{name}"), &file)?;
            }
        }
    }
    let acts = sealed(&acts(demo[0].head()));
    corpus.write("shop", "acts-in-statements", &[&acts])?;
    state(corpus, "acts-in-statements", &acts)?;
    state(corpus, "none-of-the-shop", &[])?;
    state(corpus, "half-of-the-shop", &all[..half])?;
    state(corpus, "all-of-the-shop", &all)
}

/// Statements that exact rules are about, each with room for a checksum.
fn acts(head: &[u8]) -> Vec<u8> {
    let mut file = head.to_vec();
    for text in [
        "CREATE TABLE copy_of_customers AS SELECT entity_id, email, dob FROM customer_entity",
        "RENAME TABLE copy_of_customers TO kept",
        "TRUNCATE TABLE sales_order_address",
        "DROP TABLE customer_address_entity",
        "GRANT ALL PRIVILEGES ON *.* TO 'u'@'%' WITH GRANT OPTION",
        "CREATE TRIGGER t AFTER INSERT ON customer_entity FOR EACH ROW INSERT INTO x.y VALUES (1)",
        "DELETE FROM quote WHERE entity_id > 1",
        "ALTER TABLE sales_order ADD COLUMN ssn varchar(11)",
    ] {
        let event = event_of(QUERY, &query(text.as_bytes(), 0), CHECKSUM_BYTES);
        file.extend([event.as_slice(), &[0; CHECKSUM_BYTES]].concat());
    }
    file
}

/// What is known after a file: the engine's checkpoint, if it is one of the chosen, and the maps.
fn state(corpus: &Corpus, name: &str, file: &[u8]) -> io::Result<()> {
    let mut pipeline = Pipeline::new();
    read(&sealed(file), &mut pipeline);
    let checkpoint = pipeline.engine.checkpoint();
    if checkpoint.len() < 33_000 && !name.starts_with("half") && !name.contains("order") {
        corpus.write("checkpoint", name, &[&checkpoint])?;
    }
    corpus.write("tenants", name, &[&pipeline.classifier.save()])?;
    Ok(())
}

/// A transaction's events as they would stand without compression, each with room for a checksum.
fn unpacked(recording: &Recording, events: &[(u8, usize, usize)]) -> io::Result<Vec<Vec<u8>>> {
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let mut out = Vec::new();
    for event in events {
        let body = recording.body(*event);
        let frame = body.windows(4).position(|start| start == ZSTD);
        let (TRANSACTION_PAYLOAD, Some(frame)) = (event.0, frame) else {
            out.push(recording.bytes[event.1..event.2].to_vec());
            continue;
        };
        let inner = zstd::decode_all(&body[frame..])?;
        let mut rest = inner.as_slice();
        while let Ok(header) = Header::parse(rest) {
            let (found, behind) = rest.split_at(header.event_bytes as usize);
            let size = header.event_bytes + CHECKSUM_BYTES as u32;
            let mut event = found.to_vec();
            event[9..13].copy_from_slice(&size.to_le_bytes());
            event.extend([0; CHECKSUM_BYTES]);
            out.push(event);
            rest = behind;
        }
    }
    Ok(out)
}

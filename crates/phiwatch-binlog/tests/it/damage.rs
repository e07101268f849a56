//! Damage: every cut and many flipped bits of recorded files give gaps with their place, never a
//! panic and never a row of a damaged event.

use std::collections::BTreeMap;
use std::ops::Range;

use phiwatch_binlog::framing::{self, Header, Magic};
use phiwatch_binlog::{
    BinlogPosition, Decoder, End, Gap, Limits, Malformed, Plan, Projection, RowChange, Statement,
    Table, Transaction, Visitor,
};

use crate::build::{self, Builder};
use crate::files;
use crate::transactions::Log;

fn log(bytes: &[u8]) -> Log {
    let mut log = Log::default();
    files::decode("f", bytes, &mut log);
    log
}

/// Every recorded binlog: the types of each server, and the demo's shop.
fn all() -> Vec<(String, Vec<u8>)> {
    let mut found = files::binlogs();
    let demo = files::types().join("../demo");
    for number in 1..=4 {
        let name = format!("binlog.00000{number}");
        let bytes = std::fs::read(demo.join(&name)).unwrap();
        found.push((format!("demo/{name}"), bytes));
    }
    found
}

/// Places to damage: every byte of a small file; of a larger one so many, evenly spread and
/// beginning elsewhere in each file, that reading it for each of them stays affordable.
fn sample(bytes: &[u8], file: usize) -> impl Iterator<Item = usize> + use<> {
    const EVERY_BYTE_MAX: usize = 5_000;
    const READ_BYTES_MAX: usize = 40 << 20;
    let places = match bytes.len() {
        small @ ..=EVERY_BYTE_MAX => small,
        larger => READ_BYTES_MAX / larger,
    };
    let step = (bytes.len() / places).max(1);
    (4 + file % step..bytes.len()).step_by(step)
}

/// What a whole file holds: events' starts and kinds, rows of each.
struct Whole {
    events: Vec<(usize, u8)>,
    rows: BTreeMap<u64, u64>,
    checksums: bool,
}

impl Whole {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let mut events = Vec::new();
        let mut at = 4;
        while at < bytes.len() {
            let header = Header::parse(&bytes[at..]).unwrap();
            events.push((at, header.kind));
            at += header.event_bytes as usize;
        }
        let seen = read(bytes);
        assert!(seen.gaps.is_empty(), "{name}: {:?}", seen.gaps);
        // The algorithm stands before the format description's own checksum.
        let checksums = bytes[events[1].0 - 5] == 1;
        Self { events, rows: seen.rows, checksums }
    }

    /// The event that a byte belongs to.
    fn event(&self, place: usize) -> (usize, u8) {
        *self.events.iter().rev().find(|(start, _)| *start <= place).unwrap()
    }
}

/// Counts rows by their event, and keeps gaps; statements are no damage.
#[derive(Default)]
struct Seen {
    rows: BTreeMap<u64, u64>,
    /// Where they begin.
    gaps: Vec<u64>,
    /// And what they cover.
    lost: Vec<Range<u64>>,
    ends: i64,
}

impl Visitor for Seen {
    fn table(&mut self, _: &Table) -> Plan {
        Plan { projection: Projection::All, handle: 0 }
    }
    fn begin(&mut self, _: &Transaction) {
        self.ends -= 1;
    }
    fn row(&mut self, _: &Transaction, change: &RowChange<'_>) {
        *self.rows.entry(change.offset).or_default() += 1;
    }
    fn statement(&mut self, _: &Transaction, _: &Statement<'_>) {}
    fn end(&mut self, _: &Transaction, _: &End, _: &BinlogPosition) {
        self.ends += 1;
    }
    fn gap(&mut self, gap: &Gap) {
        assert_eq!(gap.at.file.as_ref(), "f");
        if gap.cause != Malformed::StatementFormat {
            self.gaps.push(gap.at.offset);
            self.lost.push(gap.at.offset..gap.at.offset + gap.bytes);
        }
    }
}

fn read(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    files::decode("f", bytes, &mut seen);
    assert_eq!(seen.ends, 0, "every transaction that begins ends");
    seen
}

#[test]
fn every_cut_is_one_gap_at_the_event_cut() {
    for (index, (name, bytes)) in all().iter().enumerate() {
        let whole = Whole::new(name, bytes);
        for size in sample(bytes, index).filter(|size| *size > 4) {
            let seen = read(&bytes[..size]);
            let (at, _) = whole.event(size - 1);
            let is_between = whole.events.iter().any(|(start, _)| *start == size);
            let want = if is_between { vec![] } else { vec![at as u64] };
            assert_eq!(seen.gaps, want, "{name} cut at {size}");
            // What came before the cut is there.
            let mut before = whole.rows.clone();
            before.retain(|start, _| *start < at as u64 || is_between && *start < size as u64);
            assert_eq!(seen.rows, before, "{name} cut at {size}");
        }
    }
}

#[test]
fn every_flipped_bit_is_a_gap_at_its_event() {
    const TABLE_MAP: u8 = 19;
    for (index, (name, bytes)) in all().iter().enumerate() {
        let whole = Whole::new(name, bytes);
        if !whole.checksums {
            continue;
        }
        let mut damaged = bytes.clone();
        for place in sample(bytes, index) {
            let bit = 1 << (place % 8);
            damaged[place] ^= bit;
            let seen = read(&damaged);
            damaged[place] ^= bit;
            let (at, kind) = whole.event(place);
            // The in-use flag of a format description is not covered by its checksum.
            if at == 4 && place == 4 + 17 && bit == 1 {
                assert!(seen.gaps.is_empty() && seen.rows == whole.rows, "{name} {place}");
                continue;
            }
            assert!(seen.gaps.contains(&(at as u64)), "{name} {place}: {:?}", seen.gaps);
            // Only what the gap covers is missing (the event itself; more if its size was damaged
            // and another event begins just where it then ends), and rows whose map it was.
            let mut others = whole.rows.clone();
            others.retain(|start, _| !seen.lost.iter().any(|lost| lost.contains(start)));
            assert!(!others.contains_key(&(at as u64)), "{name} {place}");
            if kind != TABLE_MAP && at != 4 {
                assert_eq!(seen.rows, others, "{name} {place}");
                // A damaged size may cut the event in two.
                let is_size = (9..13).contains(&(place - at));
                assert!(is_size || seen.gaps == [at as u64], "{name} {place}: {:?}", seen.gaps);
            }
            assert!(seen.rows.keys().all(|start| others.contains_key(start)), "{name} {place}");
        }
    }
}

/// Without checksums a changed value is one: but nothing panics, a gap is at an event or where
/// bytes are none, and reading goes on to the end.
#[test]
fn damage_without_checksums_is_survived() {
    let mut count = 0;
    for (index, (name, bytes)) in all().iter().enumerate() {
        let whole = Whole::new(name, bytes);
        if whole.checksums {
            continue;
        }
        count += 1;
        let mut damaged = bytes.clone();
        let last = *whole.rows.last_key_value().unwrap().0;
        for place in sample(bytes, index) {
            let bit = 1 << (place % 8);
            damaged[place] ^= bit;
            let seen = read(&damaged);
            damaged[place] ^= bit;
            let is_there = seen.gaps.iter().all(|at| *at >= 4 && *at < bytes.len() as u64);
            assert!(is_there, "{name} {place}: {:?}", seen.gaps);
            let (at, _) = whole.event(place);
            // Far behind the damage all is as it was.
            if at > 4 && (place as u64) + 20_000 < last {
                assert!(seen.rows.contains_key(&last), "{name} {place}: {:?}", seen.gaps);
            }
        }
    }
    assert!(count > 3, "the recordings without checksums are missing");
}

#[test]
fn after_a_wrong_checksum_gtid_and_thread_are_unknown() {
    let mut file = Builder::new("9.7.0", true);
    let mut rows = Vec::new();
    for number in 1..=2 {
        file.gtid(number);
        file.query("BEGIN");
        file.event(19, 0, &build::table_map(9));
        for value in 0..3 {
            rows.push(file.event(30, 0, &build::write_rows(9, &[value])));
        }
        file.xid();
    }
    let damaged = |at: u64| {
        let mut bytes = file.bytes.clone();
        bytes[usize::try_from(at).unwrap() + 25] ^= 1;
        log(&bytes)
    };
    let got = damaged(rows[1]);
    let second = "begin:2 row:2/7/0.0 row:2/7/1.0 row:2/7/2.0 commit";
    assert_eq!(
        got.text,
        format!("file:f begin:1 map:t row:1/7/0.0 gap:checksum row:-/-/1.0 commit {second}")
    );
    let gap = &got.gaps[0];
    assert_eq!((gap.at.offset, gap.at.file.as_ref()), (rows[1], "f"));
    assert_eq!(
        gap.gtid.as_ref().map(ToString::to_string).unwrap(),
        "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1"
    );
}

#[test]
fn a_damaged_gtid_leaves_the_thread_of_its_begin() {
    let mut file = Builder::new("9.7.0", true);
    let at = file.gtid(1);
    file.query("BEGIN");
    file.event(19, 0, &build::table_map(9));
    file.event(30, 0, &build::write_rows(9, &[1]));
    file.xid();
    file.bytes[usize::try_from(at).unwrap() + 25] ^= 1;
    assert_eq!(log(&file.bytes).text, "file:f gap:checksum begin:- map:t row:-/7/0.0 commit");
}

#[test]
fn an_undecodable_event_keeps_the_transaction() {
    let mut file = Builder::new("9.7.0", true);
    file.gtid(1);
    file.query("BEGIN");
    file.event(19, 0, &build::table_map(9));
    let mut rows = build::write_rows(9, &[1, 2]);
    rows.pop();
    file.event(30, 0, &rows);
    file.event(30, 0, &build::write_rows(9, &[3]));
    file.xid();
    assert_eq!(
        log(&file.bytes).text,
        "file:f begin:1 map:t row:1/7/0.0 gap:truncated row:1/7/1.0 commit"
    );
}

#[test]
fn a_damaged_format_description_is_survived() {
    let mut file = Builder::new("9.7.0", true);
    file.gtid(1);
    file.query("BEGIN");
    file.event(19, 0, &build::table_map(9));
    file.event(30, 0, &build::write_rows(9, &[1]));
    file.xid();
    file.bytes[30] ^= 1;
    assert_eq!(log(&file.bytes).text, "gap:checksum begin:1 map:t row:1/7/0.0 commit");
}

#[test]
fn a_file_without_format_description_is_read() {
    let mut whole = Builder::new("9.7.0", true);
    let from = whole.bytes.len();
    whole.gtid(1);
    whole.query("BEGIN");
    whole.event(19, 0, &build::table_map(9));
    whole.event(30, 0, &build::write_rows(9, &[1]));
    whole.xid();
    let mut bytes = framing::MAGIC.to_vec();
    bytes.extend(&whole.bytes[from..]);
    assert!(log(&bytes).text.contains("map:t row:1/7/0.0 commit"));
}

#[test]
fn events_over_the_limit_are_refused() {
    let mut file = Builder::new("9.7.0", true);
    file.gtid(1);
    file.query("BEGIN");
    // Nobody reads this one, whatever its size.
    file.event(29, 0, &[0; 2_000]);
    file.query(&format!("CREATE TABLE t (i int) -- {}", "x".repeat(2_000)));
    file.xid();
    let mut log = Log::default();
    let mut decoder = Decoder::new(Limits { event_bytes_max: 1_000 });
    decoder.start_file("f");
    files::feed(&mut decoder, &file.bytes, &mut log);
    assert_eq!(log.text, "file:f begin:1 gap:too_large commit");
}

#[test]
fn the_first_bytes_tell_the_kind_of_file() {
    assert_eq!(framing::magic(b"\xfebin\0"), Magic::Plain);
    assert_eq!(framing::magic(b"\xfdbin\0"), Magic::Encrypted);
    assert_eq!(framing::magic(b"\xfebi"), Magic::NotBinlog);
    assert_eq!(framing::magic(b"-- dump"), Magic::NotBinlog);
}

#[test]
fn offsets_in_a_dump_go_beyond_4_gib_and_follow_jumps() {
    let header = |bytes: u32, log_pos: u32| Header {
        timestamp_secs: 0,
        kind: 16,
        server_id: 1,
        event_bytes: bytes,
        log_pos,
        flags: 0,
    };
    assert_eq!(framing::offset_in_dump(&header(31, 231), 200), 200);
    assert_eq!(framing::offset_in_dump(&header(31, 0), 200), 200);
    assert_eq!(framing::offset_in_dump(&header(31, 9_031), 200), 9_000);
    let wrapped = (1_u64 << 32) + 100;
    assert_eq!(framing::offset_in_dump(&header(31, 131), wrapped), wrapped);
    assert_eq!(framing::offset_in_dump(&header(200, 100), (1 << 32) - 100), (1 << 32) - 100);
    // An offset below the expected one is no jump.
    assert_eq!(framing::offset_in_dump(&header(31, 227), 200), 200);
}

#[test]
fn resync_finds_the_next_event_in_garbage() {
    let mut file = Builder::new("9.7.0", true);
    file.event(29, 0, &[0; 600]);
    let at = usize::try_from(file.gtid(1)).unwrap();
    for garbage in [1, 18, 19, 500] {
        let mut bytes = vec![0x13; garbage];
        bytes.extend(&file.bytes[at..]);
        let base = (at - garbage) as u64;
        assert_eq!(framing::resync(&bytes, base, true, 1 << 20), Some(garbage));
    }
    assert_eq!(framing::resync(&[0x13; 4_000], 4, true, 1 << 20), None);
}

//! Damage: every cut and many flipped bits of recorded files give gaps with their place, never a
//! panic and never a row of a damaged event.

use std::collections::BTreeSet;

use phiwatch_binlog::framing::{self, Header, Magic};
use phiwatch_binlog::{Decoder, Limits, Malformed};

use crate::build::{self, Builder};
use crate::files;
use crate::transactions::Log;

fn log(bytes: &[u8]) -> Log {
    let mut log = Log::default();
    files::decode("f", bytes, &mut log);
    log
}

/// Starts of the events of an undamaged file.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![4];
    while let Some(last) = starts.last().copied().filter(|last| *last < bytes.len()) {
        starts.push(last + Header::parse(&bytes[last..]).unwrap().event_bytes as usize);
    }
    starts
}

const FILES: [&str; 8] = [
    "mysql-9.7/transactions-compressed.binlog",
    "mysql-9.7/partial-json.binlog",
    "mysql-9.7/tagged-gtid.binlog",
    "mysql-9.7/xa.binlog",
    "mariadb-10.11/transactions.binlog",
    "mariadb-10.11/statements-compressed.binlog",
    "mariadb-11.8/gtid-domain.binlog",
    "mariadb-11.8/xa.binlog",
];

#[test]
fn every_cut_is_one_gap_at_the_event_cut() {
    for name in FILES {
        let bytes = files::binlog(name);
        let starts = starts(&bytes);
        for size in (5..bytes.len()).step_by(7) {
            let log = log(&bytes[..size]);
            let at = starts.iter().rev().find(|start| **start < size).unwrap();
            let is_between = starts.contains(&size);
            let found: Vec<_> =
                log.gaps.iter().filter(|gap| gap.cause != Malformed::StatementFormat).collect();
            if is_between {
                assert!(found.is_empty(), "{name} {size}: {found:?}");
            } else {
                assert_eq!(found.len(), 1, "{name} {size}: {found:?}");
                assert_eq!(found[0].at.offset, *at as u64, "{name} {size}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_a_gap_at_its_event() {
    for name in FILES {
        let bytes = files::binlog(name);
        let starts = starts(&bytes);
        let rows = log(&bytes).rows;
        for index in (4..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1 << (index % 8);
            let log = log(&damaged);
            let at = *starts.iter().rev().find(|start| **start <= index).unwrap() as u64;
            let places: BTreeSet<u64> = log
                .gaps
                .iter()
                .filter(|gap| gap.cause != Malformed::StatementFormat)
                .map(|gap| gap.at.offset)
                .collect();
            // The in-use flag of a format description is not covered by its checksum.
            let is_in_use = at == 4 && index == 4 + 17 && index % 8 == 0;
            assert!(places.contains(&at) || is_in_use, "{name} {index}: {places:?} lack {at}");
            assert!(log.rows <= rows, "{name} {index}");
        }
    }
}

#[test]
fn damage_without_checksums_never_panics() {
    for name in [
        "mysql-9.7/all-types-checksum-none.binlog",
        "mariadb-10.11/all-types-checksum-none.binlog",
        "mysql-9.7/transactions-checksum-none-compressed.binlog",
    ] {
        let bytes = files::binlog(name);
        for index in (4..bytes.len()).step_by(61) {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x55;
            let log = log(&damaged);
            assert!(log.text.starts_with("file:f") || index < 260, "{name} {index}");
        }
    }
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

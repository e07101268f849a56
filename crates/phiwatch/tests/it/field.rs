//! Failures of other readers (docs/field-failures.md): those that bytes alone can show.

use std::{
    fs,
    path::{Path, PathBuf},
};

use phiwatch_testkit::{
    Finished, binlog,
    liar::{self, FRAME_BYTES_MAX},
    repository,
};
use serde_json::Value;

use crate::{
    lying::{caught_up, check_memory, dump, follow},
    program,
};

const XID: u8 = 16;
const TRANSACTION_PAYLOAD: u8 = 40;

fn fixture(name: &str) -> (PathBuf, Vec<u8>) {
    let path = repository::path(&format!("fixtures/types/mysql-9.7/{name}"));
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

fn write(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join("binlog.000001");
    fs::write(&path, bytes).unwrap();
    path
}

fn lines(done: &Finished) -> Vec<Value> {
    done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn errors(done: &Finished) -> Vec<Value> {
    let errors = done.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    errors.filter(|value| value["error"].is_string()).collect()
}

/// Makes an event's checksum right again.
fn seal(bytes: &mut [u8], event: &binlog::Event) {
    let end = event.range.end - 4;
    let sum = crc32fast::hash(&bytes[event.range.start..end]);
    bytes[end..event.range.end].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn field_02_damaged_payload_is_a_gap_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (path, original) = fixture("transactions-compressed.binlog");
    let whole = lines(&program().run_on(&["decode"], &[&path]).expect(0));
    let events = binlog::events(&original);
    let payloads: Vec<_> =
        events.iter().filter(|event| event.code == TRANSACTION_PAYLOAD).collect();
    assert!(payloads.len() > 3, "the recording has no payloads");
    for event in payloads {
        let place = event.range.start as u64;
        // A flipped bit that the checksum finds; and damage before the checksum was made: the
        // first byte of the compressed frame, found by its magic number.
        let frame = event.range.clone().find(|at| original[*at..].starts_with(b"\x28\xb5\x2f\xfd"));
        let mut flipped = original.clone();
        flipped[event.range.end - 9] ^= 4;
        let mut sealed = original.clone();
        sealed[frame.unwrap()] ^= 1;
        seal(&mut sealed, event);
        for bytes in [flipped, sealed] {
            let copy = write(dir.path(), &bytes);
            let decoded = program().run_on(&["decode"], &[&copy]).expect(3);
            let gaps: Vec<_> = errors(&decoded).iter().map(|gap| gap["pos"].as_u64()).collect();
            assert_eq!(gaps, [Some(place)], "{}", decoded.stderr);
            let others = whole.iter().filter(|row| row["pos"] != place).count();
            let got = lines(&decoded);
            assert_eq!(got.len(), others, "rows of other transactions, and of no damaged one");
            assert!(got.iter().all(|row| row["pos"] != place));
            let replayed = program().run_on(&["replay"], &[&copy]).expect(3);
            let alerts = lines(&replayed);
            let told = alerts.iter().any(|alert| {
                alert["finding_info"]["analytic"]["uid"] == "coverage-gap"
                    && alert.to_string().contains(&format!("\"pos\":{place}"))
            });
            assert!(told, "no coverage-gap at {place}: {}", replayed.text());
        }
    }
}

#[test]
fn field_21_tagged_gtids_are_read_and_resumed() {
    for name in ["tagged-gtid.binlog", "tagged-gtid-compressed.binlog"] {
        let (path, bytes) = fixture(name);
        let decoded = lines(&program().run_on(&["decode"], &[&path]).expect(0));
        let gtids: Vec<_> =
            decoded.iter().map(|row| row["gtid"].as_str().unwrap().to_owned()).collect();
        let tagged = gtids.iter().filter(|gtid| gtid.split(':').count() == 3).count();
        assert!(tagged > 3, "{name}: {gtids:?}");
        // Some of it, then all of it with the same state: the rest is examined, and only that.
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let args = ["replay", "--state", state.to_str().unwrap()];
        let events = binlog::events(&bytes);
        let ends = |event: &&binlog::Event| [XID, TRANSACTION_PAYLOAD].contains(&event.code);
        let cut = events.iter().filter(ends).nth(1).unwrap().range.end;
        let examined = |bytes: &[u8]| -> u64 {
            let done = program().run_on(&args, &[write(dir.path(), bytes)]).expect(0);
            let words = done.stderr.split("examined ").nth(1).unwrap();
            words.split(' ').next().unwrap().parse().unwrap()
        };
        let fresh = program().run_on(&["replay"], &[&path]).expect(0);
        let all = fresh.stderr.split("examined ").nth(1).unwrap().split(' ').next().unwrap();
        let (first, rest) = (examined(&bytes[..cut]), examined(&bytes));
        assert_eq!(first + rest, all.parse::<u64>().unwrap(), "{name}");
        assert!(first > 0 && rest > 0, "{name}");
        assert_eq!(examined(&bytes), 0, "{name}: all is done");
    }
}

#[test]
fn field_29_an_unreadable_last_event_is_passed_and_stays_passed() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let args = ["replay", "--state", state.to_str().unwrap()];
    let (_, mut bytes) = fixture("transactions.binlog");
    let events = binlog::events(&bytes);
    let ends: Vec<_> = events.iter().filter(|event| event.code == XID).collect();
    let last = ends[ends.len() / 2];
    // A kind of event that nobody knows.
    bytes[last.range.start + 4] = 99;
    seal(&mut bytes, last);
    let place = format!("\"pos\":{}", last.range.start);
    let cut = write(dir.path(), &bytes[..last.range.end]);
    let first = program().run_on(&args, &[&cut]).expect(3);
    assert!(first.text().contains("coverage-gap") && first.text().contains(&place));
    // Nothing more came: nothing is told again, and nothing waits.
    let again = program().run_on(&args, &[&cut]).expect(0);
    assert_eq!(again.text(), "");
    // The file grows: what is behind the event is read.
    let grown = write(dir.path(), &bytes);
    let rest = program().run_on(&args, &[&grown]).expect(0);
    assert!(!rest.text().contains(&place), "{}", rest.text());
    assert!(!rest.stderr.contains("examined 0 transactions"), "{}", rest.stderr);
}

#[test]
fn field_35_a_value_of_250_mb_takes_no_memory_of_its_size() {
    const VALUE_BYTES: usize = 250_000_000;
    let ended = dump(|peer| {
        peer.event(&liar::gtid([9; 16], 1));
        peer.event(&liar::query("BEGIN"));
        peer.event(&liar::table_map(7, "t", &[252], &[4]));
        let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1, 0];
        body.extend((u32::try_from(VALUE_BYTES).unwrap()).to_le_bytes());
        let mut packet = vec![0];
        let event_bytes = u32::try_from(19 + body.len() + VALUE_BYTES).unwrap();
        packet.extend(liar::header(30, event_bytes, 0));
        packet.extend(body);
        let mut left = packet.len() + VALUE_BYTES;
        packet.resize(FRAME_BYTES_MAX, b'v');
        while left >= FRAME_BYTES_MAX {
            peer.frame(&packet);
            packet.fill(b'v');
            left -= FRAME_BYTES_MAX;
        }
        peer.frame(&packet[..left]);
        peer.event(&liar::xid());
    });
    check_memory(&ended, "a value of 250 MB");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn field_35_twenty_thousand_tables_stay_within_bounds() {
    let ended = dump(|peer| {
        for round in 1..=3 {
            peer.event(&liar::gtid([9; 16], round));
            peer.event(&liar::query("BEGIN"));
            for id in 0..20_000_u32 {
                peer.event(&liar::table_map(id, &format!("t{id}"), &[3; 40], &[]));
                let [a, b, c, d] = id.to_le_bytes();
                let mut rows = vec![a, b, c, d, 0, 0, 1, 0, 2, 0, 40];
                // All 40 columns are there, none is NULL.
                rows.extend([0xff; 5]);
                rows.extend([0; 5 + 160]);
                peer.event(&liar::event(30, &rows, 0));
            }
            peer.event(&liar::xid());
        }
    });
    check_memory(&ended, "20,000 tables");
    assert_eq!(ended.code, Some(0), "no row lacks its table map: {}", ended.stderr);
}

#[test]
fn field_35_damage_leaves_no_threads_behind() {
    use std::sync::atomic::{AtomicU64, Ordering};
    const CONNECTIONS: u64 = 8;
    let count = AtomicU64::new(0);
    let ended = follow(move |mut peer| {
        if !peer.up_to_dump_of("09090909-0909-0909-0909-090909090909:1-100") {
            return;
        }
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        peer.dump_begins();
        // A transaction, so that the next try is not put off for longer; damage; the end.
        peer.event(&liar::gtid([9; 16], number));
        peer.event(&liar::query("CREATE TABLE t (i int)"));
        peer.event(&liar::event(99, &[7; 100], 0));
        if number < CONNECTIONS {
            peer.raw(&[200, 0, 0]);
            return;
        }
        caught_up(&mut peer);
    });
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert_eq!(
        ended.threads_max,
        crate::lying::idle_threads(),
        "threads after {CONNECTIONS} tries"
    );
}

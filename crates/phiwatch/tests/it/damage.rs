//! Damaged files: the place is named, decoding goes on, and nothing panics.

use std::{
    fs,
    path::{Path, PathBuf},
};

use phiwatch_testkit::{Finished, Random, binlog, repository};
use serde_json::Value;

use crate::program;

/// Flips per file; the seed is in every failure's text.
const FLIPS: u64 = 4;

fn check_no_panic(done: &Finished, what: &str) {
    assert!(!done.stderr.contains("panicked"), "{what}: {}", done.stderr);
    assert!(matches!(done.code, Some(0 | 3)), "{what}: exit {:?}: {}", done.code, done.stderr);
}

/// Places (file, pos) of the error lines on stderr.
fn places(done: &Finished) -> Vec<(String, u64)> {
    let errors = done.stderr.lines().filter_map(|line| {
        let value: Value = serde_json::from_str(line).ok()?;
        assert!(value["error"].is_string(), "{line}");
        Some((value["file"].as_str()?.to_owned(), value["pos"].as_u64()?))
    });
    errors.collect()
}

fn write(dir: &Path, original: &Path, bytes: &[u8]) -> PathBuf {
    let copy = dir.join(original.file_name().unwrap());
    fs::write(&copy, bytes).unwrap();
    copy
}

#[test]
fn a_flipped_bit_is_found_by_its_checksum() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, file) in (0..).zip(repository::type_binlogs()) {
        let original = fs::read(&file).unwrap();
        if !binlog::has_checksums(&original) {
            continue;
        }
        let mut random = Random::new(seed);
        // Not the format description: there a flip can mean "no checksums in this file".
        let events = binlog::events(&original).split_off(1);
        for _ in 0..FLIPS {
            let event = &events[random.index(events.len())];
            let at = event.range.start + random.index(event.range.len());
            let mut bytes = original.clone();
            bytes[at] ^= 1 << random.between(0, 8);
            let copy = write(dir.path(), &file, &bytes);
            let what = format!("{} seed {seed}, bit flipped in byte {at}", file.display());
            for command in ["decode", "replay"] {
                let done = program().run_on(&[command], &[&copy]);
                check_no_panic(&done, &what);
                assert_eq!(done.code, Some(3), "{what}: {command}: {}", done.stderr);
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                if command == "decode" {
                    let place = (name, event.range.start as u64);
                    assert!(places(&done).contains(&place), "{what}: {:?}", places(&done));
                } else {
                    assert!(done.text().contains("coverage-gap"), "{what}: no gap alert");
                }
            }
        }
    }
}

#[test]
fn damage_below_a_right_checksum_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, file) in (1000..).zip(repository::type_binlogs()) {
        let original = fs::read(&file).unwrap();
        let mut random = Random::new(seed);
        let events = binlog::events(&original);
        for _ in 0..FLIPS {
            let event = &events[random.index(events.len())];
            let body = binlog::body_bytes(&original, event);
            if body == 0 {
                continue;
            }
            let mut bytes = original.clone();
            let (byte, bit) = (random.index(body), u32::try_from(random.between(0, 8)).unwrap());
            binlog::flip_and_seal(&mut bytes, event, byte, bit);
            let copy = write(dir.path(), &file, &bytes);
            let what = format!(
                "{} seed {seed}, bit {bit} of body byte {byte} of the event at {}",
                file.display(),
                event.range.start
            );
            check_no_panic(&program().run_on(&["decode"], &[&copy]), &what);
            check_no_panic(&program().run_on(&["replay"], &[&copy]), &what);
        }
    }
}

#[test]
fn a_cut_file_says_where() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, file) in (2000..).zip(repository::type_binlogs()) {
        let original = fs::read(&file).unwrap();
        let mut random = Random::new(seed);
        let events = binlog::events(&original);
        let chosen = random.index(events.len());
        let event = &events[chosen];
        let end = event.range.start + 1 + random.index(event.range.len() - 1);
        let copy = write(dir.path(), &file, &original[..end]);
        let what = format!("{} seed {seed}, cut at {end}", file.display());
        let done = program().run_on(&["decode"], &[&copy]).expect(3);
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let is_at = |start: usize| places(&done).contains(&(name.clone(), start as u64));
        // Without checksums, an event whose header gives no end position (MariaDB's in its
        // transaction cache) is confirmed by the next header only.
        let is_found = is_at(event.range.start)
            || !binlog::has_checksums(&original) && is_at(events[chosen.max(1) - 1].range.start);
        assert!(is_found, "{what}: {:?}: {}", places(&done), done.stderr);
        let done = program().run_on(&["replay"], &[&copy]).expect(3);
        assert!(done.text().contains("coverage-gap"), "{what}: no gap alert");
    }
}

#[test]
fn damage_leaves_the_rows_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = repository::path("fixtures/types/mysql-9.7/transactions.binlog");
    let original = fs::read(&file).unwrap();
    let whole = program().run_on(&["decode"], &[&file]).expect(0);
    let rows: Vec<&str> = whole.text().lines().collect();
    // The last byte before the checksum of the first rows event.
    let pos = |line: &str| serde_json::from_str::<Value>(line).unwrap()["pos"].as_u64().unwrap();
    let damaged = pos(rows[0]);
    let events = binlog::events(&original);
    let event = events.iter().find(|event| event.range.start as u64 == damaged).unwrap();
    let mut bytes = original.clone();
    bytes[event.range.end - 5] ^= 1;
    let done = program().run_on(&["decode"], &[write(dir.path(), &file, &bytes)]).expect(3);
    // The GTID event was not damaged, but trust in the transaction is lost until the next one:
    // its name and its exact time. Compare what stays.
    let strip = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        for key in ["gtid", "thread", "ts_us"] {
            value.as_object_mut().unwrap().shift_remove(key).unwrap();
        }
        value.to_string()
    };
    let want: Vec<String> =
        rows.iter().filter(|row| pos(row) != damaged).map(|row| strip(row)).collect();
    let got: Vec<String> = done.text().lines().map(strip).collect();
    assert_eq!(got, want);
}

#[test]
fn no_binlog_is_named_and_the_next_file_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    fs::write(&text, "no binlog").unwrap();
    let empty = dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    let file = repository::path("fixtures/types/mysql-9.7/all-types-full.binlog");
    let alone = program().run_on(&["decode"], &[&file]).expect(0);
    let done = program().run_on(&["decode"], &[&text, &empty, &file]).expect(3);
    assert_eq!(done.text(), alone.text());
    let named: Vec<String> = places(&done).into_iter().map(|(file, _)| file).collect();
    assert_eq!(named, ["notes.txt", "empty"]);
}

#[test]
fn every_recorded_file_decodes_as_designed() {
    for file in repository::type_binlogs() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        // A change in statement format has no rows to print: said, and exit 3.
        let code = if name.starts_with("statements") { 3 } else { 0 };
        let done = program().run_on(&["decode"], &[&file]).expect(code);
        assert_eq!(code == 3, !places(&done).is_empty(), "{}: {}", file.display(), done.stderr);
        let counted = program().run_on(&["decode", "--count"], &[&file]).expect(code);
        let sum: u64 = counted
            .text()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["rows"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, done.text().lines().count() as u64, "{}", file.display());
    }
}

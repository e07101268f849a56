//! `phiwatch coverage` after replays: what was examined, and what was not.

use std::path::{Path, PathBuf};

use phiwatch_testkit::{Finished, binlog, repository};
use serde_json::Value;

use crate::program;

fn demo(numbers: &[u32]) -> Vec<PathBuf> {
    let file = |number| repository::path(&format!("fixtures/demo/binlog.{number:06}"));
    numbers.iter().map(file).collect()
}

fn replay(state: &Path, files: &[PathBuf]) -> Finished {
    program().run_on(&["replay", "--state", state.to_str().unwrap()], files)
}

fn coverage(state: &Path, args: &[&str]) -> Finished {
    program().run(&[&["coverage", "--state", state.to_str().unwrap()], args].concat())
}

fn json(state: &Path, code: i32, args: &[&str]) -> Value {
    let done = coverage(state, &[&["--json"], args].concat()).expect(code);
    serde_json::from_str(done.text()).unwrap()
}

#[test]
fn nothing_was_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let _all = replay(dir.path(), &demo(&[1, 2, 3, 4])).expect(0);
    insta::assert_snapshot!("coverage_whole", coverage(dir.path(), &[]).expect(0).text());
    let found = json(dir.path(), 0, &[]);
    assert_eq!(found["complete"], true);
    let server = &found["servers"][0];
    // As `decode --count` and the files' sizes have it.
    let counted = program().run_on(&["decode"], &demo(&[1, 2, 3, 4])).expect(0);
    let numbers = &server["total"];
    let rows = |key: &str| numbers[key].as_u64().unwrap();
    assert!(
        rows("creates") + rows("updates") + rows("deletes")
            <= counted.text().lines().count() as u64
    );
    let sum = |key: &str| -> u64 {
        let intervals = server["intervals"].as_array().unwrap();
        intervals.iter().map(|one| one["numbers"][key].as_u64().unwrap()).sum()
    };
    for key in ["transactions", "creates", "updates", "deletes", "statements", "bytes"] {
        assert_eq!(sum(key), rows(key), "{key}");
    }
}

/// Stopping between files, and going on, leaves the ledger of one run.
#[test]
fn pieces_add_up_to_the_whole() {
    let whole = tempfile::tempdir().unwrap();
    let _all = replay(whole.path(), &demo(&[1, 2, 3, 4])).expect(0);
    let pieces = tempfile::tempdir().unwrap();
    for files in [&[1][..], &[1, 2], &[2, 3], &[3, 4], &[4], &[1, 2, 3, 4]] {
        let _part = replay(pieces.path(), &demo(files)).expect(0);
    }
    assert_eq!(json(pieces.path(), 0, &[]), json(whole.path(), 0, &[]));
}

#[test]
fn a_missing_file_is_a_gap_and_so_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = demo(&[1, 2, 4]);
    let original = std::fs::read(&files[1]).unwrap();
    let mut bytes = original.clone();
    // A byte of a rows or payload event in the middle.
    let events = binlog::events(&original);
    let rows = events
        .iter()
        .skip(events.len() / 2)
        .find(|event| matches!(original[event.range.start + 4], 30 | 40));
    let event = rows.unwrap();
    bytes[event.range.end - 5] ^= 1;
    files[1] = dir.path().join("binlog.000002");
    std::fs::write(&files[1], bytes).unwrap();
    let state = dir.path().join("state");
    let _gaps = replay(&state, &files).expect(3);
    let found = json(&state, 3, &[]);
    let gaps = found["gaps"].as_array().unwrap();
    let causes: Vec<&str> = gaps.iter().map(|gap| gap["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["checksum", "file-missing"], "{gaps:#?}");
    assert_eq!(gaps[0]["position"], format!("binlog.000002:{}", event.range.start));
    assert_eq!(gaps[0]["bytes"], event.range.len());
    assert_eq!(gaps[0]["kind"], "recorded");
    assert!(gaps[1]["missing"].as_str().unwrap().contains(':'), "{gaps:#?}");
    // Asked for another time, the gaps are not in it; the ones around are.
    let early = json(&state, 0, &["--until", "2026-10-06"]);
    let early = early["servers"][0]["intervals"].as_array().unwrap();
    assert!(early.len() > 20, "a day has hours: {}", early.len());
    assert!(early.iter().all(|one| one["from"].as_str().unwrap() < "2026-10-06"));
    let _late = json(&state, 3, &["--from", "2026-10-06"]);
    // The missing file comes later: the records stay. Its head tells again of the transaction whose
    // number was lost with the damage.
    let _later = replay(&state, &demo(&[3]));
    let after = json(&state, 3, &[]);
    assert_eq!(after["gaps"].as_array().unwrap()[..2], gaps[..]);
}

/// Without GTIDs the numbers of the files tell what is missing.
#[test]
fn a_missing_file_without_gtids_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let original =
        std::fs::read(repository::path("fixtures/types/mysql-9.7/anonymous-gtid.binlog"));
    let original = original.unwrap();
    let file = |number: u32| {
        let path = dir.path().join(format!("binlog.{number:06}"));
        std::fs::write(&path, &original).unwrap();
        path
    };
    let state = dir.path().join("state");
    let _all = replay(&state, &[file(1), file(2)]).expect(0);
    let _all = coverage(&state, &[]).expect(0);
    let _gap = replay(&state, &[file(2), file(4)]).expect(3);
    let found = json(&state, 3, &[]);
    assert_eq!(found["gaps"].as_array().unwrap().len(), 1, "{}", found["gaps"]);
    assert_eq!(found["gaps"][0]["missing"], "binlog.000003");
    let other = dir.path().join("other");
    let _one = replay(&other, &[file(1)]).expect(0);
    let _two = replay(&other, &[file(4)]).expect(3);
    let found = json(&other, 3, &[]);
    assert_eq!(found["gaps"][0]["missing"], "binlog.000002 to binlog.000003");
}

/// A file that is missing between two runs is a gap like one within a run.
#[test]
fn a_file_missing_between_two_runs_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let _first = replay(dir.path(), &demo(&[2])).expect(0);
    let second = replay(dir.path(), &demo(&[4])).expect(3);
    assert!(second.text().contains("coverage-gap"), "{}", second.text());
    let found = json(dir.path(), 3, &[]);
    assert_eq!(found["gaps"].as_array().unwrap().len(), 1, "{}", found["gaps"]);
    assert_eq!(found["gaps"][0]["cause"], "file-missing");
}

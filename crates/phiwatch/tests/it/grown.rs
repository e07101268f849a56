//! A file that is replayed while it ends within a transaction, and again when it has grown.

use std::{fs, path::Path};

use phiwatch_testkit::{Finished, binlog, repository};

use crate::program;

const ROWS: [u8; 3] = [30, 31, 32];
const XID: u8 = 16;
const GTID: u8 = 33;

fn replay(state: &Path, file: &Path) -> Finished {
    program().run_on(&["replay", "--state", state.to_str().unwrap()], &[file])
}

/// Row changes of watched tables that a replay says it examined.
fn rows(done: &Finished) -> u64 {
    let (before, _) = done.stderr.split_once(" row changes").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Events of the last transaction that has several rows events: from its GTID to its end.
fn transaction(events: &[binlog::Event]) -> &[binlog::Event] {
    let is_rows = |event: &&binlog::Event| ROWS.contains(&event.code);
    let from = |start: usize| {
        let length = events[start + 1..].iter().position(|event| [XID, GTID].contains(&event.code));
        &events[start..=start + 1 + length.unwrap_or(0)]
    };
    let is_long = |events: &&[binlog::Event]| {
        events.last().is_some_and(|last| last.code == XID)
            && events.iter().filter(is_rows).count() > 2
    };
    let starts = (0..events.len() - 1).filter(|at| events[*at].code == GTID);
    starts.rev().map(from).find(is_long).unwrap()
}

#[test]
fn a_transaction_that_the_file_cuts_off_comes_again_whole() {
    let original = fs::read(&repository::demo_binlogs()[3]).unwrap();
    let all = binlog::events(&original);
    let events = transaction(&all);
    let start = events[0].range.start;
    let mut all_rows = events.iter().filter(|event| ROWS.contains(&event.code));
    let (first, second) = (all_rows.next().unwrap(), all_rows.next().unwrap());
    for (what, damaged, end) in [
        ("nothing", None, second.range.end),
        ("its rows", Some(first), second.range.end),
        ("its GTID", Some(&events[0]), second.range.end),
        ("the end of the file", None, second.range.end - 3),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (file, state) = (dir.path().join("binlog.000004"), dir.path().join("state"));
        fs::write(&file, &original[..start]).unwrap();
        let before = replay(&dir.path().join("before"), &file).expect(0);
        let mut bytes = original[..end].to_vec();
        if let Some(event) = damaged {
            bytes[event.range.end - 5] ^= 1;
        }
        fs::write(&file, &bytes).unwrap();
        let code = if what == "nothing" { 0 } else { 3 };
        let _cut = replay(&state, &file).expect(code);
        fs::write(&file, &original).unwrap();
        let grown = replay(&state, &file).expect(0);
        assert!(!grown.stderr.contains("passed over"), "{what}: {}", grown.stderr);
        let whole = replay(&dir.path().join("whole"), &file).expect(0);
        assert_eq!(rows(&grown), rows(&whole) - rows(&before), "{what} was damaged");
    }
}

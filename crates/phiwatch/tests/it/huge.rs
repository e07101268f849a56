//! Input far larger than memory may grow.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use phiwatch_testkit::{binlog, repository};

use crate::lying::measured;

/// Size of the transaction: many times what the program may take.
const BYTES: u64 = 1 << 30;
/// The promise for any input.
const PEAK_BYTES_MAX: u64 = 64 << 20;
const ROWS: [u8; 3] = [30, 31, 32];

/// A recording whose largest rows event (of those below 64 KiB) comes again and again, in the
/// transaction that it stands in. Positions and checksums are made anew.
fn write_huge(recording: &Path, path: &Path) {
    let file = std::fs::read(recording).unwrap();
    assert!(binlog::has_checksums(&file));
    let events = binlog::events(&file);
    let is_rows =
        |event: &&binlog::Event| ROWS.contains(&event.code) && event.range.len() < 1 << 16;
    let again = events.iter().filter(is_rows).max_by_key(|event| event.range.len()).unwrap();
    let mut out = BufWriter::new(File::create(path).unwrap());
    out.write_all(&file[..4]).unwrap();
    let mut at = 4;
    for event in &events {
        let copies = if event == again { BYTES / again.range.len() as u64 } else { 1 };
        let mut bytes = file[event.range.clone()].to_vec();
        let end = bytes.len() - 4;
        for _ in 0..copies {
            at += bytes.len() as u64;
            let [a, b, c, d, ..] = at.to_le_bytes();
            bytes[13..17].copy_from_slice(&[a, b, c, d]);
            let sum = crc32fast::hash(&bytes[..end]);
            bytes[end..].copy_from_slice(&sum.to_le_bytes());
            out.write_all(&bytes).unwrap();
        }
    }
    out.flush().unwrap();
}

/// As one transaction of a gigabyte; `make bench` reads one of ten.
#[test]
fn field_34_a_transaction_of_any_size_is_read_in_fixed_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("binlog.000001");
    let recordings = repository::type_binlogs();
    let is_it = |file: &&std::path::PathBuf| file.ends_with("mysql-9.7/transactions.binlog");
    write_huge(recordings.iter().find(is_it).unwrap(), &path);
    assert!(path.metadata().unwrap().len() > BYTES);
    for command in [&["replay"][..], &["decode", "--count"]] {
        let ended = measured(&[command, &[path.to_str().unwrap()]].concat());
        assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.stderr);
        assert!(ended.peak_bytes < PEAK_BYTES_MAX, "{command:?}: {} bytes", ended.peak_bytes);
    }
}

use std::path::PathBuf;

use phiwatch_binlog::Malformed;
use phiwatch_source::{Ahead, FileSource, Item, Source, SourceError};
use tempfile::TempDir;

use crate::build::{Builder, event};

const ROWS: u8 = 30;

/// What a source gave: starts and bytes of events, and damaged stretches.
#[derive(Debug, Default, PartialEq)]
struct Read {
    files: Vec<(String, u64)>,
    events: Vec<(u64, Vec<u8>)>,
    /// Start and size of events that came in parts.
    large: Vec<(u64, u64)>,
    damage: Vec<(u64, u64, Malformed)>,
    inflated: usize,
    batches: usize,
}

/// What a source gave, and the same read ahead; twice, as the first compressed transaction is what
/// reading ahead begins with.
fn both(path: PathBuf) -> (Read, Read) {
    let paths = vec![path.clone(), path];
    let ahead = Ahead::new(FileSource::new(paths.clone()));
    (read(FileSource::new(paths)).unwrap(), read(ahead).unwrap())
}

fn read(mut source: impl Source) -> Result<Read, SourceError> {
    let mut read = Read::default();
    let mut parts = Vec::new();
    while let Some(batch) = source.next_batch()? {
        read.batches += 1;
        for item in batch.items {
            match item {
                Item::File { name, offset } => read.files.push((name.to_string(), offset)),
                Item::Event { offset, range } => {
                    read.events.push((offset, batch.bytes[range].to_vec()));
                }
                Item::Inflated { offset, range, .. } => {
                    read.inflated += 1;
                    read.events.push((offset, batch.bytes[range].to_vec()));
                }
                Item::Part { offset, range, left } => {
                    parts.extend(&batch.bytes[range]);
                    if left == 0 {
                        read.large.push((offset, parts.len() as u64));
                        read.events.push((offset, std::mem::take(&mut parts)));
                    }
                }
                Item::Damage { offset, bytes, cause } => read.damage.push((offset, bytes, cause)),
                Item::Server { .. }
                | Item::Purged { .. }
                | Item::Executed { .. }
                | Item::CaughtUp => panic!("not from files"),
            }
        }
    }
    Ok(read)
}

fn write(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn read_bytes(bytes: &[u8]) -> Read {
    let dir = TempDir::new().unwrap();
    let path = write(&dir, "binlog.000001", bytes);
    read(FileSource::new(vec![path])).unwrap()
}

fn starts(read: &Read) -> Vec<u64> {
    read.events.iter().map(|(start, _)| *start).collect()
}

/// Ten events of growing size, all of them larger than what a header can hide in.
fn ten(checksums: bool) -> Builder {
    let mut builder = Builder::new(checksums);
    for index in 0..10_u8 {
        builder.event(ROWS, &vec![index.wrapping_mul(37) | 1; 50 + usize::from(index)]);
    }
    builder
}

#[test]
fn every_event_comes_once_with_its_offset() {
    for checksums in [true, false] {
        let mut builder = Builder::new(checksums);
        for index in 0..3_000_usize {
            builder.event(ROWS, &vec![7; index % 997]);
        }
        let read = read_bytes(&builder.bytes);
        assert_eq!(read.files, [("binlog.000001".to_owned(), 4)]);
        assert_eq!(starts(&read), builder.starts);
        let joined: Vec<u8> = read.events.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(joined, builder.bytes[4..]);
        assert!(read.damage.is_empty() && read.batches > 1);
    }
}

#[test]
fn large_event_is_read_whole_or_in_parts() {
    for positions in [true, false] {
        let mut builder = Builder::new(true);
        builder.positions = positions;
        let large = builder.event(ROWS, &vec![1; 1 << 20]);
        let after = builder.event(ROWS, b"after");
        let dir = TempDir::new().unwrap();
        let path = write(&dir, "binlog.000001", &builder.bytes);
        let size = (1_u32 << 20) + 23;
        let whole = FileSource::new(vec![path.clone()]).with_whole_bytes_max(size);
        let whole = read(whole).unwrap();
        assert_eq!((starts(&whole), whole.large), (vec![4, large, after], vec![]));
        let parts = FileSource::new(vec![path]).with_whole_bytes_max(size - 1);
        let progress = parts.progress();
        let parts = read(parts).unwrap();
        assert_eq!((parts.events, parts.large), (whole.events, vec![(large, u64::from(size))]));
        assert!(parts.damage.is_empty() && parts.batches > 1);
        assert_eq!(progress.read_bytes(), progress.total_bytes());
    }
}

#[test]
fn files_follow_each_other_and_bad_ones_do_not_stop() {
    let dir = TempDir::new().unwrap();
    let good = ten(true).bytes;
    let paths = vec![
        write(&dir, "a.1", &good),
        write(&dir, "a.2", b"\xfdbin0123456789"),
        write(&dir, "a.3", b"hello world"),
        write(&dir, "a.4", b""),
        write(&dir, "a.5", &good),
    ];
    let source = FileSource::new(paths);
    let progress = source.progress();
    let read = read(source).unwrap();
    let names: Vec<_> = read.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.1", "a.2", "a.3", "a.4", "a.5"]);
    assert_eq!(read.events.len(), 22);
    assert_eq!(
        read.damage,
        [
            (0, 14, Malformed::Encrypted),
            (0, 11, Malformed::NotBinlog),
            (0, 0, Malformed::NotBinlog)
        ]
    );
    assert_eq!(progress.read_bytes(), progress.total_bytes());
    assert!(matches!(read_missing(dir.path().join("none")), Err(SourceError::File { .. })));
}

fn read_missing(path: PathBuf) -> Result<Read, SourceError> {
    read(FileSource::new(vec![path]))
}

#[test]
fn start_in_the_middle_still_gives_the_format() {
    let builder = ten(true);
    let dir = TempDir::new().unwrap();
    let path = write(&dir, "binlog.000001", &builder.bytes);
    let from = builder.starts[6];
    let read_from = |offset| read(FileSource::new(vec![path.clone()]).with_start(offset));
    let got = read_from(from).unwrap();
    assert_eq!(got.files, [("binlog.000001".to_owned(), from)]);
    assert_eq!(starts(&got), [&[4], &builder.starts[6..]].concat());
    assert_eq!(starts(&read_from(4).unwrap()), builder.starts);
    assert!(read_from(1 << 40).is_err());
}

/// A file cut anywhere: the events before the cut come, and one damage for the rest.
#[test]
fn cut_file_gives_its_whole_events_and_one_damage() {
    for checksums in [true, false] {
        let builder = ten(checksums);
        let full = &builder.bytes;
        for end in 4..full.len() {
            let read = read_bytes(&full[..end]);
            let border = builder.starts.iter().rposition(|start| *start <= end as u64).unwrap();
            let whole = builder.starts[..border].to_vec();
            assert_eq!(starts(&read), whole, "cut at {end}");
            let start = builder.starts[border];
            if start == end as u64 {
                assert!(read.damage.is_empty(), "cut at {end}");
                continue;
            }
            let [(offset, bytes, Malformed::Truncated { .. })] = read.damage[..] else {
                panic!("cut at {end}: {:?}", read.damage)
            };
            assert_eq!((offset, bytes), (start, end as u64 - start), "cut at {end}");
        }
    }
}

/// One flipped bit anywhere: all other events still come, and what does not come is named.
#[test]
fn flipped_bit_costs_one_event() {
    let builder = ten(true);
    let target = 5;
    let (from, to) = (builder.starts[target], builder.starts[target + 1]);
    for bit in from * 8..to * 8 {
        let mut bytes = builder.bytes.clone();
        bytes[bit as usize / 8] ^= 1 << (bit % 8);
        let read = read_bytes(&bytes);
        let got = starts(&read);
        let mut others = builder.starts.clone();
        others.remove(target);
        if got.contains(&from) {
            // The framing is whole: the decoder's checksum finds the rest.
            assert_eq!(got, builder.starts, "bit {bit}");
            assert!(read.damage.is_empty());
        } else {
            assert_eq!(got, others, "bit {bit}");
            let [(offset, bytes, _)] = read.damage[..] else { panic!("bit {bit}") };
            assert_eq!((offset, bytes), (from, to - from), "bit {bit}");
        }
    }
}

/// No byte goes unmentioned, whatever the file holds.
#[test]
fn every_byte_is_in_an_event_or_in_damage() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..2_000 {
        let mut bytes = ten(round % 2 == 0).bytes;
        for _ in 0..=random() % 8 {
            let at = 4 + (random() as usize) % (bytes.len() - 4);
            match random() % 4 {
                0 => bytes[at] = random() as u8,
                1 => bytes[at..].fill(0),
                2 => {
                    bytes.drain(at..bytes.len().min(at + (random() as usize) % 40));
                }
                _ => bytes.splice(at..at, [0xff, 0xff, 0xff, 0x7f]).for_each(drop),
            }
        }
        let read = read_bytes(&bytes);
        let mut pieces: Vec<(u64, u64)> = read
            .events
            .iter()
            .map(|(start, event)| (*start, event.len() as u64))
            .chain(read.damage.iter().map(|(start, bytes, _)| (*start, *bytes)))
            .collect();
        pieces.sort_unstable();
        let mut at = 4;
        for (start, size) in pieces {
            assert_eq!(start, at, "round {round}");
            at += size;
        }
        assert_eq!(at, bytes.len() as u64, "round {round}");
    }
}

/// A claimed size is no reason to set memory aside, or to believe it.
#[test]
fn hostile_sizes_are_not_followed() {
    for size in [0_u32, 1, 18, 19, 20, 0x7fff_ffff, u32::MAX, 127 << 20] {
        let mut builder = ten(true);
        let from = builder.starts[5] as usize;
        builder.bytes[from + 9..from + 13].copy_from_slice(&size.to_le_bytes());
        builder.bytes[from + 13..from + 17].copy_from_slice(&[0xff; 4]);
        let read = read_bytes(&builder.bytes);
        let mut others = builder.starts.clone();
        others.remove(5);
        assert_eq!(starts(&read), others, "size {size}");
        assert_eq!(read.damage.len(), 1);
    }
}

/// MariaDB leaves positions out inside transactions.
#[test]
fn events_without_position_are_read() {
    for checksums in [true, false] {
        let mut builder = Builder::new(checksums);
        builder.positions = false;
        for index in 0..2_000_usize {
            builder.event(ROWS, &vec![3; index % 500]);
        }
        builder.positions = true;
        builder.event(16, &[0; 8]);
        let read = read_bytes(&builder.bytes);
        assert_eq!(starts(&read), builder.starts);
        assert!(read.damage.is_empty(), "{:?}", read.damage);
    }
}

#[test]
fn encrypted_rest_of_a_mariadb_file_is_one_damage() {
    let mut builder = Builder::new(true);
    let at = builder.event(164, &[1; 17]);
    builder.bytes.extend([0x5a; 5_000]);
    let read = read_bytes(&builder.bytes);
    assert_eq!(starts(&read), [4]);
    assert_eq!(read.damage, [(at, builder.bytes.len() as u64 - at, Malformed::Encrypted)]);
}

/// Positions in headers have 32 bits, offsets do not.
#[test]
fn offsets_go_on_beyond_4_gib() {
    use std::os::unix::fs::FileExt;
    let far = (4_u64 << 30) + 1_000;
    let dir = TempDir::new().unwrap();
    let path = write(&dir, "binlog.000001", &Builder::new(true).bytes);
    // A hole stands for what comes before.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut at = far;
    for index in 0..3_u8 {
        let end = at + 29;
        let mut event = event(ROWS, &[index; 6], 29, end as u32, 0);
        event.extend(crc32fast::hash(&event).to_le_bytes());
        file.write_all_at(&event, at).unwrap();
        at = end;
    }
    let read = read(FileSource::new(vec![path]).with_start(far)).unwrap();
    assert_eq!(starts(&read), [4, far, far + 29, far + 58]);
    assert!(read.damage.is_empty());
}

/// Every recording, as read ahead: the same items in the same order, payloads inflated.
#[test]
fn files_read_ahead_give_the_same() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/types");
    let mut inflated = 0;
    for server in std::fs::read_dir(fixtures).unwrap() {
        for file in std::fs::read_dir(server.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "binlog") {
                let (plain, mut ahead) = both(path.clone());
                inflated += std::mem::take(&mut ahead.inflated);
                assert_eq!(plain, ahead, "{}", path.display());
            }
        }
    }
    assert!(inflated > 0);
    // A damaged file, a missing one after a good one.
    let dir = TempDir::new().unwrap();
    let mut bytes = ten(true).bytes;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let (plain, ahead) = both(write(&dir, "damaged", &bytes));
    assert_eq!(plain, ahead);
    let good = write(&dir, "good", &ten(true).bytes);
    let mut source = Ahead::new(FileSource::new(vec![good, dir.path().join("missing")]));
    assert!(source.next_batch().unwrap().is_some());
    let error = loop {
        match source.next_batch() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a missing file is no end"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("missing"), "{error}");
}

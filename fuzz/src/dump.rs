//! A dump: packets and their frames, events in them, file changes, the place in the log, and what
//! the decoder makes of the result.
//!
//! Input: a byte of options (bit 0: the bytes come as they are, else as packets, as in
//! [`crate::login`]; bit 1: MariaDB; bit 2: packets are events, the status byte before them and
//! their size are set right; bits 3 and 4: where the dump starts; the rest: bytes that arrive at a
//! time), then the bytes.
//!
//! Asserts that events are whole and within the limit, that the parts of a larger one follow each
//! other, that the offsets of a file ascend, and what [`Lines`] does.

use phiwatch_binlog::framing::Header;
use phiwatch_source::fuzzing::{Script, WHOLE_BYTES_MAX, dump};
use phiwatch_source::{Batch, Item, StartAt};

use crate::lines::Lines;
use crate::log::decoder;
use crate::login::{packets, piece_bytes};
use crate::server::{UUID, ok, rows, up_to_dump};

const FORMAT_DESCRIPTION: u8 = 15;

/// Reads the dump.
pub fn run(data: &[u8]) {
    let Some((options, rest)) = data.split_first() else { return };
    let is_mariadb = options & 2 == 2;
    let mut script = Script {
        packets: up_to_dump(is_mariadb, ""),
        raw: Vec::new(),
        piece_bytes: piece_bytes(*options),
    };
    let start = match options >> 3 & 3 {
        0 => StartAt::Oldest,
        1 if is_mariadb => StartAt::Gtid("0-1-2".parse().expect("a MariaDB GTID")),
        1 => StartAt::Gtid(format!("{UUID}:1-5").parse().expect("a GTID set")),
        2 => StartAt::Position { file: "binlog.000001".into(), offset: 4 },
        _ => StartAt::Position { file: "binlog.000001".into(), offset: (4 << 30) + 100 },
    };
    if is_mariadb && start == StartAt::Oldest {
        script.packets.extend(rows(&["Log_name", "File_size"], &[&["binlog.000001", "900"]]));
    }
    // The session's settings, the registration.
    script.packets.extend([ok(), ok()]);
    if options & 1 == 1 {
        script.raw = rest.to_vec();
    } else if options & 4 == 4 {
        script.packets.extend(packets(rest).into_iter().map(sized));
    } else {
        script.packets.extend(packets(rest));
    }
    let (end, batches) = dump(script, start);
    assert!(end.is_err(), "a connection that closes is an error");
    check(&batches);
}

/// As an event behind its status byte; its size is what it has.
fn sized(mut event: Vec<u8>) -> Vec<u8> {
    let bytes = (event.len() as u32).to_le_bytes();
    if let Some(size) = event.get_mut(9..13) {
        size.copy_from_slice(&bytes);
    }
    event.insert(0, 0);
    event
}

fn check(batches: &[Batch]) {
    let mut lines = Lines::default();
    let mut decoder = decoder();
    let mut least = 0;
    let mut open: Option<(u64, u64)> = None;
    for batch in batches {
        for item in &batch.items {
            match item {
                Item::File { name, offset } => {
                    open = None;
                    assert!(!name.is_empty() && !name.contains('/'), "a file's own name");
                    least = *offset;
                    decoder.start_file(name);
                }
                Item::Event { offset, range } => {
                    let event = &batch.bytes[range.clone()];
                    let header = Header::parse(event).expect("an event has a header");
                    assert_eq!(header.event_bytes as usize, event.len());
                    // What a read brings at once is not cut into parts.
                    assert!(header.event_bytes <= WHOLE_BYTES_MAX + (128 << 10));
                    // The format comes before a start in the middle, too.
                    if header.advances() && header.kind != FORMAT_DESCRIPTION {
                        assert!(*offset >= least, "offsets ascend");
                        least = *offset;
                    }
                    decoder.event(*offset, event, &mut lines);
                }
                Item::Part { offset, range, left } => {
                    let part = &batch.bytes[range.clone()];
                    assert!(!part.is_empty(), "a part has bytes");
                    if let Some((at, rest)) = open {
                        assert_eq!((at, rest), (*offset, left + part.len() as u64));
                    } else {
                        let header = Header::parse(part).expect("the first part has the header");
                        if header.advances() && header.kind != FORMAT_DESCRIPTION {
                            assert!(*offset >= least, "offsets ascend");
                            least = *offset;
                        }
                    }
                    open = (*left > 0).then_some((*offset, *left));
                    decoder.part(*offset, part, *left, &mut lines);
                }
                Item::Damage { offset, bytes, cause } => {
                    open = None;
                    assert!(*offset >= least, "offsets ascend");
                    decoder.damaged(*offset, *bytes, cause.clone(), &mut lines);
                }
                _ => {}
            }
        }
    }
    decoder.finish(&mut lines);
    lines.check();
}

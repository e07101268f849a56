//! Binlog files as bytes: where events start, and copies with damage.

use std::ops::Range;

/// Magic number at a file's start.
const MAGIC: &[u8] = b"\xfebin";
/// Common header of an event: time, type, server id, size, end position, flags.
const HEADER_BYTES: usize = 19;
/// CRC32 at an event's end, where checksums are on.
const CHECKSUM_BYTES: usize = 4;
/// Type code of the format description event (`Log_event_type` in the servers' sources).
const FORMAT_DESCRIPTION: u8 = 15;

/// One event's place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its bytes, header and checksum included.
    pub range: Range<usize>,
    /// Type code.
    pub code: u8,
}

/// Walks the events of an undamaged file.
#[must_use]
pub fn events(file: &[u8]) -> Vec<Event> {
    assert!(file.starts_with(MAGIC), "not a binlog");
    let mut out = Vec::new();
    let mut at = MAGIC.len();
    while at < file.len() {
        let size = u32::from_le_bytes(file[at + 9..at + 13].try_into().unwrap()) as usize;
        assert!(size >= HEADER_BYTES && at + size <= file.len(), "event of {size} bytes at {at}");
        out.push(Event { range: at..at + size, code: file[at + 4] });
        at += size;
    }
    out
}

/// Whether the file's events end in a CRC32: the byte before the format description's own one.
#[must_use]
pub fn has_checksums(file: &[u8]) -> bool {
    let first = &events(file)[0];
    assert_eq!(first.code, FORMAT_DESCRIPTION, "a file begins with its format");
    file[first.range.end - CHECKSUM_BYTES - 1] == 1
}

/// Flips one bit of an event's body and, where there are checksums, makes the event's anew: what a
/// decoder meets when the damage came before the checksum.
pub fn flip_and_seal(file: &mut [u8], event: &Event, byte: usize, bit: u32) {
    let is_sealed = has_checksums(file);
    let body_end = event.range.end - if is_sealed { CHECKSUM_BYTES } else { 0 };
    let at = event.range.start + HEADER_BYTES + byte;
    assert!(at < body_end, "byte {byte} is outside the event's body");
    file[at] ^= 1 << (bit % 8);
    if is_sealed {
        let sum = crc32fast::hash(&file[event.range.start..body_end]);
        file[body_end..event.range.end].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Bytes of an event's body that [`flip_and_seal`] can damage.
#[must_use]
pub fn body_bytes(file: &[u8], event: &Event) -> usize {
    let tail = if has_checksums(file) { CHECKSUM_BYTES } else { 0 };
    event.range.len().saturating_sub(HEADER_BYTES + tail)
}

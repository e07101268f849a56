//! Binlog files made of fuzzed bytes: reading them like a file reader, sealing them again, and
//! building them around one fuzzed event.

use phiwatch_binlog::framing::{self, CHECKSUM_BYTES, HEADER_BYTES, Header};
use phiwatch_binlog::{Decoder, Limits, Malformed, Visitor};

/// Event types that targets build (MySQL `binlog_event.h`).
pub const QUERY: u8 = 2;
/// End of a transaction.
pub const XID: u8 = 16;
/// Table map.
pub const TABLE_MAP: u8 = 19;
/// A compressed transaction.
pub const TRANSACTION_PAYLOAD: u8 = 40;
const FORMAT_DESCRIPTION: u8 = 15;
const MARIA_GTID: u8 = 162;

/// Largest event of a target, bytes; also what a compressed one may inflate to.
pub const EVENT_BYTES_MAX: u32 = 1 << 20;

/// A decoder at the start of a file, with this workspace's limit.
#[must_use]
pub fn decoder() -> Decoder {
    let mut decoder = Decoder::new(Limits { event_bytes_max: EVENT_BYTES_MAX });
    decoder.start_file("binlog.000001");
    decoder
}

/// Reads the file's bytes to their end, from one event to the next, and after damage on to where
/// an event can be made out again.
pub fn read(bytes: &[u8], visitor: &mut impl Visitor) {
    let mut decoder = decoder();
    let mut offset = framing::MAGIC.len();
    while offset < bytes.len() {
        let (at, rest) = (offset as u64, &bytes[offset..]);
        match event(rest, &decoder) {
            Ok(event) => {
                decoder.event(at, event, visitor);
                offset += event.len();
            }
            Err(cause) => {
                let checksums = decoder.checksums();
                let found = framing::resync(&rest[1..], at + 1, checksums, EVENT_BYTES_MAX);
                let skipped = found.map_or(rest.len(), |index| index + 1);
                assert!(skipped <= rest.len(), "a resync stays in its window");
                decoder.damaged(at, skipped as u64, cause, visitor);
                offset += skipped;
            }
        }
    }
    decoder.finish(visitor);
    assert!(!decoder.in_transaction(), "the end of the input ends a transaction");
}

fn event<'a>(rest: &'a [u8], decoder: &Decoder) -> Result<&'a [u8], Malformed> {
    let header = Header::parse(rest)?;
    header.check(EVENT_BYTES_MAX, decoder.checksums())?;
    let (claimed, found) = (u64::from(header.event_bytes), rest.len() as u64);
    rest.get(..header.event_bytes as usize).ok_or(Malformed::EventSize { claimed, found })
}

/// The same file with every event's size and checksum set right, and its events where they can
/// still be made out: mutations then reach what is behind the framing.
#[must_use]
pub fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut out = framing::MAGIC.to_vec();
    let mut rest = bytes.get(framing::MAGIC.len()..).unwrap_or_default();
    let server_id = Header::parse(rest).map(|header| header.server_id).unwrap_or_default();
    let mut checksums = false;
    while let Ok(header) = Header::parse(rest) {
        let size = next_start(rest, &header, server_id);
        let (found, behind) = rest.split_at(size);
        let is_format = header.kind == FORMAT_DESCRIPTION;
        if is_format {
            // The algorithm stands before the format description's own checksum.
            checksums = found.len() > 5 && found[found.len() - 5] == 1;
        }
        let has_room = found.len() >= HEADER_BYTES + CHECKSUM_BYTES;
        seal(found, (checksums || is_format) && has_room, &mut out);
        rest = behind;
    }
    out
}

/// Where the event ends: where it says, if a header stands there; else before the next one.
fn next_start(rest: &[u8], header: &Header, server_id: u32) -> usize {
    let is_start = |at: usize| {
        let next = rest.get(at..).map(Header::parse);
        next.is_some_and(|next| {
            next.is_ok_and(|next| {
                next.server_id == server_id && next.flags & !0x83ff == 0 && next.event_bytes > 18
            })
        })
    };
    let claimed = header.event_bytes as usize;
    if claimed >= HEADER_BYTES && (claimed == rest.len() || is_start(claimed)) {
        return claimed;
    }
    (HEADER_BYTES..rest.len()).find(|at| is_start(*at)).unwrap_or(rest.len())
}

fn seal(event: &[u8], checksum: bool, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(event);
    let size = u32::try_from(event.len()).unwrap_or(u32::MAX);
    out[start + 9..start + 13].copy_from_slice(&size.to_le_bytes());
    if checksum {
        let end = out.len() - CHECKSUM_BYTES;
        let mut covered = out[start..end].to_vec();
        if covered[4] == FORMAT_DESCRIPTION {
            // It counts with its in-use flag cleared.
            covered[17] &= !1;
        }
        out[end..].copy_from_slice(&crc32fast::hash(&covered).to_le_bytes());
    }
}

/// Gives a decoder a file without checksums, event by event.
#[derive(Debug)]
pub struct Writer {
    decoder: Decoder,
    offset: u64,
    is_mariadb: bool,
    /// Events after the format description come in parts of so many bytes, as large ones do.
    part_bytes: Option<usize>,
}

impl Writer {
    /// A file whose format description was read.
    #[must_use]
    pub fn new(is_mariadb: bool, visitor: &mut impl Visitor) -> Self {
        let version: &[u8] = if is_mariadb { b"11.8.2-MariaDB-log" } else { b"9.7.0" };
        let mut body = vec![4, 0];
        body.extend(version);
        body.resize(2 + 50, 0);
        body.extend([0, 0, 0, 0, 19]);
        let mut lengths = [0_u8; 42];
        lengths[1] = 13;
        lengths[18] = 8;
        for code in [22, 23, 24] {
            lengths[code] = 8;
            lengths[code + 7] = 10;
        }
        body.extend(lengths);
        // Checksum algorithm: none. Behind it the format description's own checksum.
        body.push(0);
        let mut writer = Self { decoder: decoder(), offset: 4, is_mariadb, part_bytes: None };
        let mut event = event_of(FORMAT_DESCRIPTION, &body, CHECKSUM_BYTES);
        event.extend(crc32fast::hash(&event).to_le_bytes());
        writer.raw(&event, visitor);
        writer
    }

    /// The same, and events come in parts from now on.
    #[must_use]
    pub fn in_parts(is_mariadb: bool, part_bytes: usize, visitor: &mut impl Visitor) -> Self {
        Self { part_bytes: Some(part_bytes.max(HEADER_BYTES)), ..Self::new(is_mariadb, visitor) }
    }

    /// A transaction begins.
    pub fn begin(&mut self, visitor: &mut impl Visitor) {
        if self.is_mariadb {
            self.event(
                MARIA_GTID,
                &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                visitor,
            );
        } else {
            let body = query(b"BEGIN", 0);
            self.event(QUERY, &body, visitor);
        }
    }

    /// Any event.
    pub fn event(&mut self, kind: u8, body: &[u8], visitor: &mut impl Visitor) {
        self.raw(&event_of(kind, body, 0), visitor);
    }

    /// XID and the file's end.
    pub fn finish(mut self, visitor: &mut impl Visitor) {
        self.event(XID, &[1, 0, 0, 0, 0, 0, 0, 0], visitor);
        self.decoder.finish(visitor);
    }

    fn raw(&mut self, event: &[u8], visitor: &mut impl Visitor) {
        match self.part_bytes {
            None => drop(self.decoder.event(self.offset, event, visitor)),
            Some(bytes) => {
                let mut left = event.len();
                for part in event.chunks(bytes) {
                    left -= part.len();
                    self.decoder.part(self.offset, part, left as u64, visitor);
                }
            }
        }
        self.offset += event.len() as u64;
    }
}

/// One event without a checksum; `behind` bytes will follow it.
#[must_use]
pub fn event_of(kind: u8, body: &[u8], behind: usize) -> Vec<u8> {
    let mut event = 1_700_000_000_u32.to_le_bytes().to_vec();
    event.push(kind);
    event.extend(1_u32.to_le_bytes());
    let size = u32::try_from(HEADER_BYTES + body.len() + behind).unwrap_or(u32::MAX);
    event.extend(size.to_le_bytes());
    event.extend([0; 6]);
    event.extend(body);
    event
}

/// Body of a QUERY event in schema `magento` with the SQL mode's number.
#[must_use]
pub fn query(text: &[u8], sql_mode: u64) -> Vec<u8> {
    let mut body = vec![7, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 9, 0, 1];
    body.extend(sql_mode.to_le_bytes());
    body.extend(b"magento\0");
    body.extend(text);
    body
}

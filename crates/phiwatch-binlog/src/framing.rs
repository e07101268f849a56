//! Where events begin and end: the file's first bytes, the 19-byte header, and the way back to
//! the next event after damage.
//!
//! Input: bytes of a file or of a dump packet. Output: [`Header`]s and offsets. A size in a header
//! is a claim: check it against a limit before reading that many bytes.

use crate::Malformed;
use crate::reader::Reader;

/// Bytes of an event header (binlog version 4).
pub const HEADER_BYTES: usize = 19;
/// Bytes of the checksum at an event's end, where there is one.
pub const CHECKSUM_BYTES: usize = 4;
/// What a plain binlog file begins with; its first event stands behind it, at offset 4.
pub const MAGIC: [u8; 4] = *b"\xfebin";
/// What a file encrypted by MySQL begins with.
pub const MAGIC_ENCRYPTED: [u8; 4] = *b"\xfdbin";

const FLAG_ARTIFICIAL: u16 = 0x20;
const FLAG_IGNORABLE: u16 = 0x80;
/// All flags that any server sets (MySQL `log_event.h`, MariaDB `log_event.h`).
const FLAGS_KNOWN: u16 = 0x83ff;

/// What the first four bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Magic {
    /// A binlog; events start at offset 4.
    Plain,
    /// A binlog encrypted by MySQL: cannot be read offline.
    Encrypted,
    /// Something else, or shorter than four bytes.
    NotBinlog,
}

/// Looks at the first bytes of a file (four are enough).
#[must_use]
pub fn magic(first: &[u8]) -> Magic {
    match first.first_chunk::<4>() {
        Some(&MAGIC) => Magic::Plain,
        Some(&MAGIC_ENCRYPTED) => Magic::Encrypted,
        _ => Magic::NotBinlog,
    }
}

/// An event's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Seconds since 1970 UTC: start of the statement.
    pub timestamp_secs: u32,
    /// Event type.
    pub kind: u8,
    /// The server that first executed it.
    pub server_id: u32,
    /// Size of the event with header and checksum: a claim.
    pub event_bytes: u32,
    /// End of the event in its file, low 32 bits; 0 in artificial and some other events.
    pub log_pos: u32,
    /// Flags.
    pub flags: u16,
}

impl Header {
    /// Reads the first 19 bytes.
    ///
    /// # Errors
    /// Fewer than 19 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.left() < HEADER_BYTES {
            let left = reader.left() as u64;
            return Err(Malformed::Truncated { field: "event header", needed: 19, left });
        }
        Ok(Self {
            timestamp_secs: reader.u32("timestamp")?,
            kind: reader.u8("event type")?,
            server_id: reader.u32("server id")?,
            event_bytes: reader.u32("event size")?,
            log_pos: reader.u32("log position")?,
            flags: reader.u16("flags")?,
        })
    }

    /// Its bytes again.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(self.timestamp_secs.to_le_bytes());
        bytes.push(self.kind);
        bytes.extend(self.server_id.to_le_bytes());
        bytes.extend(self.event_bytes.to_le_bytes());
        bytes.extend(self.log_pos.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes
    }

    /// Checks the claimed size before anybody reads that much.
    ///
    /// # Errors
    /// Smaller than a header (with its checksum, if there is one), or over `bytes_max`.
    pub fn check(&self, bytes_max: u32, checksums: bool) -> Result<(), Malformed> {
        let least =
            if checksums { HEADER_BYTES.saturating_add(CHECKSUM_BYTES) } else { HEADER_BYTES };
        let claimed = u64::from(self.event_bytes);
        if claimed < least as u64 {
            return Err(Malformed::EventSize { claimed, found: least as u64 });
        }
        if self.event_bytes > bytes_max {
            let bytes_max = u64::from(bytes_max);
            return Err(Malformed::TooLarge { field: "event", bytes: claimed, bytes_max });
        }
        Ok(())
    }

    /// Made by the server for this connection; it does not stand in the file.
    #[must_use]
    pub fn is_artificial(&self) -> bool {
        self.flags & FLAG_ARTIFICIAL != 0
    }

    /// A reader that does not know the type may skip it.
    #[must_use]
    pub fn is_ignorable(&self) -> bool {
        self.flags & FLAG_IGNORABLE != 0
    }

    /// The event takes up room in the file, so that the next one stands `event_bytes` behind it.
    /// False for what a server makes up in a dump: heartbeats, fake ROTATE and GTID lists, and the
    /// format description before a start in the middle.
    #[must_use]
    pub fn advances(&self) -> bool {
        let invented = match self.kind {
            kind::ROTATE | kind::FORMAT_DESCRIPTION | kind::START_ENCRYPTION => self.log_pos == 0,
            kind::HEARTBEAT | kind::HEARTBEAT_V2 => true,
            _ => false,
        };
        !invented && !self.is_artificial()
    }
}

/// The offset of an event of a dump, given where the previous one ended: normally just there, but
/// a server that skips known transactions jumps, and only the header's 32-bit position tells.
#[must_use]
pub fn offset_in_dump(header: &Header, expected: u64) -> u64 {
    if header.log_pos == 0 || !header.advances() {
        return expected;
    }
    let start = u64::from(header.log_pos.wrapping_sub(header.event_bytes));
    let near = (expected & !0xffff_ffff) | start;
    let half = 1_u64 << 31;
    let nearest = if near.saturating_add(half) < expected {
        near.saturating_add(1 << 32)
    } else if near > expected.saturating_add(half) {
        near.saturating_sub(1 << 32)
    } else {
        near
    };
    nearest.max(expected)
}

/// Whether an event with this header could stand at `offset`: known flags, a size between a
/// header and `bytes_max`, a position that fits; or, without a position, a known type.
#[must_use]
pub fn plausible_next(header: &Header, offset: u64, bytes_max: u32) -> bool {
    let end = offset.wrapping_add(u64::from(header.event_bytes));
    let position_fits = match header.log_pos {
        0 => kind::is_known(header.kind),
        low => u64::from(low) == end & 0xffff_ffff,
    };
    position_fits && header.flags & !FLAGS_KNOWN == 0 && header.check(bytes_max, false).is_ok()
}

/// Searches `window`, whose first byte stands at `offset` of the file, for the next event;
/// returns its index in the window. An event that ends within the window must have the right
/// CRC32 (with `checksums`); one that reaches beyond it must give its own position. If there is
/// none, go on with a window that starts 18 bytes before the end of this one.
#[must_use]
pub fn resync(window: &[u8], offset: u64, checksums: bool, bytes_max: u32) -> Option<usize> {
    let mut rest = window;
    let mut index = 0_usize;
    while rest.len() >= HEADER_BYTES {
        let at = offset.wrapping_add(index as u64);
        if is_event_start(rest, at, checksums, bytes_max) {
            return Some(index);
        }
        rest = rest.split_first().map_or(&[], |(_, tail)| tail);
        index = index.saturating_add(1);
    }
    None
}

fn is_event_start(bytes: &[u8], at: u64, checksums: bool, bytes_max: u32) -> bool {
    let Ok(header) = Header::parse(bytes) else { return false };
    if !plausible_next(&header, at, bytes_max) || header.check(bytes_max, checksums).is_err() {
        return false;
    }
    let size = usize::try_from(header.event_bytes).unwrap_or(usize::MAX);
    let Some((event, behind)) = bytes.split_at_checked(size) else { return header.log_pos != 0 };
    if checksums {
        return crc32_fits(event);
    }
    let end = at.wrapping_add(size as u64);
    match Header::parse(behind) {
        Ok(next) => plausible_next(&next, end, bytes_max),
        Err(_) => header.log_pos != 0,
    }
}

/// Whether the last four bytes are the CRC32 of the others.
#[must_use]
pub fn crc32_fits(event: &[u8]) -> bool {
    event.split_last_chunk::<CHECKSUM_BYTES>().is_some_and(|(covered, found)| {
        covered.len() >= HEADER_BYTES && crc32(covered) == u32::from_le_bytes(*found)
    })
}

/// CRC32 of an event without its checksum; a format description counts with its in-use flag
/// cleared (MySQL `Log_event_footer::event_checksum_test`).
pub(crate) fn crc32(covered: &[u8]) -> u32 {
    if covered.get(4) == Some(&kind::FORMAT_DESCRIPTION)
        && let Some((head, tail)) = covered.split_at_checked(17)
        && let Some((flags, body)) = tail.split_first()
        && flags & 1 == 1
    {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(head);
        hasher.update(&[flags & !1]);
        hasher.update(body);
        return hasher.finalize();
    }
    crc32fast::hash(covered)
}

/// Event type numbers (MySQL `binlog_event.h`, MariaDB `log_event.h`).
pub(crate) mod kind {
    pub(crate) const QUERY: u8 = 2;
    pub(crate) const STOP: u8 = 3;
    pub(crate) const ROTATE: u8 = 4;
    pub(crate) const INTVAR: u8 = 5;
    pub(crate) const LOAD: u8 = 6;
    pub(crate) const SLAVE: u8 = 7;
    pub(crate) const CREATE_FILE: u8 = 8;
    pub(crate) const APPEND_BLOCK: u8 = 9;
    pub(crate) const EXEC_LOAD: u8 = 10;
    pub(crate) const DELETE_FILE: u8 = 11;
    pub(crate) const NEW_LOAD: u8 = 12;
    pub(crate) const RAND: u8 = 13;
    pub(crate) const USER_VAR: u8 = 14;
    pub(crate) const FORMAT_DESCRIPTION: u8 = 15;
    pub(crate) const XID: u8 = 16;
    pub(crate) const BEGIN_LOAD_QUERY: u8 = 17;
    pub(crate) const EXECUTE_LOAD_QUERY: u8 = 18;
    pub(crate) const TABLE_MAP: u8 = 19;
    pub(crate) const PRE_GA_WRITE_ROWS: u8 = 20;
    pub(crate) const PRE_GA_DELETE_ROWS: u8 = 22;
    pub(crate) const INCIDENT: u8 = 26;
    pub(crate) const HEARTBEAT: u8 = 27;
    pub(crate) const IGNORABLE: u8 = 28;
    pub(crate) const ROWS_QUERY: u8 = 29;
    pub(crate) const GTID: u8 = 33;
    pub(crate) const ANONYMOUS_GTID: u8 = 34;
    pub(crate) const PREVIOUS_GTIDS: u8 = 35;
    pub(crate) const TRANSACTION_CONTEXT: u8 = 36;
    pub(crate) const VIEW_CHANGE: u8 = 37;
    pub(crate) const XA_PREPARE: u8 = 38;
    pub(crate) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(crate) const HEARTBEAT_V2: u8 = 41;
    pub(crate) const GTID_TAGGED: u8 = 42;
    pub(crate) const AURORA_PADDING: u8 = 100;
    pub(crate) const MARIA_ANNOTATE_ROWS: u8 = 160;
    pub(crate) const MARIA_CHECKPOINT: u8 = 161;
    pub(crate) const MARIA_GTID: u8 = 162;
    pub(crate) const MARIA_GTID_LIST: u8 = 163;
    pub(crate) const START_ENCRYPTION: u8 = 164;
    pub(crate) const MARIA_QUERY_COMPRESSED: u8 = 165;
    pub(crate) const MARIA_LAST: u8 = 172;

    /// Whether any server writes such events.
    pub(crate) fn is_known(code: u8) -> bool {
        matches!(code, 1..=GTID_TAGGED | AURORA_PADDING | MARIA_ANNOTATE_ROWS..=MARIA_LAST)
    }
}

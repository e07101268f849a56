//! The few things that a dump client must read from events: types, the file in a ROTATE, GTIDs,
//! and whether a QUERY begins or ends a transaction.

use phiwatch_binlog::{
    Gtid, GtidSet,
    framing::{HEADER_BYTES, Header, crc32_fits},
};

/// Event types (MySQL `binlog_event.h`, MariaDB `log_event.h`).
pub(crate) mod kind {
    pub(crate) const QUERY: u8 = 2;
    pub(crate) const ROTATE: u8 = 4;
    pub(crate) const FORMAT_DESCRIPTION: u8 = 15;
    pub(crate) const XID: u8 = 16;
    pub(crate) const INCIDENT: u8 = 26;
    pub(crate) const HEARTBEAT: u8 = 27;
    pub(crate) const GTID: u8 = 33;
    pub(crate) const ANONYMOUS_GTID: u8 = 34;
    pub(crate) const PREVIOUS_GTIDS: u8 = 35;
    pub(crate) const XA_PREPARE: u8 = 38;
    pub(crate) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(crate) const HEARTBEAT_V2: u8 = 41;
    pub(crate) const GTID_TAGGED: u8 = 42;
    pub(crate) const MARIA_GTID: u8 = 162;
    pub(crate) const MARIA_GTID_LIST: u8 = 163;
    pub(crate) const START_ENCRYPTION: u8 = 164;
    pub(crate) const MARIA_QUERY_COMPRESSED: u8 = 165;
}

/// Whether a format description says that events carry a CRC32. It itself does wherever it has
/// the field at all (MySQL 5.6.1, MariaDB 5.3), so a fitting CRC32 also tells that there is one.
pub(crate) fn has_checksums(format_description: &[u8]) -> bool {
    crc32_fits(format_description) && matches!(format_description, [.., 1, _, _, _, _])
}

/// The position and the file name of a ROTATE event. MariaDB puts a CRC32 behind the name before
/// it has said that it does; MySQL does not.
pub(crate) fn rotate(event: &[u8]) -> Option<(u64, &str)> {
    let body = event.get(HEADER_BYTES..)?;
    let (position, name) = body.split_first_chunk::<8>()?;
    let name = if crc32_fits(event) { name.get(..name.len().checked_sub(4)?)? } else { name };
    let name = name.split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?.rsplit(['/', '\\']).next()?;
    (!name.is_empty()).then_some((u64::from_le_bytes(*position), name))
}

/// What a QUERY does to the transaction that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    /// BEGIN or XA START.
    Begin,
    /// COMMIT, ROLLBACK, XA COMMIT, XA ROLLBACK.
    End,
    /// Any other statement.
    Other,
}

/// Classes a QUERY event's text.
pub(crate) fn query(event: &[u8], checksums: bool) -> Query {
    match text(event, checksums) {
        Some(text) => class(text),
        None => Query::Other,
    }
}

fn class(text: &[u8]) -> Query {
    let starts =
        |word: &[u8]| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    if text.eq_ignore_ascii_case(b"BEGIN") || starts(b"XA START ") || starts(b"XA BEGIN ") {
        Query::Begin
    } else if text.eq_ignore_ascii_case(b"COMMIT")
        || text.eq_ignore_ascii_case(b"ROLLBACK")
        || starts(b"XA COMMIT ")
        || starts(b"XA ROLLBACK ")
    {
        Query::End
    } else {
        Query::Other
    }
}

/// After the header: thread u32, seconds u32, schema length u8, error u16, status length u16,
/// status, schema, 0, text.
fn text(event: &[u8], checksums: bool) -> Option<&[u8]> {
    let body = event.get(HEADER_BYTES..)?;
    let body = if checksums { body.get(..body.len().checked_sub(4)?)? } else { body };
    let schema = usize::from(*body.get(8)?);
    let status = usize::from(u16::from_le_bytes(*body.get(11..)?.first_chunk()?));
    body.get(13 + status + schema + 1..)
}

/// A GTID event's GTID and, on MariaDB, whether the transaction is one statement without an end
/// of its own.
pub(crate) fn gtid(event: &[u8], kind: u8, server_id: u32) -> Option<(Gtid, bool)> {
    let body = event.get(HEADER_BYTES..)?;
    match kind {
        kind::GTID => {
            let uuid = *body.get(1..)?.first_chunk()?;
            let number = u64::from_le_bytes(*body.get(17..)?.first_chunk()?);
            Some((Gtid::MySql { uuid, tag: String::new(), number }, false))
        }
        kind::GTID_TAGGED => Some((tagged(body)?, false)),
        kind::MARIA_GTID => {
            let sequence = u64::from_le_bytes(*body.first_chunk()?);
            let domain = u32::from_le_bytes(*body.get(8..)?.first_chunk()?);
            const STANDALONE: u8 = 1;
            let standalone = body.get(12)? & STANDALONE != 0;
            Some((Gtid::MariaDb { domain, server_id, sequence }, standalone))
        }
        _ => None,
    }
}

/// When a transaction was committed on the server that sends it, and when on the one where it was
/// made, µs since 1970. MariaDB's events have only the second of the latter, which gives both.
pub(crate) fn commit_times(event: &[u8], header: &Header) -> Option<(u64, u64)> {
    const ORIGINAL_FOLLOWS: u64 = 1 << 55;
    let body = event.get(HEADER_BYTES..)?;
    match header.kind {
        kind::GTID => {
            let micros = |at: usize| {
                let bytes = body.get(at..at + 7)?;
                Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
            };
            // Flags, uuid, number, type of clock, two counters of it.
            let here = micros(1 + 16 + 8 + 1 + 8 + 8)?;
            if here & ORIGINAL_FOLLOWS == 0 {
                return Some((here, here));
            }
            Some((here & !ORIGINAL_FOLLOWS, micros(49)?))
        }
        kind::GTID_TAGGED => tagged_times(body),
        kind::MARIA_GTID => {
            let micros = u64::from(header.timestamp_secs) * 1_000_000;
            Some((micros, micros))
        }
        _ => None,
    }
}

/// Fields 6 and 7 of [`tagged`]'s: the commit here, and the original one where it differs.
fn tagged_times(body: &[u8]) -> Option<(u64, u64)> {
    let mut rest = body;
    for _ in 0..3 {
        varlen(&mut rest)?;
    }
    let mut here = None;
    while !rest.is_empty() {
        match (varlen(&mut rest)?, here) {
            (1, _) => {
                for _ in 0..16 {
                    varlen(&mut rest)?;
                }
            }
            (3, _) => {
                let length = usize::try_from(varlen(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (6, _) => here = Some(varlen(&mut rest)?),
            (7, Some(here)) => return Some((here, varlen(&mut rest)?)),
            (8.., Some(here)) => return Some((here, here)),
            _ => {
                varlen(&mut rest)?;
            }
        }
    }
    here.map(|here| (here, here))
}

/// GTID_TAGGED (MySQL `libs/mysql/serialization`): version, size, last field, then fields: 0
/// flags, 1 uuid, 2 number, 3 tag; the rest is not needed here.
fn tagged(body: &[u8]) -> Option<Gtid> {
    let mut rest = body;
    let _version = varlen(&mut rest)?;
    let _size = varlen(&mut rest)?;
    let _last_field = varlen(&mut rest)?;
    let (mut uuid, mut number) = ([0; 16], 0);
    loop {
        match varlen(&mut rest)? {
            0 => {
                varlen(&mut rest)?;
            }
            1 => {
                for byte in &mut uuid {
                    *byte = u8::try_from(varlen(&mut rest)?).ok()?;
                }
            }
            // Signed: the lowest bit is the sign.
            2 => number = varlen(&mut rest)? >> 1,
            3 => {
                let length = usize::try_from(varlen(&mut rest)?).ok()?;
                let tag = std::str::from_utf8(rest.get(..length)?).ok()?.to_owned();
                return (number > 0).then_some(Gtid::MySql { uuid, tag, number });
            }
            _ => return None,
        }
    }
}

/// Variable-length integer: as many one-bits at the low end of the first byte as bytes follow.
fn varlen(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let more = first.trailing_ones();
    let (head, rest) = bytes.split_at_checked(more as usize + 1)?;
    *bytes = rest;
    let mut wide = [0; 8];
    if more == 8 {
        wide.copy_from_slice(&head[1..]);
        return Some(u64::from_le_bytes(wide));
    }
    wide[..head.len()].copy_from_slice(head);
    Some(u64::from_le_bytes(wide) >> (more + 1))
}

/// The GTIDs of a MariaDB GTID_LIST, in its order.
pub(crate) fn gtid_list(event: &[u8]) -> Option<Vec<Gtid>> {
    let body = event.get(HEADER_BYTES..)?;
    let (count, body) = body.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count) & 0x0fff_ffff).ok()?;
    let body = body.get(..count.checked_mul(16)?)?;
    let word = |at: &[u8]| at.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    Some(
        body.chunks_exact(16)
            .map(|entry| Gtid::MariaDb {
                domain: word(&entry[..4]),
                server_id: word(&entry[4..8]),
                sequence: u64::from(word(&entry[8..12])) | u64::from(word(&entry[12..])) << 32,
            })
            .collect(),
    )
}

/// The transactions of all files before the one whose PREVIOUS_GTIDS event this is.
pub(crate) fn previous_gtids(event: &[u8], checksums: bool) -> Option<GtidSet> {
    const CRC32_BYTES: usize = 4;
    let end = event.len().checked_sub(if checksums { CRC32_BYTES } else { 0 })?;
    GtidSet::decode(event.get(HEADER_BYTES..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_classed() {
        for (text, want) in [
            ("BEGIN", Query::Begin),
            ("XA START X'61',X'',1", Query::Begin),
            ("COMMIT", Query::End),
            ("commit", Query::End),
            ("ROLLBACK", Query::End),
            ("ROLLBACK TO `a`", Query::Other),
            ("XA END X'61',X'',1", Query::Other),
            ("XA ROLLBACK X'61',X'',1", Query::End),
            ("CREATE TABLE t (i int)", Query::Other),
            ("", Query::Other),
        ] {
            assert_eq!(class(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn cut_events_are_none() {
        let event = [0_u8; 80];
        for end in 0..event.len() {
            let event = &event[..end];
            let _either = (rotate(event), query(event, true), gtid_list(event));
            for kind in [kind::GTID, kind::GTID_TAGGED, kind::MARIA_GTID] {
                let _either = gtid(event, kind, 1);
            }
        }
        assert!(gtid_list(&[0xff; 40]).is_none());
    }

    #[test]
    fn varlen_reads() {
        let mut bytes = &[0b0000_0010_u8, 0b0000_1101, 0x01, 0xff, 1, 0, 0, 0, 0, 0, 0, 0][..];
        assert_eq!(varlen(&mut bytes), Some(1));
        assert_eq!(varlen(&mut bytes), Some(0x010d >> 2));
        assert_eq!(varlen(&mut bytes), Some(1));
        assert_eq!(varlen(&mut bytes), None);
    }

    #[test]
    fn rotate_reads_with_and_without_checksum() {
        let mut event = vec![0; HEADER_BYTES];
        event.extend(4_u64.to_le_bytes());
        event.extend(b"./mb.000001");
        assert_eq!(rotate(&event), Some((4, "mb.000001")));
        let crc = crc32fast::hash(&event);
        event.extend(crc.to_le_bytes());
        assert_eq!(rotate(&event), Some((4, "mb.000001")));
    }
}

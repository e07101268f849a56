//! The events that begin a transaction: GTID, anonymous, tagged (MySQL), GTID (MariaDB).
//!
//! Source: MySQL `Gtid_event` (`libs/mysql/binlog/event/control_events.h`), MariaDB
//! `Gtid_log_event`. What a newer server appends is not read.

use crate::gtid::{NUMBER_MAX, TAG_BYTES_MAX, is_tag};
use crate::reader::Reader;
use crate::varlen::{read_varlen, read_varlen_signed};
use crate::{Gtid, Malformed};

/// What such an event says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GtidEvent {
    /// None if anonymous.
    pub(crate) gtid: Option<Gtid>,
    /// Commit time, µs since 1970.
    pub(crate) time_us: Option<i64>,
    /// The session's thread id (MariaDB 11.8).
    pub(crate) thread: Option<u32>,
    /// MariaDB: it takes the place of BEGIN.
    pub(crate) begins_group: bool,
    /// MariaDB: it takes the place of XA START.
    pub(crate) is_prepared: bool,
}

/// GTID_LOG_EVENT and ANONYMOUS_GTID_LOG_EVENT, as long as 5.6, 5.7 and 8.0 write them.
pub(crate) fn mysql(body: &[u8], is_anonymous: bool) -> Result<GtidEvent, Malformed> {
    let mut reader = Reader::new(body);
    reader.u8("GTID flags")?;
    let uuid = reader.array("source uuid")?;
    let number = reader.u64("transaction number")?;
    let gtid = if is_anonymous { None } else { Some(numbered(uuid, String::new(), number)?) };
    let mut event = GtidEvent { gtid, ..GtidEvent::default() };
    // 5.6 ends here; 5.7 has the logical clock, 8.0 the commit times as well.
    let has_clock = reader.left() >= 17 && reader.u8("logical clock")? == 2;
    if !has_clock {
        return Ok(event);
    }
    reader.take(16, "logical clock")?;
    if reader.left() < 7 {
        return Ok(event);
    }
    let immediate = reader.uint_le(7, "commit time")?;
    let original = if immediate >> 55 == 1 { reader.uint_le(7, "commit time")? } else { immediate };
    event.time_us = micros(original & 0x7f_ffff_ffff_ffff);
    Ok(event)
}

fn numbered(uuid: [u8; 16], tag: String, number: u64) -> Result<Gtid, Malformed> {
    if (1..=NUMBER_MAX).contains(&number) {
        return Ok(Gtid::MySql { uuid, tag, number });
    }
    Err(Malformed::OutOfRange { field: "transaction number", value: number, max: NUMBER_MAX })
}

/// Zero means that the server did not know.
fn micros(time_us: u64) -> Option<i64> {
    i64::try_from(time_us).ok().filter(|time| *time > 0)
}

/// GTID_TAGGED_LOG_EVENT: numbered fields in ascending order (`mysql::serialization`).
pub(crate) fn tagged(body: &[u8]) -> Result<GtidEvent, Malformed> {
    let mut reader = Reader::new(body);
    let version = read_varlen(&mut reader, "serialization version")?;
    if version != 1 {
        return Err(Malformed::Unsupported("serialization version of a tagged GTID"));
    }
    read_varlen(&mut reader, "serialized size")?;
    read_varlen(&mut reader, "last field that must be known")?;
    let (mut uuid, mut tag, mut number) = ([0; 16], String::new(), 0);
    let (mut immediate, mut original) = (0, 0);
    while !reader.is_empty() {
        match read_varlen(&mut reader, "field id")? {
            0 => drop(read_varlen(&mut reader, "GTID flags")?),
            1 => {
                for byte in &mut uuid {
                    let value = read_varlen(&mut reader, "source uuid")?;
                    *byte = u8::try_from(value).map_err(|_| Malformed::OutOfRange {
                        field: "source uuid",
                        value,
                        max: 255,
                    })?;
                }
            }
            2 => number = read_varlen_signed(&mut reader, "transaction number")?,
            3 => tag = read_tag(&mut reader)?,
            4 | 5 => drop(read_varlen_signed(&mut reader, "logical clock")?),
            6 => immediate = read_varlen(&mut reader, "commit time")?,
            7 => original = read_varlen(&mut reader, "commit time")?,
            8..=11 => drop(read_varlen(&mut reader, "transaction length or version")?),
            // A field of a newer server: its length is not known, but all that matters came before.
            _ => break,
        }
    }
    let number = u64::try_from(number).unwrap_or_default();
    let time_us = micros(if original == 0 { immediate } else { original });
    Ok(GtidEvent { gtid: Some(numbered(uuid, tag, number)?), time_us, ..GtidEvent::default() })
}

fn read_tag(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let bytes = read_varlen(reader, "tag length")?;
    let tag = reader.take_claimed(bytes, "tag")?;
    match std::str::from_utf8(tag) {
        Ok(tag) if tag.is_empty() || is_tag(tag) => Ok(tag.to_owned()),
        _ if tag.len() > TAG_BYTES_MAX => {
            Err(Malformed::OutOfRange { field: "tag length", value: bytes, max: 32 })
        }
        _ => Err(Malformed::Value { ty: "tag", bytes }),
    }
}

/// MariaDB's GTID_EVENT; the server id is the header's.
pub(crate) fn mariadb(body: &[u8], server_id: u32) -> Result<GtidEvent, Malformed> {
    const STANDALONE: u8 = 1;
    const GROUP_COMMIT_ID: u8 = 2;
    const PREPARED_XA: u8 = 64;
    const COMPLETED_XA: u8 = 128;
    let mut reader = Reader::new(body);
    let sequence = reader.u64("sequence number")?;
    let domain = reader.u32("replication domain")?;
    let flags = reader.u8("GTID flags")?;
    let gtid = Some(Gtid::MariaDb { domain, server_id, sequence });
    let begins_group = flags & STANDALONE == 0;
    let is_prepared = flags & PREPARED_XA != 0;
    let mut event = GtidEvent { gtid, begins_group, is_prepared, ..GtidEvent::default() };
    if flags & GROUP_COMMIT_ID != 0 {
        reader.u64("group commit id")?;
    }
    if flags & (PREPARED_XA | COMPLETED_XA) != 0 {
        reader.u32("XA format id")?;
        let sizes = [reader.u8("XA name length")?, reader.u8("XA name length")?];
        reader.take(usize::from(sizes[0]).saturating_add(sizes[1].into()), "XA name")?;
    }
    event.thread = thread(&mut reader);
    Ok(event)
}

/// The extra fields are optional, and a padding of zeros may stand in their place.
fn thread(reader: &mut Reader<'_>) -> Option<u32> {
    const MULTI_ENGINE: u8 = 1;
    const START_ALTER_SEQUENCE: u8 = 4 | 8;
    const THREAD_ID: u8 = 16;
    let flags = reader.u8("extra GTID flags").ok()?;
    if flags & MULTI_ENGINE != 0 {
        reader.u8("engines").ok()?;
    }
    if flags & START_ALTER_SEQUENCE != 0 {
        reader.u64("start alter sequence").ok()?;
    }
    if flags & THREAD_ID == 0 {
        return None;
    }
    reader.u32("thread id").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(tail: &[u8]) -> Vec<u8> {
        [&[1][..], &[0xaa; 16], &7_u64.to_le_bytes(), tail].concat()
    }

    #[test]
    fn short_forms_of_old_servers() {
        let check = |tail: &[u8], want: Option<i64>| {
            let event = mysql(&body(tail), false).unwrap();
            assert_eq!(event.time_us, want);
            assert!(matches!(event.gtid, Some(Gtid::MySql { number: 7, .. })));
        };
        check(&[], None);
        let clock = [&[2][..], &[0; 16]].concat();
        check(&clock, None);
        check(&[&clock[..], &[1, 0, 0, 0, 0, 0, 0]].concat(), Some(1));
        check(&[&clock[..], &[1, 0, 0, 0, 0, 0, 0x80, 2, 0, 0, 0, 0, 0, 0]].concat(), Some(2));
        assert_eq!(mysql(&body(&[]), true).unwrap().gtid, None);
        assert!(mysql(&[&[1][..], &[0xaa; 16], &0_u64.to_le_bytes()].concat(), false).is_err());
    }

    #[test]
    fn maria_forms() {
        let head = |flags: u8| [&9_u64.to_le_bytes()[..], &3_u32.to_le_bytes(), &[flags]].concat();
        let plain = mariadb(&[head(0), vec![0; 6]].concat(), 5).unwrap();
        assert_eq!(plain.gtid.unwrap().to_string(), "3-5-9");
        assert!(plain.begins_group && plain.thread.is_none());
        assert!(!mariadb(&head(1), 5).unwrap().begins_group);
        let grouped = [head(2), vec![0; 8], vec![17, 2, 44, 1, 0, 0]].concat();
        assert_eq!(mariadb(&grouped, 5).unwrap().thread, Some(300));
        let xa = [head(64), vec![1, 0, 0, 0, 1, 1, b'a', b'b', 16, 7, 0, 0, 0]].concat();
        assert_eq!(mariadb(&xa, 5).unwrap().thread, Some(7));
        assert!(mariadb(&[head(64), vec![1, 0, 0, 0, 9, 9]].concat(), 5).is_err());
    }
}

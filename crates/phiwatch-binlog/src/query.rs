//! QUERY and XA_PREPARE events.
//!
//! Source: MySQL `Query_event` (`libs/mysql/binlog/event/statement_events.h`), MariaDB
//! `Query_log_event`.

use std::fmt::Write as _;

use crate::reader::Reader;
use crate::sql::SqlMode;
use crate::{Malformed, Xid};

/// A QUERY event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryEvent<'a> {
    pub(crate) thread: u32,
    pub(crate) error_code: u16,
    pub(crate) mode: SqlMode,
    pub(crate) database: &'a [u8],
    pub(crate) text: &'a [u8],
}

impl<'a> QueryEvent<'a> {
    /// Parses the body; `excess` bytes stand between the fixed fields and the status variables.
    pub(crate) fn parse(body: &'a [u8], excess: usize) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let thread = reader.u32("thread id")?;
        reader.u32("execution time")?;
        let database_bytes = reader.u8("schema length")?;
        let error_code = reader.u16("error code")?;
        let status_bytes = reader.u16("status length")?;
        reader.take(excess, "fixed fields of a newer server")?;
        let mode = status(reader.take(status_bytes.into(), "status variables")?);
        let database = reader.take(database_bytes.into(), "schema name")?;
        reader.u8("schema name's end")?;
        Ok(Self { thread, error_code, mode, database, text: reader.rest() })
    }
}

/// Walks the status variables for the SQL mode. Their keys ascend, and one that is not known has
/// an unknown length: it ends the walk (the mode's key, 1, comes early).
fn status(bytes: &[u8]) -> SqlMode {
    let mut reader = Reader::new(bytes);
    let mut mode = SqlMode::default();
    // An unreadable variable ends the walk like an unknown one.
    while let Ok(Some(found)) = variable(&mut reader) {
        if let Some(sql_mode) = found {
            mode = SqlMode::from_bits(sql_mode);
        }
    }
    mode
}

/// Skips one variable: the SQL mode, or nothing; None at the end and at an unknown one.
fn variable(reader: &mut Reader<'_>) -> Result<Option<Option<u64>>, Malformed> {
    const FIELD: &str = "status variable";
    if reader.is_empty() {
        return Ok(None);
    }
    let bytes = match reader.u8(FIELD)? {
        1 => return reader.u64(FIELD).map(|mode| Some(Some(mode))),
        0 | 3 | 10 => 4,
        2 => usize::from(reader.u8(FIELD)?).saturating_add(1),
        4 => 6,
        5 | 6 => usize::from(reader.u8(FIELD)?),
        7 | 8 | 18 => 2,
        9 | 17 | 129 => 8,
        11 => {
            reader.short_bytes(FIELD)?;
            usize::from(reader.u8(FIELD)?)
        }
        13 | 128 => 3,
        16 | 19 | 20 | 21 => 1,
        _ => return Ok(None),
    };
    reader.take(bytes, FIELD)?;
    Ok(Some(None))
}

/// An XA transaction's name as MySQL and MariaDB write it into XA statements: `X'..',X'..',n`.
pub(crate) fn xid(gtrid: &[u8], bqual: &[u8], format: u64) -> Xid {
    let mut text = String::from("X'");
    for (part, end) in [(gtrid, "',X'"), (bqual, "',")] {
        for byte in part {
            // Writing to a string cannot fail.
            if write!(text, "{byte:02x}").is_err() {
                break;
            }
        }
        text.push_str(end);
    }
    text.push_str(&format.to_string());
    Xid(text)
}

/// XA_PREPARE: None if the transaction was committed in one phase.
pub(crate) fn xa_prepare(body: &[u8]) -> Result<Option<Xid>, Malformed> {
    const PART_BYTES_MAX: u32 = 64;
    let mut reader = Reader::new(body);
    let one_phase = reader.u8("one phase")?;
    let format = reader.u32("XA format id")?;
    let sizes = [reader.u32("XA name length")?, reader.u32("XA name length")?];
    if let Some(size) = sizes.into_iter().find(|size| *size > PART_BYTES_MAX) {
        let (value, max) = (size.into(), PART_BYTES_MAX.into());
        return Err(Malformed::OutOfRange { field: "XA name length", value, max });
    }
    let gtrid = reader.take_claimed(sizes[0].into(), "XA name")?;
    let bqual = reader.take_claimed(sizes[1].into(), "XA name")?;
    Ok((one_phase == 0).then(|| xid(gtrid, bqual, format.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(status: &[u8], rest: &[u8]) -> Vec<u8> {
        let size = u16::try_from(status.len()).unwrap().to_le_bytes();
        [&[9, 0, 0, 0, 0, 0, 0, 0, 2, 7, 0][..], &size, status, rest].concat()
    }

    #[test]
    fn walk_of_status_variables_ends_at_the_unknown() {
        let rest = b"db\0SELECT 1";
        let event = |status: &[u8]| {
            QueryEvent::parse(&query(status, rest), 0).map(|event| {
                assert_eq!((event.thread, event.error_code, event.database), (9, 7, &b"db"[..]));
                event.mode
            })
        };
        let ansi = [&[0, 0, 0, 0, 0, 1][..], &4_u64.to_le_bytes()].concat();
        assert_eq!(event(&ansi), Ok(SqlMode::from_bits(4)));
        assert_eq!(event(&[&[200, 1][..], &ansi].concat()), Ok(SqlMode::default()));
        assert_eq!(event(&[12, 254]), Ok(SqlMode::default()));
        assert_eq!(event(&[5, 200]), Ok(SqlMode::default()));
        assert!(QueryEvent::parse(&query(&[], b"d"), 0).is_err());
    }

    #[test]
    fn xa_names_are_hexadecimal() {
        let body = [&[0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0][..], b"x1q"].concat();
        assert_eq!(xa_prepare(&body), Ok(Some(Xid("X'7831',X'71',1".into()))));
        assert!(xa_prepare(&[0, 1, 0, 0, 0, 65, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(xa_prepare(body.get(..14).unwrap()).is_err());
    }
}

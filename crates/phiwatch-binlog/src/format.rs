//! FORMAT_DESCRIPTION: what the rest of a file looks like.

use crate::Malformed;
use crate::framing::kind;
use crate::reader::Reader;

/// Longest server version string.
const VERSION_BYTES: usize = 50;

/// Whether events end with a CRC32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Checksum {
    /// No format description read: a CRC32 that fits is taken for one.
    #[default]
    Unknown,
    Off,
    Crc32,
}

/// Servers without checksums know fewer event types than this: such a list has checksum fields
/// behind it even if a damaged version text speaks against it.
const LENGTHS_WITH_CHECKSUM: usize = 35;

/// The format of a file's events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Format {
    pub(crate) server_version: String,
    pub(crate) checksum: Checksum,
    /// The format description itself ends with a CRC32, whatever the other events do.
    pub(crate) is_checked: bool,
    pub(crate) is_mariadb: bool,
    /// Post-header length per event type, from type 1 on; empty = unknown.
    post_header_bytes: Vec<u8>,
}

impl Format {
    /// Parses the event after its header, with everything to its end.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let version = reader.u16("binlog version")?;
        if version != 4 {
            return Err(Malformed::Unsupported("binlog version other than 4"));
        }
        let name = reader.take(VERSION_BYTES, "server version")?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let server_version = String::from_utf8_lossy(name).into_owned();
        reader.u32("creation time")?;
        let header_bytes = reader.u8("header length")?;
        if header_bytes != 19 {
            return Err(Malformed::Unsupported("event headers of other than 19 bytes"));
        }
        let is_mariadb = server_version.to_ascii_lowercase().contains("mariadb");
        let mut lengths = reader.rest();
        let mut checksum = Checksum::Off;
        let is_checked = has_checksum_field(&server_version, is_mariadb)
            || lengths.len() >= LENGTHS_WITH_CHECKSUM;
        if is_checked && let Some((head, [algorithm, ..])) = lengths.split_last_chunk::<5>() {
            lengths = head;
            checksum = match algorithm {
                0 => Checksum::Off,
                1 => Checksum::Crc32,
                _ => return Err(Malformed::Unsupported("checksum algorithm")),
            };
        }
        let post_header_bytes = lengths.to_vec();
        Ok(Self { server_version, checksum, is_checked, is_mariadb, post_header_bytes })
    }

    fn post_header(&self, code: u8) -> Option<u8> {
        self.post_header_bytes.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// 6, or 4 in files of before 5.1.16.
    pub(crate) fn table_id_bytes(&self, code: u8) -> usize {
        if self.post_header(code) == Some(6) { 4 } else { 6 }
    }

    /// Bytes between QUERY's status length and its status variables (none so far).
    pub(crate) fn query_excess_bytes(&self) -> usize {
        usize::from(self.post_header(kind::QUERY).unwrap_or(13).saturating_sub(13))
    }
}

/// Since 5.6.1 (MariaDB 5.3) a format description says which checksum the events carry.
fn has_checksum_field(version: &str, is_mariadb: bool) -> bool {
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map(|digits| digits.parse::<u32>().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    let version = (next(), next(), next());
    version >= if is_mariadb { (5, 3, 0) } else { (5, 6, 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_field_by_version() {
        let check = |version: &str, want: bool| {
            let maria = version.contains("MariaDB");
            assert_eq!(has_checksum_field(version, maria), want, "{version}");
        };
        check("5.5.62-log", false);
        check("5.6.0", false);
        check("5.6.1", true);
        check("9.7.4", true);
        check("5.2.14-MariaDB", false);
        check("5.5.68-MariaDB", true);
        check("10.11.18-MariaDB-log", true);
        check("", false);
    }
}

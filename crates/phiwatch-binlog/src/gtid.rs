//! GTIDs of both servers, and the states that say which transactions are done.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::GtidSet;

/// Longest tag of a MySQL GTID, bytes.
pub(crate) const TAG_BYTES_MAX: usize = 32;
/// MySQL's numbers run from 1 to this.
pub(crate) const NUMBER_MAX: u64 = (i64::MAX as u64).saturating_sub(1);

/// A transaction's global id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gtid {
    /// MySQL: `uuid:n` or `uuid:tag:n`.
    MySql {
        /// Source uuid.
        uuid: [u8; 16],
        /// Tag (lower case), empty if none.
        tag: String,
        /// Number.
        number: u64,
    },
    /// MariaDB: `domain-server-seq`.
    MariaDb {
        /// Replication domain.
        domain: u32,
        /// Originating server.
        server_id: u32,
        /// Sequence number.
        sequence: u64,
    },
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql { uuid, tag, number } => {
                write_uuid(f, uuid)?;
                if !tag.is_empty() {
                    write!(f, ":{tag}")?;
                }
                write!(f, ":{number}")
            }
            Self::MariaDb { domain, server_id, sequence } => {
                write!(f, "{domain}-{server_id}-{sequence}")
            }
        }
    }
}

impl FromStr for Gtid {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, ParseGtidError> {
        let text = text.trim();
        if !text.contains(':') {
            return parse_maria(text);
        }
        let mut parts = text.split(':').map(str::trim);
        let uuid = parse_uuid(parts.next().unwrap_or_default())?;
        let second = parts.next().unwrap_or_default();
        let (tag, number) = match parts.next() {
            Some(third) => (parse_tag(second)?, third),
            None => (String::new(), second),
        };
        if parts.next().is_some() {
            return Err(ParseGtidError("more than one tag and number"));
        }
        Ok(Self::MySql { uuid, tag, number: parse_number(number)? })
    }
}

/// A GTID or set that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a GTID or GTID set: {0}")]
pub struct ParseGtidError(pub &'static str);

/// MariaDB: the last GTID per replication domain, as `gtid_slave_pos` and
/// `@slave_connect_state` hold it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MariaGtidState {
    /// Domain to (server id, sequence number).
    domains: BTreeMap<u32, (u32, u64)>,
}

impl MariaGtidState {
    /// Takes the GTID as the last one of its domain; a MySQL GTID changes nothing.
    pub fn update(&mut self, gtid: &Gtid) {
        if let Gtid::MariaDb { domain, server_id, sequence } = gtid {
            self.domains.insert(*domain, (*server_id, *sequence));
        }
    }

    /// No domain is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The last GTID of each domain, by domain.
    pub fn iter(&self) -> impl Iterator<Item = Gtid> + '_ {
        self.domains.iter().map(|(domain, (server_id, sequence))| Gtid::MariaDb {
            domain: *domain,
            server_id: *server_id,
            sequence: *sequence,
        })
    }

    /// Most domains that a stream may add to.
    const DOMAINS_MAX: usize = 20_000;

    fn has_room(&self, gtid: &Gtid) -> bool {
        let Gtid::MariaDb { domain, .. } = gtid else { return true };
        self.domains.len() < Self::DOMAINS_MAX || self.domains.contains_key(domain)
    }

    /// Whether the GTID's domain has come at least as far.
    #[must_use]
    pub fn contains(&self, gtid: &Gtid) -> bool {
        let Gtid::MariaDb { domain, sequence, .. } = gtid else { return false };
        self.domains.get(domain).is_some_and(|(_, last)| last >= sequence)
    }
}

impl fmt::Display for MariaGtidState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for gtid in self.iter() {
            write!(f, "{comma}{gtid}")?;
            comma = ",";
        }
        Ok(())
    }
}

impl FromStr for MariaGtidState {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, ParseGtidError> {
        let mut state = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let gtid = parse_maria(part)?;
            if let Gtid::MariaDb { domain, .. } = &gtid
                && state.domains.contains_key(domain)
            {
                return Err(ParseGtidError("a domain stands twice"));
            }
            state.update(&gtid);
        }
        Ok(state)
    }
}

/// The transactions that are done, in the form of the server's own kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GtidState {
    /// MySQL: a set.
    MySql(GtidSet),
    /// MariaDB: the last one per domain.
    MariaDb(MariaGtidState),
}

impl GtidState {
    /// Adds one transaction; one of the other kind changes nothing.
    pub fn insert(&mut self, gtid: &Gtid) {
        match self {
            Self::MySql(set) => set.insert(gtid),
            Self::MariaDb(state) => state.update(gtid),
        }
    }

    /// Whether adding the transaction keeps the state within bounds that no topology comes near
    /// (20,000 sources or domains, 262,144 intervals of one source): whoever follows a stream that
    /// he does not trust asks first.
    #[must_use]
    pub fn has_room(&self, gtid: &Gtid) -> bool {
        match self {
            Self::MySql(set) => set.has_room(gtid),
            Self::MariaDb(state) => state.has_room(gtid),
        }
    }

    /// Whether the transaction is done.
    #[must_use]
    pub fn contains(&self, gtid: &Gtid) -> bool {
        match self {
            Self::MySql(set) => set.contains(gtid),
            Self::MariaDb(state) => state.contains(gtid),
        }
    }

    /// No transaction is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::MySql(set) => set.is_empty(),
            Self::MariaDb(state) => state.is_empty(),
        }
    }
}

impl fmt::Display for GtidState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(set) => set.fmt(f),
            Self::MariaDb(state) => state.fmt(f),
        }
    }
}

impl FromStr for GtidState {
    type Err = ParseGtidError;

    /// Text with a colon is MySQL's, so is the empty text; `0-1-2` is MariaDB's.
    fn from_str(text: &str) -> Result<Self, ParseGtidError> {
        if text.contains(':') || text.trim().is_empty() {
            text.parse().map(Self::MySql)
        } else {
            text.parse().map(Self::MariaDb)
        }
    }
}

fn parse_maria(text: &str) -> Result<Gtid, ParseGtidError> {
    let mut parts = text.split('-');
    let mut next = || parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let gtid = (|| {
        let (domain, server_id, sequence) = (next()?, next()?, next()?);
        Some(Gtid::MariaDb {
            domain: domain.parse().ok()?,
            server_id: server_id.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    })();
    match (gtid, parts.next()) {
        (Some(gtid), None) => Ok(gtid),
        _ => Err(ParseGtidError("expected uuid:number or domain-server-sequence")),
    }
}

pub(crate) fn parse_number(text: &str) -> Result<u64, ParseGtidError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseGtidError("a number is expected"));
    }
    match text.parse() {
        Ok(number @ 1..=NUMBER_MAX) => Ok(number),
        _ => Err(ParseGtidError("numbers run from 1 to 9223372036854775806")),
    }
}

/// `[a-z_][a-z0-9_]{0,31}`, any case.
pub(crate) fn parse_tag(text: &str) -> Result<String, ParseGtidError> {
    let tag = text.to_ascii_lowercase();
    if is_tag(&tag) { Ok(tag) } else { Err(ParseGtidError("not a tag")) }
}

pub(crate) fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= TAG_BYTES_MAX
        && bytes.next().is_some_and(|first| matches!(first, b'a'..=b'z' | b'_'))
        && bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// 32 hexadecimal digits; dashes stand where they should or not at all.
pub(crate) fn parse_uuid(text: &str) -> Result<[u8; 16], ParseGtidError> {
    const ERROR: ParseGtidError = ParseGtidError("a uuid is expected");
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let groups = [8, 4, 4, 4, 12];
    let dashed = text.split('-').map(str::len).eq(groups);
    if !(dashed || text.len() == 32 && !text.contains('-')) {
        return Err(ERROR);
    }
    let mut uuid = [0; 16];
    let mut digits = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
    for byte in &mut uuid {
        let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else {
            return Err(ERROR);
        };
        *byte = u8::try_from(high << 4 | low).map_err(|_| ERROR)?;
    }
    Ok(uuid)
}

pub(crate) fn write_uuid(f: &mut fmt::Formatter<'_>, uuid: &[u8; 16]) -> fmt::Result {
    for (index, byte) in uuid.iter().enumerate() {
        let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        write!(f, "{dash}{byte:02x}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        let got = text.parse::<Gtid>().ok().map(|gtid| gtid.to_string());
        assert_eq!(got.as_deref(), want, "{text}");
    }

    #[test]
    fn gtids_read_and_print() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        check(&format!("{uuid}:23"), Some(&format!("{uuid}:23")));
        check(&format!(" {}:Batch_1:7 ", uuid.to_uppercase()), Some(&format!("{uuid}:batch_1:7")));
        check("0-11-20", Some("0-11-20"));
        check(&format!("{uuid}:0"), None);
        check(&format!("{uuid}:9223372036854775807"), None);
        check(&format!("{uuid}:1-2"), None);
        check(&format!("{uuid}:1tag:1"), None);
        check(&format!("{uuid}:a:1:2"), None);
        check("3e11fa4771ca-11e1-9e33-c80aa9429562:1", None);
        check("0-11", None);
        check("0-+1-20", None);
        check("4294967296-1-1", None);
        check("", None);
    }

    #[test]
    fn maria_state_keeps_the_last_of_each_domain() {
        let mut state: MariaGtidState = "1-5-9, 0-11-20,\n".parse().unwrap();
        assert_eq!(state.to_string(), "0-11-20,1-5-9");
        state.update(&"0-12-21".parse().unwrap());
        assert_eq!(state.to_string(), "0-12-21,1-5-9");
        assert!(state.contains(&"0-1-3".parse().unwrap()));
        assert!(!state.contains(&"0-12-22".parse().unwrap()));
        assert!("0-1-1,0-1-2".parse::<MariaGtidState>().is_err());
        assert!("".parse::<MariaGtidState>().unwrap().is_empty());
    }

    #[test]
    fn state_takes_the_kind_of_its_text() {
        let mut mysql: GtidState = "".parse().unwrap();
        mysql.insert(&"3e11fa47-71ca-11e1-9e33-c80aa9429562:1".parse().unwrap());
        mysql.insert(&"0-1-1".parse().unwrap());
        assert_eq!(mysql.to_string(), "3e11fa47-71ca-11e1-9e33-c80aa9429562:1");
        assert!(matches!("0-1-1".parse(), Ok(GtidState::MariaDb(_))));
    }
}

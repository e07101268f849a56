//! How to reach a server and where to start reading.

use std::{fmt, path::PathBuf, time::Duration};

use phiwatch_binlog::{BinlogPosition, GtidState};
use secrecy::SecretString;

use crate::SourceError;

/// One server's TCP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl std::str::FromStr for Address {
    type Err = SourceError;

    /// `host`, `host:port`, `[v6]`, `[v6]:port`; without a port 3306.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let bad = |what: &str| setting("failover", format!("{what} in {text:?}"));
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| bad("no closing bracket"))?;
            match rest.strip_prefix(':') {
                None if !rest.is_empty() => return Err(bad("more than a port behind the bracket")),
                port => (host, port),
            }
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
        if host.is_empty() || host.contains(|letter| is_odd(letter) || "[]".contains(letter)) {
            return Err(bad("no host"));
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| bad("a port is a number up to 65535"))?,
            None => 3306,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

/// What a source URL holds: `mysql://user@host:port` or `mariadb://...`.
#[derive(Debug, Clone)]
pub struct SourceUrl {
    /// Account name.
    pub user: String,
    /// A password in the URL, if there is one. It shows in process lists: better a file.
    pub password: Option<SecretString>,
    /// Where.
    pub address: Address,
}

impl std::str::FromStr for SourceUrl {
    type Err = SourceError;

    /// The error never repeats the text: it may hold a password.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        const SHAPE: &str = "expected mysql://user@host:port or mariadb://user@host:port";
        let bad = || setting("url", SHAPE.to_owned());
        let rest = text
            .strip_prefix("mysql://")
            .or_else(|| text.strip_prefix("mariadb://"))
            .ok_or_else(bad)?;
        let (account, place) = rest.rsplit_once('@').ok_or_else(bad)?;
        let place = place.strip_suffix('/').unwrap_or(place);
        if place.contains(['/', '?', '#']) {
            return Err(setting("url", format!("{SHAPE}, without a path or parameters")));
        }
        let (user, password) = match account.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (account, None),
        };
        let user = percent_decode(user).filter(|user| !user.is_empty()).ok_or_else(bad)?;
        let password = match password {
            Some(password) => Some(SecretString::from(percent_decode(password).ok_or_else(bad)?)),
            None => None,
        };
        let address = place.parse().map_err(|_| bad())?;
        Ok(Self { user, password, address })
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// Whether the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain TCP.
    Off,
    /// Encrypted if the server offers it; its identity is not checked.
    Preferred,
    /// Encrypted, certificate chain and host name checked; anything else is an error.
    Required,
}

/// TLS settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Whether, and how strictly.
    pub mode: TlsMode,
    /// PEM file of the authorities to trust; None = the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our certificate chain, for servers that ask for one.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
}

impl Tls {
    /// Only a mode, no files.
    #[must_use]
    pub fn with_mode(mode: TlsMode) -> Self {
        Self { mode, ca_file: None, cert_file: None, key_file: None }
    }
}

/// How to reach a server and log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// Where.
    pub address: Address,
    /// Account name.
    pub user: String,
    /// Its password; empty = none.
    pub password: SecretString,
    /// Encryption.
    pub tls: Tls,
    /// Longest silence while connecting, logging in and asking questions.
    pub timeout: Duration,
}

/// What to do when the server purged what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPurged {
    /// End with [`SourceError::Purged`].
    Stop,
    /// Go on with the oldest there is, after an [`crate::Item::Purged`].
    Continue,
}

/// Where a live source starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest binlog that the server has.
    Oldest,
    /// With what comes after the connection.
    Latest,
    /// After these transactions.
    Gtid(GtidState),
    /// At an event border, best a transaction's: a binlog file's name, and bytes from its start.
    Position {
        /// The server's name for the file, without a folder.
        file: String,
        /// Bytes; at least 4.
        offset: u64,
    },
}

impl std::str::FromStr for StartAt {
    type Err = SourceError;

    /// `oldest`, `latest`, a GTID set of either server, or `file:position`.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        const SHAPE: &str = "expected oldest, latest, a GTID set or file:position";
        let text = text.trim();
        match text {
            "oldest" => return Ok(Self::Oldest),
            "latest" => return Ok(Self::Latest),
            "" => return Err(setting("start", SHAPE.to_owned())),
            _ => {}
        }
        if let Ok(state) = text.parse() {
            return Ok(Self::Gtid(state));
        }
        match text.rsplit_once(':') {
            Some((file, offset)) if !file.is_empty() && !file.contains(['/', ':', ',']) => {
                match offset.parse() {
                    Ok(offset) if offset >= 4 => {
                        Ok(Self::Position { file: file.to_owned(), offset })
                    }
                    Ok(_) => {
                        Err(setting("start", "the first event stands at position 4".to_owned()))
                    }
                    Err(_) => Err(setting("start", SHAPE.to_owned())),
                }
            }
            _ => Err(setting("start", SHAPE.to_owned())),
        }
    }
}

/// A live source's settings.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// The server, and the account that also counts on the others.
    pub login: Login,
    /// More addresses of the same topology, tried in turn.
    pub failover: Vec<Address>,
    /// Our id as a replica: unique in the topology, not 0.
    pub server_id: u32,
    /// Where to start.
    pub start: StartAt,
    /// `server_uuid` (MariaDB: `server_id`) of the server that `start` was taken from, if known:
    /// tells a failover from a replaced server, and refuses `file:position` on another server.
    pub known_server: Option<String>,
    /// Where the last transaction ended in that server's files, if known: tells a log that was
    /// reset and began again from the one that was read, and is where to go on if its
    /// transactions have no GTIDs any more.
    pub known_place: Option<BinlogPosition>,
    /// What to do when the server purged what comes next.
    pub on_purged: OnPurged,
    /// End with [`crate::Item::CaughtUp`] as soon as all that the server has is delivered.
    pub once: bool,
    /// The server's sign of life on an idle stream; three of them missing = dead.
    pub heartbeat: Duration,
    /// Time between questions on a second connection: what will be purged, how far a replica lags.
    pub watch_every: Duration,
    /// Bytes of batches that wait for [`crate::Source::next_batch`].
    pub queue_bytes_max: usize,
    /// A larger event is handed over in parts as it comes.
    pub whole_bytes_max: u32,
}

impl LiveConfig {
    /// Defaults of the configuration file for a server and a replica id.
    #[must_use]
    pub fn new(login: Login, server_id: u32) -> Self {
        Self {
            login,
            failover: Vec::new(),
            server_id,
            start: StartAt::Oldest,
            known_server: None,
            known_place: None,
            watch_every: WATCH_EVERY,
            on_purged: OnPurged::Stop,
            once: false,
            heartbeat: HEARTBEAT,
            queue_bytes_max: QUEUE_BYTES_MAX,
            whole_bytes_max: WHOLE_BYTES_MAX,
        }
    }
}

/// Default of [`LiveConfig::heartbeat`].
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// Default of [`LiveConfig::watch_every`].
pub const WATCH_EVERY: Duration = Duration::from_secs(60);
/// Default of [`Login::timeout`].
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of [`LiveConfig::queue_bytes_max`].
pub const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Default of [`LiveConfig::whole_bytes_max`], and the limit for files.
pub const WHOLE_BYTES_MAX: u32 = 1 << 20;

pub(crate) fn setting(key: &'static str, what: String) -> SourceError {
    SourceError::Setting { key, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[track_caller]
    fn url(text: &str, want: Option<(&str, Option<&str>, &str)>) {
        let got = text.parse::<SourceUrl>().ok();
        let got = got.as_ref().map(|url| {
            let password = url.password.as_ref().map(|password| password.expose_secret());
            (url.user.as_str(), password, url.address.to_string())
        });
        let want = want.map(|(user, password, at)| (user, password, at.to_owned()));
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn urls_read() {
        url("mysql://repl@db1", Some(("repl", None, "db1:3306")));
        url("mariadb://repl:p%40ss@[::1]:3307/", Some(("repl", Some("p@ss"), "[::1]:3307")));
        url("mysql://a%3ab:x:y@db:1", Some(("a:b", Some("x:y"), "db:1")));
        url("mysql://db1", None);
        url("postgres://a@b", None);
        url("mysql://a@b/shop", None);
        url("mysql://a@b:99999", None);
        url("mysql://a%zz@b", None);
        url("mysql://@b", None);
        url("mysql://a@[::1]x", None);
        url("mysql://a@[::1]3306", None);
        url("mysql://a@[[::1]]", None);
        url("mysql://a@b c", None);
    }

    #[track_caller]
    fn start(text: &str, want: Option<&StartAt>) {
        assert_eq!(text.parse::<StartAt>().ok().as_ref(), want, "{text}");
    }

    #[test]
    fn starts_read() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        start("oldest", Some(&StartAt::Oldest));
        start(&format!("{uuid}:1-5"), Some(&StartAt::Gtid(format!("{uuid}:1-5").parse().unwrap())));
        start("0-11-20,1-2-3", Some(&StartAt::Gtid("0-11-20,1-2-3".parse().unwrap())));
        start(
            "binlog.000003:4567890123",
            Some(&StartAt::Position { file: "binlog.000003".to_owned(), offset: 4_567_890_123 }),
        );
        start("binlog.000003:3", None);
        start("binlog.000003", None);
        start("", None);
    }
}

//! Why a source cannot go on, and what to do about it.

use std::io;

use crate::wire::is_expired;

/// Why a source cannot go on. Names, addresses, codes and positions only: no password, no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A binlog file cannot be opened or read.
    #[error("cannot read binlog file {file}")]
    File {
        /// Path as given.
        file: String,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// A thread that reads files ahead ended without a word: an error of this program's own.
    #[error("a thread that reads {file} ahead ended near byte {offset}")]
    Thread {
        /// Path as given.
        file: String,
        /// Where what it was given begins, bytes.
        offset: u64,
    },
    /// A setting cannot be used.
    #[error("{key}: {what}")]
    Setting {
        /// Key of `[source]`.
        key: &'static str,
        /// What is wrong, and what is expected.
        what: String,
    },
    /// No connection to the server.
    #[error("cannot connect to {address}")]
    Connect {
        /// `host:port`.
        address: String,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// The connection broke.
    #[error("lost the connection to {address} while {doing}")]
    Lost {
        /// `host:port`.
        address: String,
        /// What was going on.
        doing: &'static str,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// The server was silent for too long.
    #[error("{address} was silent for {secs} s while {doing}")]
    Silent {
        /// `host:port`.
        address: String,
        /// What was going on.
        doing: &'static str,
        /// How long.
        secs: u64,
    },
    /// TLS could not be set up: certificate, identity or protocol.
    #[error("no TLS with {address}")]
    Tls {
        /// `host:port`.
        address: String,
        /// The library's reason.
        #[source]
        cause: io::Error,
    },
    /// TLS is required, and the server has none.
    #[error("{address} does not offer TLS, and tls = \"required\"")]
    TlsNotOffered {
        /// `host:port`.
        address: String,
    },
    /// The server asks for a login that this client does not do here.
    #[error("{address} asks for the login {plugin}: {what}")]
    Login {
        /// `host:port`.
        address: String,
        /// The plugin's name.
        plugin: String,
        /// Why not.
        what: &'static str,
    },
    /// The server sent something that the protocol does not have.
    #[error("{address} broke the MySQL protocol: {what}")]
    Protocol {
        /// `host:port`.
        address: String,
        /// What was wrong.
        what: &'static str,
    },
    /// The server answered with an error.
    #[error("{address} answered error {code} while {doing}: {message}")]
    Server {
        /// `host:port`.
        address: String,
        /// The server's error number.
        code: u16,
        /// The server's text, cut to a bounded length.
        message: String,
        /// What was going on.
        doing: &'static str,
    },
    /// What comes next in the binlog was purged on the server before it was read.
    #[error("the server purged binlogs before they were read; missing: {missing}")]
    Purged {
        /// GTID set, MariaDB GTIDs, or `file:position`.
        missing: String,
    },
    /// The server's binlog is not the one that was read before.
    #[error("{address} is not where reading stopped: {what}")]
    History {
        /// `host:port`.
        address: String,
        /// What does not fit.
        what: String,
    },
    /// A replica that may still receive what was read elsewhere.
    #[error("{address} has not applied {missing} yet, which was read before")]
    Behind {
        /// `host:port`.
        address: String,
        /// GTIDs.
        missing: String,
    },
    /// Another reader with our server id took the stream.
    #[error("another replica or phiwatch with server_id {server_id} reads from {address}")]
    DuplicateServerId {
        /// `host:port`.
        address: String,
        /// Our id.
        server_id: u32,
    },
}

/// Server errors that go away by themselves: too many connections, shutdown, kill, network,
/// start-up, offline mode.
const TRANSIENT_CODES: [u16; 17] = [
    1040, 1042, 1053, 1077, 1079, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1203, 1205, 1317, 1927,
    3032,
];

impl SourceError {
    /// The same try may succeed later. Definite errors need somebody to act.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Lost { .. }
            | Self::Silent { .. }
            | Self::Behind { .. } => true,
            Self::Server { code, message, .. } => {
                TRANSIENT_CODES.contains(code)
                    || *code == 1236 && message.contains("could not find next log")
            }
            Self::File { .. }
            | Self::Thread { .. }
            | Self::Setting { .. }
            | Self::Tls { .. }
            | Self::TlsNotOffered { .. }
            | Self::Login { .. }
            | Self::Protocol { .. }
            | Self::Purged { .. }
            | Self::History { .. }
            | Self::DuplicateServerId { .. } => false,
        }
    }

    /// The next step for the operator, if there is one beyond the error's own text.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Server { code, .. } => server_hint(*code)?,
            Self::Tls { cause, .. } if is_expired(cause) => {
                "the server's certificate has expired: renew the files of ssl_cert and ssl_key, \
                 then ALTER INSTANCE RELOAD TLS (MariaDB: FLUSH SSL) on the server; reading goes \
                 on where it ended"
            }
            Self::Tls { .. } => {
                "set ca_file to the authority of the server's certificate; its names must hold the \
                 host of url (servers' self-made certificates do not)"
            }
            Self::TlsNotOffered { .. } => {
                "give the server ssl_cert and ssl_key, or set tls = \"preferred\" on a trusted network"
            }
            Self::Login { .. } => {
                "create the account WITH caching_sha2_password (MySQL), ed25519 or \
                 mysql_native_password (MariaDB), or set tls = \"required\""
            }
            Self::Purged { .. } => {
                "on_purged = \"continue\" starts at the oldest binlog and records the gap; raise \
                 binlog_expire_logs_seconds"
            }
            Self::History { .. } => {
                "the server was reset, restored or replaced: find out which; `phiwatch \
                 accept-reset` puts the gap on record, and the next run goes on with the oldest \
                 binlog that the server has now"
            }
            Self::DuplicateServerId { .. } => {
                "give each reader its own server_id; SHOW REPLICAS (MariaDB: SHOW SLAVE HOSTS) lists them"
            }
            Self::Behind { .. } => {
                "wait until this replica has caught up, and see SHOW REPLICA STATUS whether it does"
            }
            Self::Thread { .. } => {
                "this is an error of phiwatch: report it with the lines above. Nothing behind that \
                 byte was examined; the same command with the same --state goes on from its checkpoint"
            }
            Self::Connect { .. } => "check host, port and firewall in url",
            Self::Protocol { .. } => {
                "is url the address of a MySQL or MariaDB server? A proxy in between must pass on \
                 the replication protocol unchanged"
            }
            Self::File { .. } | Self::Setting { .. } | Self::Lost { .. } | Self::Silent { .. } => {
                return None;
            }
        };
        Some(text.to_owned())
    }
}

fn server_hint(code: u16) -> Option<&'static str> {
    match code {
        1044 | 1045 | 1698 => Some(
            "check user and password_file; the account needs: GRANT REPLICATION SLAVE, REPLICATION \
             CLIENT ON *.* TO the account (MariaDB: REPLICATION SLAVE, BINLOG MONITOR)",
        ),
        1142 | 1143 | 1227 => Some(
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO the account (MariaDB: REPLICATION \
             SLAVE, BINLOG MONITOR), and SELECT on the shop's database",
        ),
        1040 | 1203 => Some("raise max_connections, or keep one connection for phiwatch"),
        1129 => Some("the server blocked this host after failed connections: FLUSH HOSTS"),
        1130 => Some("the account does not allow this host: CREATE USER 'name'@'this host'"),
        _ => None,
    }
}

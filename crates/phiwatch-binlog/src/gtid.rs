//! GTIDs and sets of them. (placeholder of the final module)

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

/// A MySQL GTID set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet {}

/// MariaDB: the last GTID per domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MariaGtidState {}

/// A GTID or set that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a GTID or GTID set: {0}")]
pub struct ParseGtidError(pub &'static str);

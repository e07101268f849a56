//! Where and when: a binlog position and an event time.

use std::{fmt, sync::Arc};

/// A binlog file's name (last path component) and a byte offset in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BinlogPosition {
    /// For example `binlog.000003`.
    pub file: Arc<str>,
    /// Bytes from the file's start; the first event stands at 4.
    pub offset: u64,
}

impl fmt::Display for BinlogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// Commit time of a transaction, µs since 1970 UTC, as the binlog carries it: the GTID event's
/// original commit timestamp, else its immediate one, else the header's second of the GTID event,
/// else that of the event itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Whole milliseconds since 1970, rounded down (the unit of OCSF).
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }
    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

//! Whether a server's history goes on where reading stopped: not reset, restored or replaced, and
//! nothing purged between.
//!
//! The dump itself does not tell: behind a replica a server passes over whatever number it was
//! told is done, also if another transaction bears that number now.

use phiwatch_binlog::{BinlogPosition, Gtid, GtidSet, GtidState};

use super::{
    open::Known,
    session::{Identity, text},
    tracker::Resume,
};
use crate::{
    SourceError,
    wire::{Connection, Row},
};

/// Error numbers: no such statement, wrong offset in a binlog, and two of missing grants.
const SYNTAX_ERROR: u16 = 1064;
const NOT_AN_EVENT: u16 = 1220;
const DENIED: [u16; 2] = [1142, 1227];

/// Compares a server with what was read.
pub(crate) struct History<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) identity: &'a Identity,
    pub(crate) known: &'a Known,
}

impl History<'_> {
    /// The purged transactions that come after `resume`, if MySQL tells.
    ///
    /// # Errors
    /// Another history, definite; or a replica that has not applied all that was read, transient.
    pub(crate) async fn check(
        &mut self,
        resume: &Resume,
        files: Option<&[BinlogFile]>,
    ) -> Result<Option<GtidSet>, SourceError> {
        let same = self.known.is(self.identity);
        match resume {
            Resume::Position(position) if !same => Err(self.broken(format!(
                "{position} belongs to server {}, this is {}",
                self.known.server.as_deref().unwrap_or_default(),
                self.identity.name
            ))),
            Resume::Position(position) => {
                self.place(position, None, files).await?;
                Ok(None)
            }
            Resume::Gtid(GtidState::MySql(ours)) => {
                let executed: GtidSet = self.set(&self.identity.executed)?;
                let purged: GtidSet = self.set(&self.identity.purged)?;
                self.lacks(&ours.subtract(&executed).to_string(), same).await?;
                if same && let Some(place) = &self.known.place {
                    self.place(place, Some(ours), files).await?;
                }
                let missing = purged.subtract(ours);
                Ok((!missing.is_empty()).then_some(missing))
            }
            Resume::Gtid(GtidState::MariaDb(ours)) => {
                self.lacks(&ahead(&ours.iter().collect::<Vec<_>>(), &self.identity.states), same)
                    .await?;
                if same && let Some(place) = &self.known.place {
                    self.place(place, None, files).await?;
                }
                Ok(None)
            }
        }
    }

    fn set(&self, text: &str) -> Result<GtidSet, SourceError> {
        text.parse().map_err(|_| self.connection.protocol("a GTID set that cannot be read"))
    }

    fn broken(&self, what: String) -> SourceError {
        SourceError::History { address: self.connection.address().to_string(), what }
    }

    async fn lacks(&mut self, ahead: &str, same: bool) -> Result<(), SourceError> {
        if ahead.is_empty() {
            if !same {
                let server = &self.identity.name;
                let address = self.connection.address();
                tracing::warn!(server, %address, "reading from another server now");
            }
            return Ok(());
        }
        if same {
            let what = format!("it lacks {ahead}, which was read before; it was reset or restored");
            return Err(self.broken(what));
        }
        if self.is_replica().await? {
            let address = self.connection.address().to_string();
            return Err(SourceError::Behind { address, missing: ahead.to_owned() });
        }
        Err(self.broken(format!(
            "it lacks {ahead}, which was read from server {}, and replicates from nobody: these \
             were lost in a failover, or it is another server",
            self.known.server.as_deref().unwrap_or_default(),
        )))
    }

    /// It may still receive what it lacks. Unknown counts as yes: waiting is the safe side.
    async fn is_replica(&mut self) -> Result<bool, SourceError> {
        for sql in REPLICA_STATUS {
            match self.connection.rows(sql).await {
                Ok(rows) => return Ok(!rows.is_empty()),
                Err(SourceError::Server { code: SYNTAX_ERROR, .. }) => {}
                Err(SourceError::Server { .. }) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether `place`, where a transaction ended, is still such a place in this server's files.
    /// A log that was reset begins with the same file names and numbers.
    async fn place(
        &mut self,
        place: &BinlogPosition,
        ours: Option<&GtidSet>,
        files: Option<&[BinlogFile]>,
    ) -> Result<(), SourceError> {
        let Some(files) = files else { return Ok(()) };
        let Some(file) = files.iter().find(|file| *file.name == *place.file) else {
            return match files.last() {
                Some(last) if is_later(&place.file, &last.name) => Err(self.broken(format!(
                    "it has no {} yet, only up to {}; it was reset or restored",
                    place.file, last.name
                ))),
                _ => Ok(()),
            };
        };
        if place.offset > file.bytes {
            return Err(self.broken(format!(
                "{} has {} bytes, {place} was read before; it was reset or restored",
                file.name, file.bytes
            )));
        }
        // Heads of files are alike.
        if place.offset <= 4 || place.offset == file.bytes {
            return Ok(());
        }
        let (name, offset) = (place.file.replace('\'', ""), place.offset);
        let sql = format!("SHOW BINLOG EVENTS IN '{name}' FROM {offset} LIMIT 1");
        match self.connection.rows(&sql).await {
            Ok(rows) => self.first(rows.first(), place, ours),
            Err(SourceError::Server { code: NOT_AN_EVENT, .. }) => Err(self.broken(format!(
                "at {place}, where a transaction ended, no event begins; it was reset or restored"
            ))),
            // Not allowed, or purged meanwhile.
            Err(SourceError::Server { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The event that begins there must not be a transaction that was read.
    fn first(
        &self,
        row: Option<&Row>,
        place: &BinlogPosition,
        ours: Option<&GtidSet>,
    ) -> Result<(), SourceError> {
        let (Some(row), Some(ours)) = (row, ours) else { return Ok(()) };
        let gtid = text(row, 5).split('\'').nth(1).and_then(|gtid| gtid.parse::<Gtid>().ok());
        match gtid {
            Some(gtid) if text(row, 2).starts_with("Gtid") && ours.contains(&gtid) => Err(self
                .broken(format!(
                    "at {place} stands {gtid}, which was read before in another place; it was \
                     reset or restored"
                ))),
            _ => Ok(()),
        }
    }
}

/// The statements that show whether a server is a replica: until one is known.
pub(crate) const REPLICA_STATUS: [&str; 2] = ["SHOW REPLICA STATUS", "SHOW ALL SLAVES STATUS"];

/// One line of SHOW BINARY LOGS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BinlogFile {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// The server's files, oldest first; None if the account may not see them.
pub(crate) async fn files(
    connection: &mut Connection,
) -> Result<Option<Vec<BinlogFile>>, SourceError> {
    let rows = match connection.rows("SHOW BINARY LOGS").await {
        Ok(rows) => rows,
        Err(SourceError::Server { code, .. }) if DENIED.contains(&code) => return Ok(None),
        Err(error) => return Err(error),
    };
    let file = |row: &Row| {
        Some(BinlogFile { name: text(row, 0).to_owned(), bytes: text(row, 1).parse().ok()? })
    };
    Ok(Some(rows.iter().filter_map(file).collect()))
}

/// Both are numbered files of one log, and the first comes after the second.
pub(crate) fn is_later(file: &str, than: &str) -> bool {
    let parts = |name: &str| {
        let (base, number) = name.rsplit_once('.')?;
        Some((base.to_owned(), number.parse::<u64>().ok()?))
    };
    match (parts(file), parts(than)) {
        (Some((one, file)), Some((other, than))) => one == other && file > than,
        _ => false,
    }
}

/// What a MariaDB server's `gtid_binlog_state` (the last GTID per domain and server) does not
/// reach.
pub(crate) fn ahead(ours: &[Gtid], states: &[Gtid]) -> String {
    let reaches = |gtid: &Gtid| {
        states.iter().any(|state| match (state, gtid) {
            (
                Gtid::MariaDb { domain, server_id, sequence },
                Gtid::MariaDb { domain: in_domain, server_id: of, sequence: wanted },
            ) => domain == in_domain && server_id == of && sequence >= wanted,
            _ => false,
        })
    };
    let list: Vec<String> =
        ours.iter().filter(|gtid| !reaches(gtid)).map(ToString::to_string).collect();
    list.join(",")
}

#[cfg(test)]
mod tests {
    use phiwatch_binlog::MariaGtidState;

    use super::*;

    #[test]
    fn files_are_ordered_by_number() {
        assert!(is_later("binlog.1000000", "binlog.999999"));
        assert!(!is_later("binlog.000002", "binlog.000002"));
        assert!(!is_later("mysql-bin.000009", "binlog.000002"));
        assert!(!is_later("odd", "binlog.000002"));
    }

    #[test]
    fn mariadb_histories_are_compared_by_domain_and_server() {
        let states: Vec<Gtid> =
            ["0-1-500", "0-2-510", "7-1-3"].map(|gtid| gtid.parse().unwrap()).into();
        for (ours, want) in [
            ("0-1-500,7-1-3", ""),
            ("0-1-501", "0-1-501"),
            ("0-2-400", ""),
            ("0-3-1,7-1-4", "0-3-1,7-1-4"),
            ("", ""),
        ] {
            let ours: MariaGtidState = ours.parse().unwrap();
            assert_eq!(ahead(&ours.iter().collect::<Vec<_>>(), &states), want, "{ours}");
        }
    }
}

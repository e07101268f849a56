//! From an address to a running dump: connect, compare histories, request, first packet.

use std::{sync::Arc, time::Duration};

use phiwatch_binlog::{BinlogPosition, Gtid, GtidState};
use tokio::time::timeout;

use super::{
    head,
    history::{self, History},
    session::{self, Identity},
    tracker::{Dump, Resume},
};
use crate::{
    LiveConfig, OnPurged, SourceError,
    config::Address,
    wire::{Connection, Packet, lost, silent},
};

/// What is known of the server that was read before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// `server_uuid` or `server_id`.
    pub(crate) server: Option<String>,
    /// Where a transaction ended in that server's files.
    pub(crate) place: Option<BinlogPosition>,
}

impl Known {
    /// It is the same server, as far as its name tells.
    pub(crate) fn is(&self, identity: &Identity) -> bool {
        self.server.as_ref().is_none_or(|server| server.eq_ignore_ascii_case(&identity.name))
    }
}

/// A connection whose dump has begun.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) identity: Identity,
    /// Where the tracker starts; more than was asked for where transactions were purged.
    pub(crate) resume: Resume,
    pub(crate) dump: Dump,
    /// Transactions that are gone, to be reported before the first event.
    pub(crate) purged: Option<String>,
    /// Payload of the dump's first packet.
    pub(crate) first: Vec<u8>,
}

/// How to go on.
pub(crate) struct Start<'a> {
    pub(crate) config: &'a LiveConfig,
    /// None: at the configured start.
    pub(crate) resume: Option<Resume>,
    pub(crate) known: &'a Known,
    /// Whether purged transactions are an error here.
    pub(crate) on_purged: OnPurged,
}

/// Connects and begins the dump.
pub(crate) async fn open(start: &Start<'_>, address: &Address) -> Result<Opened, SourceError> {
    let Start { config, known, on_purged, .. } = start;
    let mut connection = Connection::open(&config.login, address).await?;
    let identity = session::identify(&mut connection, config).await?;
    let mut resume = match &start.resume {
        // GTIDs are of no use on a server that was set back to none.
        Some(Resume::Gtid(_)) if !identity.has_gtids && known.place.is_some() => {
            Resume::Position(known.place.clone().unwrap_or_else(nowhere))
        }
        Some(resume) => resume.clone(),
        None => session::resolve(&mut connection, &identity, &config.start, known).await?,
    };
    let files = history::files(&mut connection).await?;
    let mut history = History { connection: &mut connection, identity: &identity, known };
    let missing = history.check(&resume, files.as_deref()).await?;
    let mut purged = None;
    if let (Some(missing), Resume::Gtid(GtidState::MySql(ours))) = (missing, &resume) {
        if *on_purged == OnPurged::Stop {
            return Err(SourceError::Purged { missing: missing.to_string() });
        }
        purged = Some(missing.to_string());
        resume = Resume::Gtid(GtidState::MySql(ours.union(&missing)));
    }
    let dump = session::request(&mut connection, &identity, config, &resume).await?;
    match first_packet(&mut connection, config, &resume).await {
        Ok(first) => return Ok(Opened { connection, identity, resume, dump, purged, first }),
        Err(SourceError::Purged { .. }) => {}
        Err(error) => return Err(error),
    }
    // After an error the server closes.
    connection = Connection::open(&config.login, address).await?;
    let oldest = session::oldest(&mut connection).await?;
    let missing = missing_text(start, &identity, address, &resume, &oldest).await?;
    if *on_purged == OnPurged::Stop {
        return Err(SourceError::Purged { missing });
    }
    let from = Resume::Position(oldest);
    let mut dump = session::request(&mut connection, &identity, config, &from).await?;
    dump.filter_known = true;
    let first = first_packet(&mut connection, config, &from).await?;
    // GTIDs that are done stay done: the file's head tells only what came before it.
    let resume = if matches!(resume, Resume::Gtid(_)) { resume } else { from };
    Ok(Opened { connection, identity, resume, dump, purged: Some(missing), first })
}

pub(crate) fn nowhere() -> BinlogPosition {
    BinlogPosition { file: Arc::from(""), offset: 4 }
}

/// What was purged after `resume`: as exactly as the oldest file's head tells.
async fn missing_text(
    start: &Start<'_>,
    identity: &Identity,
    address: &Address,
    resume: &Resume,
    oldest: &BinlogPosition,
) -> Result<String, SourceError> {
    let upto = format!("up to the start of {}", oldest.file);
    let ours = match resume {
        Resume::Position(position) => return Ok(format!("from {position} {upto}")),
        Resume::Gtid(GtidState::MySql(_)) => return Ok(format!("after {resume}, {upto}")),
        Resume::Gtid(GtidState::MariaDb(ours)) => ours,
    };
    let head = head::read(start.config, address, identity.is_mariadb, &oldest.file).await?;
    let Some(GtidState::MariaDb(before)) = head.before else {
        return Ok(format!("after {ours}, {upto}"));
    };
    let ranges: Vec<String> = before
        .iter()
        .filter(|gtid| !ours.contains(gtid))
        .map(|upto| {
            let domain = |gtid: &Gtid| match gtid {
                Gtid::MariaDb { domain, .. } => Some(*domain),
                Gtid::MySql { .. } => None,
            };
            match ours.iter().find(|known| domain(known) == domain(&upto)) {
                Some(known) => format!("after {known} up to {upto}"),
                None => format!("up to {upto}"),
            }
        })
        .collect();
    Ok(ranges.join(", "))
}

/// Waits for the dump's first packet: an error packet means that it does not begin.
pub(crate) async fn first_packet(
    connection: &mut Connection,
    config: &LiveConfig,
    resume: &Resume,
) -> Result<Vec<u8>, SourceError> {
    const DOING: &str = "starting to read the binlog";
    // Finding the place by GTID takes the server a while where there are many files.
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut payload = Vec::new();
    loop {
        let packet = connection.packets.advance(&mut payload, config.whole_bytes_max as usize + 1);
        match packet.map_err(|what| connection.protocol(what))? {
            Some(Packet::Whole { .. }) if payload.first() == Some(&0xff) => {
                return Err(classify(connection.server(&payload, DOING), config, resume));
            }
            Some(Packet::Whole { .. }) => return Ok(payload),
            Some(Packet::Refused { .. }) => {
                return Err(connection.protocol("the first packet is too long"));
            }
            None => {}
        }
        let filled = timeout(PATIENCE.max(config.heartbeat * 3), connection.packets.fill()).await;
        match filled {
            Ok(Ok(0)) => {
                let cause = std::io::ErrorKind::UnexpectedEof.into();
                return Err(lost(connection.address(), DOING, cause));
            }
            Ok(Ok(_)) => {}
            Ok(Err(cause)) => return Err(lost(connection.address(), DOING, cause)),
            Err(_) => return Err(silent(connection.address(), PATIENCE, DOING)),
        }
    }
}

/// Tells the many meanings of error 1236 apart; the server has only texts for them.
pub(crate) fn classify(error: SourceError, config: &LiveConfig, resume: &Resume) -> SourceError {
    // The second is MariaDB's for a replica with our id.
    let SourceError::Server { address, code: 1236 | 4052, message, .. } = &error else {
        return error;
    };
    let address = address.clone();
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&["same server_uuid/server_id", "same server_id"]) {
        SourceError::DuplicateServerId { address, server_id: config.server_id }
    } else if says(&[
        "purged required binary logs",
        "purged binary logs containing GTIDs",
        "Could not find GTID state requested by slave in any binlog files",
        "Could not find first log file name",
    ]) {
        SourceError::Purged { missing: format!("after {resume}") }
    } else if says(&[
        "has more GTIDs than the",
        "which is not in the master's binlog",
        "start replication from position",
        "start replication from impossible position",
        "truncated in the middle of event",
    ]) {
        SourceError::History { address, what: message.clone() }
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Login, Tls, TlsMode};

    #[track_caller]
    fn check(message: &str, want: &str) {
        let address = Address { host: "db".to_owned(), port: 1 };
        let login = Login {
            address,
            user: "u".to_owned(),
            password: "".into(),
            tls: Tls::with_mode(TlsMode::Off),
            timeout: Duration::from_secs(1),
        };
        let config = LiveConfig::new(login, 7);
        let error = SourceError::Server {
            address: "db:1".to_owned(),
            code: 1236,
            message: message.to_owned(),
            doing: "reading",
        };
        let resume = Resume::Gtid("0-1-5".parse().unwrap());
        assert_eq!(classify(error, &config, &resume).to_string(), want);
    }

    #[test]
    fn meanings_of_1236() {
        check(
            "Cannot replicate because the source purged required binary logs. Replicate the ...",
            "the server purged binlogs before they were read; missing: after 0-1-5",
        );
        check(
            "A slave with the same server_uuid/server_id as this slave has connected to the master",
            "another replica or phiwatch with server_id 7 reads from db:1",
        );
        check(
            "Error: connecting slave requested to start from GTID 0-1-9, which is not in the \
             master's binlog",
            "db:1 is not where reading stopped: Error: connecting slave requested to start from \
             GTID 0-1-9, which is not in the master's binlog",
        );
        check(
            "Binary log is not open",
            "db:1 answered error 1236 while reading: Binary log is not open",
        );
    }
}

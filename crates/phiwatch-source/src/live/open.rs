//! From an address to a running dump: connect, compare histories, request, first packet.

use std::time::Duration;

use phiwatch_binlog::GtidState;
use tokio::time::timeout;

use super::{
    session::{self, Identity},
    tracker::{Dump, Resume},
};
use crate::{
    LiveConfig, OnPurged, SourceError,
    config::Address,
    wire::{Connection, Packet, lost, silent},
};

/// What is known of the server that was read before.
pub(crate) struct Known {
    /// `server_uuid` or `server_id`.
    pub(crate) server: Option<String>,
    /// Transactions were delivered already: not the first connection.
    pub(crate) is_running: bool,
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

/// Connects and begins the dump at `resume`, or else at the configured start. `from_oldest`: what
/// comes next is known to be purged.
pub(crate) async fn open(
    config: &LiveConfig,
    address: &Address,
    resume: Option<Resume>,
    from_oldest: bool,
    known: &Known,
) -> Result<Opened, SourceError> {
    let mut connection = Connection::open(&config.login, address).await?;
    let identity = session::identify(&mut connection, config).await?;
    let mut resume = match resume {
        Some(resume) => resume,
        None => session::resolve(&mut connection, &identity, &config.start).await?,
    };
    let mut purged = None;
    let missing = session::check(&identity, address, &resume, known)?;
    if let (Some(missing), Resume::Gtid(GtidState::MySql(ours))) = (missing, &resume) {
        if config.on_purged == OnPurged::Stop {
            return Err(SourceError::Purged { missing: missing.to_string() });
        }
        purged = Some(missing.to_string());
        resume = Resume::Gtid(GtidState::MySql(ours.union(&missing)));
    }
    if !from_oldest {
        let dump = session::request(&mut connection, &identity, config, &resume).await?;
        match first_packet(&mut connection, config, &resume).await {
            Ok(first) => {
                return Ok(Opened { connection, identity, resume, dump, purged, first });
            }
            Err(SourceError::Purged { .. }) if config.on_purged == OnPurged::Continue => {
                // After an error the server closes.
                connection = Connection::open(&config.login, address).await?;
            }
            Err(error) => return Err(error),
        }
    }
    let oldest = session::oldest(&mut connection).await?;
    purged = Some(format!("{}, up to the start of {}", missing_text(&resume), oldest.file));
    let from = Resume::Position(oldest);
    let mut dump = session::request(&mut connection, &identity, config, &from).await?;
    dump.filter_known = true;
    let first = first_packet(&mut connection, config, &from).await?;
    // GTIDs that are done stay done: the file's head tells only what came before it.
    let resume = if matches!(resume, Resume::Gtid(_)) { resume } else { from };
    Ok(Opened { connection, identity, resume, dump, purged, first })
}

fn missing_text(resume: &Resume) -> String {
    match resume {
        Resume::Gtid(state) => format!("after {state}"),
        Resume::Position(position) => format!("from {position}"),
    }
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
        SourceError::Purged { missing: missing_text(resume) }
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

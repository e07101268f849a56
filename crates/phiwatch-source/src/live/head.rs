//! The head of one binlog file: when it was begun, and what came before it.
//!
//! A dump of its own on a second connection that ends after the first events. Server id 0 marks it
//! as a short one, for which servers end no other reader.

use phiwatch_binlog::{GtidState, MariaGtidState, framing::Header};
use tokio::time::timeout;

use super::{
    event::{self, kind},
    session,
};
use crate::{
    LiveConfig, SourceError,
    config::Address,
    wire::{Connection, Packet, lost, silent},
};

const READING: &str = "reading the head of a binlog";
/// Events before the first transaction: a made-up ROTATE, the format, encryption, GTIDs.
const EVENTS_MAX: usize = 8;
/// A larger list of GTIDs is not read here.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// What a file's first events tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// When it was begun, seconds since 1970 by the server's clock.
    pub(crate) begun_secs: u32,
    /// Transactions of all files before it; None where it does not tell.
    pub(crate) before: Option<GtidState>,
}

/// Reads a file's head.
pub(crate) async fn read(
    config: &LiveConfig,
    address: &Address,
    is_mariadb: bool,
    file: &str,
) -> Result<Head, SourceError> {
    let mut connection = Connection::open(&config.login, address).await?;
    session::ask_for_checksums(&mut connection, is_mariadb).await?;
    connection.command(&session::dump_position(1, 0, file, 4), READING).await?;
    let mut head = None;
    let mut payload = Vec::new();
    let mut checksums = false;
    for _ in 0..EVENTS_MAX {
        packet(&mut connection, config, &mut payload).await?;
        let event = match payload.split_first() {
            Some((0, event)) => event,
            Some((0xff, _)) => return Err(connection.server(&payload, READING)),
            _ => break,
        };
        let Ok(header) = Header::parse(event) else { break };
        match header.kind {
            kind::ROTATE | kind::START_ENCRYPTION => {}
            kind::FORMAT_DESCRIPTION => {
                checksums = event::has_checksums(event);
                head = Some(Head { begun_secs: header.timestamp_secs, before: None });
            }
            kind::PREVIOUS_GTIDS | kind::MARIA_GTID_LIST => {
                if let Some(head) = &mut head {
                    head.before = before(event, header.kind, checksums);
                }
                break;
            }
            _ => break,
        }
    }
    head.ok_or_else(|| connection.protocol("a binlog without a format description"))
}

fn before(event: &[u8], kind: u8, checksums: bool) -> Option<GtidState> {
    if kind == kind::PREVIOUS_GTIDS {
        return event::previous_gtids(event, checksums).map(GtidState::MySql);
    }
    let mut state = MariaGtidState::default();
    event::gtid_list(event)?.iter().for_each(|gtid| state.update(gtid));
    Some(GtidState::MariaDb(state))
}

async fn packet(
    connection: &mut Connection,
    config: &LiveConfig,
    payload: &mut Vec<u8>,
) -> Result<(), SourceError> {
    payload.clear();
    loop {
        let packet = connection.packets.advance(payload, EVENT_BYTES_MAX);
        match packet.map_err(|what| connection.protocol(what))? {
            Some(Packet::Whole { .. }) => return Ok(()),
            Some(Packet::Refused { .. }) => {
                return Err(connection.protocol("a head that is too long"));
            }
            None => {}
        }
        let patience = config.login.timeout;
        match timeout(patience, connection.packets.fill()).await {
            Ok(Ok(0)) => {
                let cause = std::io::ErrorKind::UnexpectedEof.into();
                return Err(lost(connection.address(), READING, cause));
            }
            Ok(Ok(_)) => {}
            Ok(Err(cause)) => return Err(lost(connection.address(), READING, cause)),
            Err(_) => return Err(silent(connection.address(), patience, READING)),
        }
    }
}

//! Setting up a dump: what the server is, whether it still has what we need, and the request.

use std::sync::Arc;

use phiwatch_binlog::{BinlogPosition, GtidSet, GtidState, MariaGtidState};

use super::{
    open::Known,
    tracker::{Dump, Resume},
};
use crate::{
    LiveConfig, SourceError, StartAt,
    config::{Address, setting},
    wire::{Connection, Row},
};

const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// End at the last event instead of waiting for more.
const DUMP_NON_BLOCK: u16 = 1;
/// A stopped reader must not lose its connection because the server's write waits: seconds.
const NET_WRITE_TIMEOUT_SECS: u32 = 3600;

/// What a server said of itself when the dump was set up.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) is_mariadb: bool,
    /// `server_uuid`; MariaDB: `server_id`.
    pub(crate) name: String,
    /// MySQL: transactions have GTIDs. MariaDB: always.
    pub(crate) has_gtids: bool,
    /// MySQL `gtid_executed`, MariaDB `gtid_binlog_pos`.
    executed: String,
    /// MySQL `gtid_purged`.
    purged: String,
}

/// Asks the server who it is.
pub(crate) async fn identify(
    connection: &mut Connection,
    config: &LiveConfig,
) -> Result<Identity, SourceError> {
    let row = connection.row("SELECT @@version, @@version_comment, @@server_id, @@log_bin").await?;
    let says = |index: usize| text(&row, index).to_ascii_lowercase().contains("mariadb");
    let is_mariadb = says(0) || says(1);
    if text(&row, 3) == "0" {
        let what = format!("{} writes no binary log: set log_bin", connection.address());
        return Err(setting("url", what));
    }
    if config.server_id == 0 || text(&row, 2) == config.server_id.to_string() {
        let what = "0 and the source's own server_id cannot be used; choose a free number";
        return Err(setting("server_id", what.to_owned()));
    }
    if is_mariadb {
        let name = text(&row, 2).to_owned();
        let row = connection.row("SELECT @@global.gtid_binlog_pos").await?;
        let executed = text(&row, 0).to_owned();
        return Ok(Identity { is_mariadb, name, has_gtids: true, executed, purged: String::new() });
    }
    let sql = "SELECT @@global.server_uuid, @@global.gtid_mode, @@global.gtid_executed, \
               @@global.gtid_purged";
    let row = connection.row(sql).await?;
    Ok(Identity {
        is_mariadb,
        name: text(&row, 0).to_owned(),
        has_gtids: text(&row, 1) == "ON",
        executed: text(&row, 2).to_owned(),
        purged: text(&row, 3).to_owned(),
    })
}

pub(crate) fn text(row: &Row, index: usize) -> &str {
    row.get(index).and_then(Option::as_deref).unwrap_or_default()
}

/// Turns the configured start into a place on this server.
pub(crate) async fn resolve(
    connection: &mut Connection,
    identity: &Identity,
    start: &StartAt,
) -> Result<Resume, SourceError> {
    Ok(match start {
        StartAt::Gtid(GtidState::MySql(set)) if identity.is_mariadb && set.is_empty() => {
            Resume::Gtid(GtidState::MariaDb(MariaGtidState::default()))
        }
        StartAt::Gtid(state) => {
            let fits = matches!(state, GtidState::MariaDb(_)) == identity.is_mariadb;
            if !fits || !identity.has_gtids {
                let what = "a GTID set of the other kind, or the server's gtid_mode is not ON";
                return Err(setting("start", what.to_owned()));
            }
            Resume::Gtid(state.clone())
        }
        StartAt::Position { file, offset } => {
            Resume::Position(BinlogPosition { file: Arc::from(file.as_str()), offset: *offset })
        }
        StartAt::Oldest if identity.has_gtids && !identity.is_mariadb => {
            Resume::Gtid(GtidState::MySql(parse(connection, &identity.purged)?))
        }
        StartAt::Oldest => Resume::Position(oldest(connection).await?),
        StartAt::Latest if !identity.has_gtids || identity.executed.is_empty() => {
            Resume::Position(latest(connection).await?)
        }
        StartAt::Latest if identity.is_mariadb => {
            let state = identity.executed.parse().map_err(|_| bad_gtids(connection))?;
            Resume::Gtid(GtidState::MariaDb(state))
        }
        StartAt::Latest => Resume::Gtid(GtidState::MySql(parse(connection, &identity.executed)?)),
    })
}

fn parse(connection: &Connection, text: &str) -> Result<GtidSet, SourceError> {
    text.parse().map_err(|_| bad_gtids(connection))
}

fn bad_gtids(connection: &Connection) -> SourceError {
    connection.protocol("a GTID set that cannot be read")
}

/// The first event of the oldest binlog.
pub(crate) async fn oldest(connection: &mut Connection) -> Result<BinlogPosition, SourceError> {
    let row = connection.row("SHOW BINARY LOGS").await?;
    Ok(BinlogPosition { file: Arc::from(text(&row, 0)), offset: 4 })
}

/// Where the server writes next.
async fn latest(connection: &mut Connection) -> Result<BinlogPosition, SourceError> {
    const SYNTAX_ERROR: u16 = 1064;
    let row = match connection.row("SHOW BINARY LOG STATUS").await {
        Err(SourceError::Server { code: SYNTAX_ERROR, .. }) => {
            connection.row("SHOW MASTER STATUS").await?
        }
        other => other?,
    };
    let offset = text(&row, 1).parse().map_err(|_| connection.protocol("bad binlog status"))?;
    Ok(BinlogPosition { file: Arc::from(text(&row, 0)), offset })
}

/// Whether the server has what comes after `resume`; the purged part if it has not.
pub(crate) fn check(
    identity: &Identity,
    address: &Address,
    resume: &Resume,
    known: &Known,
) -> Result<Option<GtidSet>, SourceError> {
    let same =
        known.server.as_ref().is_none_or(|server| server.eq_ignore_ascii_case(&identity.name));
    let history = |what: String| SourceError::History { address: address.to_string(), what };
    match resume {
        Resume::Position(position) if !same => Err(history(format!(
            "{position} belongs to server {}, this is {}",
            known.server.as_deref().unwrap_or_default(),
            identity.name
        ))),
        Resume::Gtid(GtidState::MySql(ours)) => {
            let unreadable = |_| SourceError::Protocol {
                address: address.to_string(),
                what: "a GTID set that cannot be read",
            };
            let executed: GtidSet = identity.executed.parse().map_err(unreadable)?;
            let purged: GtidSet = identity.purged.parse().map_err(unreadable)?;
            let ahead = ours.subtract(&executed);
            if !ahead.is_empty() {
                // A replica that was promoted late may still be applying: another try may do.
                if known.is_running && !same {
                    let cause = std::io::Error::other(format!("the server still lacks {ahead}"));
                    return Err(SourceError::Connect { address: address.to_string(), cause });
                }
                let was = if same { "reset or restored" } else { "replaced" };
                return Err(history(format!(
                    "it lacks {ahead}, which was read before; it was {was}"
                )));
            }
            if !same {
                tracing::warn!(server = identity.name, %address, "reading from another server now");
            }
            let missing = purged.subtract(ours);
            Ok((!missing.is_empty()).then_some(missing))
        }
        Resume::Position(_) | Resume::Gtid(GtidState::MariaDb(_)) => Ok(None),
    }
}

/// Prepares the session, registers as a replica and asks for the dump.
pub(crate) async fn request(
    connection: &mut Connection,
    identity: &Identity,
    config: &LiveConfig,
    resume: &Resume,
) -> Result<Dump, SourceError> {
    prepare(connection, identity, config, resume).await?;
    register(connection, config).await?;
    let flags = if config.once { DUMP_NON_BLOCK } else { 0 };
    let (bytes, dump) = match resume {
        Resume::Gtid(GtidState::MySql(set)) => {
            (dump_gtid(flags, config.server_id, &set.encode()), Dump::default())
        }
        // The state is in the session.
        Resume::Gtid(GtidState::MariaDb(_)) => {
            (dump_position(flags, config.server_id, "", 4), Dump::default())
        }
        Resume::Position(BinlogPosition { file, offset }) => {
            let adopt_list = identity.has_gtids && *offset == 4;
            // The request has 32 bits for the offset: read from the head and pass over.
            let (wire, skip_until) = match u32::try_from(*offset) {
                Ok(wire) => (wire, 0),
                Err(_) => (4, *offset),
            };
            let dump = Dump { skip_until, adopt_list, filter_known: false };
            (dump_position(flags, config.server_id, file, wire), dump)
        }
    };
    connection.command(&bytes, "asking for the binlog").await?;
    Ok(dump)
}

async fn prepare(
    connection: &mut Connection,
    identity: &Identity,
    config: &LiveConfig,
    resume: &Resume,
) -> Result<(), SourceError> {
    let heartbeat = config.heartbeat.as_nanos();
    let uuid = replica_uuid(config.server_id);
    let (checksum, log) = ("@@global.binlog_checksum", "@master");
    let mut sql = format!(
        "SET {log}_binlog_checksum = {checksum}, @source_binlog_checksum = {checksum}, \
         {log}_heartbeat_period = {heartbeat}, @source_heartbeat_period = {heartbeat}, \
         @slave_uuid = '{uuid}', @replica_uuid = '{uuid}', \
         SESSION net_write_timeout = {NET_WRITE_TIMEOUT_SECS}"
    );
    if identity.is_mariadb {
        // 4: the server may send GTID events as they are.
        sql += ", @mariadb_slave_capability = 4, @slave_gtid_ignore_duplicates = 0";
        if let Resume::Gtid(state) = resume {
            sql += &format!(", @slave_connect_state = '{state}', @slave_gtid_strict_mode = 1");
        }
    }
    connection.run(&sql).await
}

/// A stable uuid of ours: servers end an older dump of the same replica by it.
fn replica_uuid(server_id: u32) -> String {
    format!("70686977-6174-8368-8000-0000{server_id:08x}")
}

async fn register(connection: &mut Connection, config: &LiveConfig) -> Result<(), SourceError> {
    let mut bytes = vec![COM_REGISTER_SLAVE];
    bytes.extend(config.server_id.to_le_bytes());
    let host = b"phiwatch";
    bytes.push(8);
    bytes.extend(host);
    // No user, no password, port 0, rank 0, source 0.
    bytes.extend([0; 2 + 2 + 4 + 4]);
    let doing = "registering as a replica";
    connection.command(&bytes, doing).await?;
    connection.expect_ok(doing).await
}

fn dump_position(flags: u16, server_id: u32, file: &str, offset: u32) -> Vec<u8> {
    let mut bytes = vec![COM_BINLOG_DUMP];
    bytes.extend(offset.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(server_id.to_le_bytes());
    bytes.extend(file.bytes());
    bytes
}

/// With an empty file name: the server finds the place by the set.
fn dump_gtid(flags: u16, server_id: u32, set: &[u8]) -> Vec<u8> {
    let mut bytes = vec![COM_BINLOG_DUMP_GTID];
    bytes.extend(flags.to_le_bytes());
    bytes.extend(server_id.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(4_u64.to_le_bytes());
    bytes.extend(u32::try_from(set.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(set);
    bytes
}

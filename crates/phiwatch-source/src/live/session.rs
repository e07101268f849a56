//! Setting up a dump: what the server is, whether it still has what we need, and the request.

use std::sync::Arc;

use phiwatch_binlog::{BinlogPosition, Gtid, GtidSet, GtidState, MariaGtidState};

use super::{
    open::Known,
    tracker::{Dump, Resume},
};
use crate::{
    LiveConfig, SourceError, StartAt,
    config::setting,
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
    pub(crate) executed: String,
    /// MySQL `gtid_purged`.
    pub(crate) purged: String,
    /// MariaDB `gtid_binlog_state`: the last GTID per domain and server.
    pub(crate) states: Vec<Gtid>,
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
        let sql = "SELECT @@global.gtid_binlog_pos, @@global.gtid_binlog_state";
        let row = connection.row(sql).await?;
        let executed = text(&row, 0).to_owned();
        let states = text(&row, 1).split(',').filter_map(|gtid| gtid.parse().ok()).collect();
        let purged = String::new();
        return Ok(Identity { is_mariadb, name, has_gtids: true, executed, purged, states });
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
        states: Vec::new(),
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
    known: &Known,
) -> Result<Resume, SourceError> {
    Ok(match start {
        // Its GTIDs are of no use on a server that was set back to none.
        StartAt::Gtid(GtidState::MySql(_))
            if !identity.has_gtids && !identity.is_mariadb && known.place.is_some() =>
        {
            Resume::Position(known.place.clone().unwrap_or_else(super::open::nowhere))
        }
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
pub(super) async fn latest(connection: &mut Connection) -> Result<BinlogPosition, SourceError> {
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
            let adopt_list = identity.has_gtids;
            // From the head, and passing over: where transactions have GTIDs, those before the
            // offset must be known to go on by GTID, here or elsewhere; and the request has only
            // 32 bits for an offset.
            let (wire, skip_until) = match u32::try_from(*offset) {
                Ok(wire) if wire <= 4 || !identity.has_gtids => (wire, 0),
                _ => (4, *offset),
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
    ask_for_checksums(connection, identity.is_mariadb).await?;
    let mut sql = format!(
        "SET @master_heartbeat_period = {heartbeat}, @source_heartbeat_period = {heartbeat}, \
         @slave_uuid = '{uuid}', @replica_uuid = '{uuid}', \
         SESSION net_write_timeout = {NET_WRITE_TIMEOUT_SECS}"
    );
    if identity.is_mariadb {
        sql += ", @slave_gtid_ignore_duplicates = 0";
        if let Resume::Gtid(state) = resume {
            sql += &format!(", @slave_connect_state = '{state}', @slave_gtid_strict_mode = 1");
        }
    }
    connection.run(&sql).await
}

/// Without it a server with checksums refuses the dump.
pub(crate) async fn ask_for_checksums(
    connection: &mut Connection,
    is_mariadb: bool,
) -> Result<(), SourceError> {
    let checksum = "@@global.binlog_checksum";
    let mut sql =
        format!("SET @master_binlog_checksum = {checksum}, @source_binlog_checksum = {checksum}");
    if is_mariadb {
        // 4: the server may send GTID events as they are.
        sql += ", @mariadb_slave_capability = 4";
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

pub(crate) fn dump_position(flags: u16, server_id: u32, file: &str, offset: u32) -> Vec<u8> {
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

//! Questions to a server: what it is, how it is set up, which tables there are.
//!
//! Input: a [`Login`]. Output: [`ServerInfo`], column names, rows. Only SELECT and SHOW.

mod access;
mod findings;
mod logging;
mod topology;

pub use findings::{Finding, Intent, Severity, findings};

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{
    Login, SourceError,
    live::retention::{self, Retention},
    wire::Connection,
};

/// Which server it is. Told by name, never by the version's leading number: MariaDB 10 calls
/// itself 5.5.5, and both have had a version 10 or 11 to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// MySQL, Percona Server.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// One binlog file of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryLog {
    /// Name without a folder.
    pub file: String,
    /// Size, bytes.
    pub bytes: u64,
}

/// A table and its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumns {
    /// Schema.
    pub database: String,
    /// Table.
    pub table: String,
    /// Column names in table order.
    pub columns: Vec<String>,
    /// Of each, `column_type` (`int unsigned`) and `character_octet_length`.
    pub types: Vec<(String, Option<u64>)>,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// MySQL or MariaDB.
    pub flavor: Flavor,
    /// As the server prints it, without `5.5.5-`.
    pub version: String,
    /// Its number as a replication source.
    pub server_id: u32,
    /// MySQL's uuid; MariaDB has none.
    pub server_uuid: Option<String>,
    /// The global variables that matter, by lower-case name. Unknown ones are absent.
    pub variables: BTreeMap<String, String>,
    /// MySQL `gtid_executed`, MariaDB `gtid_binlog_pos`.
    pub gtid_executed: String,
    /// MySQL `gtid_purged`; empty on MariaDB.
    pub gtid_purged: String,
    /// Oldest first; None if the account may not see them or there are none.
    pub binary_logs: Option<Vec<BinaryLog>>,
    /// Our account's grants, as the server prints them, without passwords.
    pub grants: Vec<String>,
    /// Server ids of the replicas that are connected; None if the account may not see them.
    pub replicas: Option<Vec<u32>>,
    /// What the server replicates from others: a status by column name for each channel, none if it
    /// is no replica. None if the account may not see it.
    pub channels: Option<Vec<BTreeMap<String, String>>>,
    /// Databases that alone (`Binlog_Do_DB`) or not at all (`Binlog_Ignore_DB`) are in the binlog,
    /// as the server lists them. None if the account may not see it.
    pub binlog_filters: Option<[String; 2]>,
    /// How long the server keeps a closed binlog; None = for ever.
    pub binlogs_kept: Option<Duration>,
    /// Beyond so many bytes of binlogs it drops the oldest; None = never.
    pub binlogs_bytes_max: Option<u64>,
    /// A managed service keeps binlogs by a setting of its own.
    pub is_managed: bool,
    /// The server's clock minus ours, milliseconds.
    pub clock_ahead_ms: i64,
    /// This connection is encrypted.
    pub is_encrypted: bool,
    /// Until the certificate that the server showed here expires: negative if it has. None without
    /// one, or if it cannot be read.
    pub certificate_secs: Option<i64>,
}

impl ServerInfo {
    /// A variable's value; empty if the server has no such variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map(String::as_str).unwrap_or_default()
    }

    /// What to keep with a checkpoint as [`crate::LiveConfig::known_server`].
    #[must_use]
    pub fn name(&self) -> String {
        self.server_uuid.clone().unwrap_or_else(|| self.server_id.to_string())
    }

    fn is_on(&self, variable: &str) -> bool {
        self.variable(variable).eq_ignore_ascii_case("ON")
    }

    /// The first three numbers of its version; 0 for what is none.
    fn release(&self) -> (u32, u32, u32) {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        (next(), next(), next())
    }
}

/// Variables of either server that decide what its binlog holds.
const VARIABLES: [&str; 33] = [
    "log_bin",
    "log_replica_updates",
    "log_slave_updates",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_transaction_compression",
    "binlog_transaction_compression_level_zstd",
    "log_bin_compress",
    "binlog_rows_query_log_events",
    "binlog_annotate_row_events",
    "binlog_checksum",
    "binlog_encryption",
    "encrypt_binlog",
    "gtid_mode",
    "gtid_strict_mode",
    "gtid_domain_id",
    "server_id",
    "server_uuid",
    "sync_binlog",
    "innodb_flush_log_at_trx_commit",
    "binlog_expire_logs_seconds",
    "binlog_expire_logs_auto_purge",
    "expire_logs_days",
    "max_binlog_size",
    "max_binlog_total_size",
    "basedir",
    "max_allowed_packet",
    "replicate_do_db",
    "replicate_ignore_db",
    "version_comment",
    "time_zone",
];

/// A connection for questions.
pub struct Server {
    connection: Connection,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.connection.address())
    }
}

impl Server {
    /// Connects and logs in.
    ///
    /// # Errors
    /// No connection, no TLS, or no access.
    pub async fn connect(login: &Login) -> Result<Self, SourceError> {
        Ok(Self::over(Connection::open(login, &login.address).await?))
    }

    pub(crate) fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// Ends the connection.
    pub async fn close(self) {
        self.connection.close().await;
    }

    /// All that [`findings`] looks at.
    ///
    /// # Errors
    /// The connection broke. What the account may not see is absent, not an error.
    pub async fn info(&mut self) -> Result<ServerInfo, SourceError> {
        let list = VARIABLES.map(|name| format!("'{name}'")).join(",");
        let sql = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({list})");
        let mut variables = BTreeMap::new();
        for row in self.connection.rows(&sql).await? {
            if let [Some(name), Some(value)] = row.as_slice() {
                variables.insert(name.to_ascii_lowercase(), value.clone());
            }
        }
        let says_maria = |text: &str| text.to_ascii_lowercase().contains("mariadb");
        let comment = variables.get("version_comment").map(String::as_str).unwrap_or_default();
        let version = self.connection.version().to_owned();
        let is_maria = says_maria(&version) || says_maria(comment);
        let flavor = if is_maria { Flavor::MariaDb } else { Flavor::MySql };
        let (gtid_executed, gtid_purged) = self.gtids(flavor).await?;
        let clock_ahead_ms = self.clock().await?;
        let retention = retention::ask(&mut self.connection, &variables).await?;
        Ok(ServerInfo {
            flavor,
            version,
            server_id: variables.get("server_id").and_then(|id| id.parse().ok()).unwrap_or(0),
            server_uuid: variables.get("server_uuid").cloned(),
            gtid_executed,
            gtid_purged,
            binary_logs: self.binary_logs().await?,
            grants: self.grants().await?,
            replicas: self.replicas().await?,
            channels: self.channels(flavor).await?,
            binlog_filters: self.binlog_filters().await?,
            binlogs_kept: retention.age,
            binlogs_bytes_max: retention.bytes_max,
            is_managed: Retention::is_of_service(&variables),
            clock_ahead_ms,
            is_encrypted: self.connection.is_encrypted(),
            certificate_secs: self.connection.certificate_secs(),
            variables,
        })
    }

    async fn gtids(&mut self, flavor: Flavor) -> Result<(String, String), SourceError> {
        let sql = match flavor {
            Flavor::MySql => "SELECT @@global.gtid_executed, @@global.gtid_purged",
            Flavor::MariaDb => "SELECT @@global.gtid_binlog_pos, ''",
        };
        let row = self.connection.row(sql).await?;
        let mut values = row.into_iter().map(|value| {
            // MySQL breaks long sets into lines.
            value.unwrap_or_default().replace('\n', "")
        });
        Ok((values.next().unwrap_or_default(), values.next().unwrap_or_default()))
    }

    async fn clock(&mut self) -> Result<i64, SourceError> {
        let sql = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
        let row = self.connection.row(sql).await?;
        let ours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ours = i64::try_from(ours.as_millis()).unwrap_or(i64::MAX);
        let server: Option<i64> = row.first().and_then(|value| value.as_ref()?.parse().ok());
        Ok(server.map_or(0, |server| server.saturating_sub(ours)))
    }

    /// The server's binlog files, oldest first; None if the account may not see them.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn binary_logs(&mut self) -> Result<Option<Vec<BinaryLog>>, SourceError> {
        let Some(rows) = self.optional(&["SHOW BINARY LOGS"]).await? else { return Ok(None) };
        let log = |row: BTreeMap<String, String>| {
            Some(BinaryLog {
                file: row.get("Log_name")?.clone(),
                bytes: row.get("File_size")?.parse().ok()?,
            })
        };
        Ok(Some(rows.into_iter().filter_map(log).collect()))
    }

    async fn grants(&mut self) -> Result<Vec<String>, SourceError> {
        let rows = self.connection.rows("SHOW GRANTS").await?;
        let text = |row: Vec<Option<String>>| row.into_iter().next().flatten();
        // MariaDB prints the password's hash after these words.
        let cut = |grant: String| match grant.split_once(" IDENTIFIED ") {
            Some((head, _)) => head.to_owned(),
            None => grant,
        };
        Ok(rows.into_iter().filter_map(text).map(cut).collect())
    }

    async fn replicas(&mut self) -> Result<Option<Vec<u32>>, SourceError> {
        let rows = self.optional(&["SHOW REPLICAS", "SHOW SLAVE HOSTS"]).await?;
        let id = |row: BTreeMap<String, String>| {
            row.get("Server_Id").or_else(|| row.get("Server_id"))?.parse().ok()
        };
        Ok(rows.map(|rows| rows.into_iter().filter_map(id).collect()))
    }

    async fn channels(
        &mut self,
        flavor: Flavor,
    ) -> Result<Option<Vec<BTreeMap<String, String>>>, SourceError> {
        // MariaDB's SHOW REPLICA STATUS shows one connection of many.
        let statements = match flavor {
            Flavor::MySql => ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"],
            Flavor::MariaDb => ["SHOW ALL REPLICAS STATUS", "SHOW ALL SLAVES STATUS"],
        };
        self.optional(&statements).await
    }

    async fn binlog_filters(&mut self) -> Result<Option<[String; 2]>, SourceError> {
        let rows = self.optional(&["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"]).await?;
        let lists = |row: BTreeMap<String, String>| {
            ["Binlog_Do_DB", "Binlog_Ignore_DB"]
                .map(|name| row.get(name).cloned().unwrap_or_default())
        };
        // No row: the log is off.
        Ok(rows.map(|rows| rows.into_iter().next().map(lists).unwrap_or_default()))
    }

    /// The first of the statements that the server knows; None if it is not allowed, or there is
    /// nothing to show.
    async fn optional(
        &mut self,
        statements: &[&str],
    ) -> Result<Option<Vec<BTreeMap<String, String>>>, SourceError> {
        for sql in statements {
            match self.connection.named_rows(sql).await {
                Ok(rows) => {
                    return Ok(Some(
                        rows.into_iter().map(|row| row.into_iter().collect()).collect(),
                    ));
                }
                Err(SourceError::Server { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Databases that hold a shop: those with a `customer_entity` table behind this prefix.
    ///
    /// # Errors
    /// The connection broke. Tables that the account may not see are not there.
    pub async fn shop_databases(&mut self, table_prefix: &str) -> Result<Vec<String>, SourceError> {
        let table = literal(&format!("{table_prefix}customer_entity"));
        let sql = format!(
            "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name = {table} \
             ORDER BY 1"
        );
        let rows = self.connection.rows(&sql).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// Tables of these databases, by database and name, whose rows nothing tells apart: without a
    /// primary key, and without a unique one of columns that are never NULL.
    ///
    /// # Errors
    /// The connection broke. Tables that the account may not see are not there.
    pub async fn tables_without_key(
        &mut self,
        databases: &[String],
    ) -> Result<Vec<(String, String)>, SourceError> {
        if databases.is_empty() {
            return Ok(Vec::new());
        }
        let list = literals(databases);
        let sql = format!(
            "SELECT t.table_schema, t.table_name FROM information_schema.tables t LEFT JOIN \
             (SELECT table_schema, table_name FROM information_schema.statistics \
              WHERE table_schema IN ({list}) AND non_unique = 0 \
              GROUP BY table_schema, table_name, index_name HAVING MAX(nullable = 'YES') = 0) k \
             ON k.table_schema = t.table_schema AND k.table_name = t.table_name \
             WHERE t.table_schema IN ({list}) AND t.table_type = 'BASE TABLE' \
             AND k.table_name IS NULL ORDER BY t.table_schema, t.table_name"
        );
        let rows = self.connection.rows(&sql).await?;
        let names = |row| match <[_; 2]>::try_from(row) {
            Ok([Some(database), Some(table)]) => Some((database, table)),
            _ => None,
        };
        Ok(rows.into_iter().filter_map(names).collect())
    }

    /// Column names of every table and view of these databases, by database and table.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn column_names(
        &mut self,
        databases: &[String],
    ) -> Result<Vec<TableColumns>, SourceError> {
        if databases.is_empty() {
            return Ok(Vec::new());
        }
        columns_where(&mut self.connection, &format!("table_schema IN ({})", literals(databases)))
            .await
    }

    /// All rows of a query: for small answers.
    ///
    /// # Errors
    /// The server refuses it, or the connection broke.
    pub async fn query_rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, SourceError> {
        self.connection.rows(sql).await
    }

    /// Hands over each row of a query as it arrives: memory does not grow with the answer.
    ///
    /// # Errors
    /// The server refuses it, or the connection broke; rows may have been handed over already.
    pub async fn each_row(
        &mut self,
        sql: &str,
        take: impl FnMut(Vec<Option<String>>),
    ) -> Result<(), SourceError> {
        self.connection.each_row(sql, take).await
    }
}

fn literals(texts: &[String]) -> String {
    let list: Vec<_> = texts.iter().map(|text| literal(text)).collect();
    list.join(",")
}

async fn columns_where(
    connection: &mut Connection,
    condition: &str,
) -> Result<Vec<TableColumns>, SourceError> {
    let sql = format!(
        "SELECT table_schema, table_name, column_name, column_type, character_octet_length \
         FROM information_schema.columns WHERE {condition} \
         ORDER BY table_schema, table_name, ordinal_position"
    );
    let mut tables: Vec<TableColumns> = Vec::new();
    connection
        .each_kept_row(&sql, |row| {
            let [Some(database), Some(table), Some(column), Some(column_type), octets] =
                <[_; 5]>::try_from(row).unwrap_or_default()
            else {
                return;
            };
            let ty = (column_type, octets.and_then(|octets| octets.parse().ok()));
            match tables.last_mut() {
                Some(last) if last.database == database && last.table == table => {
                    last.columns.push(column);
                    last.types.push(ty);
                }
                _ => {
                    let (columns, types) = (vec![column], vec![ty]);
                    tables.push(TableColumns { database, table, columns, types });
                }
            }
        })
        .await?;
    Ok(tables)
}

/// The columns of one table, by the case of its name; None if the account sees none.
pub(crate) async fn table_columns(
    connection: &mut Connection,
    (database, table): &(String, String),
) -> Result<Option<TableColumns>, SourceError> {
    let condition =
        format!("table_schema = {} AND table_name = {}", literal(database), literal(table));
    let tables = columns_where(connection, &condition).await?;
    Ok(tables.into_iter().find(|one| one.database == *database && one.table == *table))
}

/// Text as a literal that no mode of the server reads differently.
fn literal(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("_utf8mb4 x'{hex}'")
}

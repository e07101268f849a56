//! How tables are defined, and for which stretch of the binlog that is true: asked of the server on
//! a connection of its own, for logs whose table maps carry no column names.
//!
//! Input: names of tables ([`LiveHandle::describe`](super::LiveHandle::describe)). Output:
//! [`TableDescription`]s ([`LiveHandle::take_descriptions`](super::LiveHandle::take_descriptions)).
//!
//! # Invariants
//! - Only SELECT and SHOW; no table stays locked: every statement commits by itself.
//! - However often tables are asked for: one round each [`ROUND_EVERY`], [`TABLES_MAX`] tables in
//!   it, and the same table again after growing pauses.
//!
//! # Why the places hold
//! A definition says nothing without the place in the log from which on it is true. A server writes
//! a DDL into the binlog while it holds the table's metadata lock exclusively, and lets go of it
//! only when the definition has changed. So: (1) the end of the log, `before`; (2) a SELECT of no
//! row, which waits for whoever holds that lock: a DDL before `before` is complete now; (3) the
//! definition; (4) the same SELECT: a DDL that (3) may have seen is in the log now; (5) the end of
//! the log, `after`. Hence what (3) tells holds every DDL before `before` and none behind `after`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use phiwatch_binlog::BinlogPosition;

use super::{session, status::Shared};
use crate::{LiveConfig, SourceError, TableColumns, config::Address, preflight, wire::Connection};

/// Time between two rounds.
const ROUND_EVERY: Duration = Duration::from_secs(2);
/// Tables of one round.
const TABLES_MAX: usize = 32;
/// A table that is asked for again waits this long, doubled each time up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// One that was not asked for in this time begins anew.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// How long a question waits for a DDL that is under way, seconds.
const LOCK_WAIT_SECS: u32 = 2;

/// Schema and table.
pub type TableKey = (String, String);

/// What a server says of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDescription {
    /// `server_uuid`; MariaDB: `server_id`: the places are in this server's files.
    pub server: String,
    /// Schema and table.
    pub table: TableKey,
    /// The answer.
    pub found: Found,
}

/// A [`TableDescription`]'s answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The definition. It holds every DDL that stands before `before` in the binlog and none that
    /// stands behind `after`: if there is none on this table between the two, it is the table's
    /// from the last DDL before `before` to the first behind `after`.
    Columns {
        /// Names and types.
        columns: TableColumns,
        /// End of the log before the question.
        before: BinlogPosition,
        /// End of the log after the answer.
        after: BinlogPosition,
    },
    /// There is no such table now.
    Absent,
    /// The account may not ask.
    Hidden {
        /// The statement that mends it.
        fix: String,
        /// It concerns all tables, not this one.
        is_global: bool,
    },
}

/// Which tables are due, and when. Time is an argument.
#[derive(Debug, Default)]
struct Pace {
    wanted: BTreeSet<TableKey>,
    /// When a table was asked for, and how long it then has to wait.
    asked: BTreeMap<TableKey, (Instant, Duration)>,
    round: Option<Instant>,
}

impl Pace {
    /// When the next round may begin; None if nothing is wanted.
    fn due(&self) -> Option<Instant> {
        let first = self.wanted.iter().map(|table| self.due_of(table));
        // None: at once.
        let first = first.min()?;
        let round = self.round.map(|round| round + ROUND_EVERY);
        Some(first.max(round).unwrap_or_else(Instant::now))
    }

    fn due_of(&self, table: &TableKey) -> Option<Instant> {
        self.asked.get(table).map(|(asked, pause)| *asked + *pause)
    }

    /// The tables of a round that begins now.
    fn round(&mut self, now: Instant) -> Vec<TableKey> {
        self.round = Some(now);
        self.asked.retain(|_, (asked, _)| now.saturating_duration_since(*asked) < FORGET_AFTER);
        let is_due = |table: &&TableKey| self.due_of(table).is_none_or(|due| due <= now);
        let tables: Vec<_> = self.wanted.iter().filter(is_due).take(TABLES_MAX).cloned().collect();
        for table in &tables {
            self.wanted.remove(table);
            let pause = self.asked.get(table).map_or(PAUSE_MIN, |(_, pause)| *pause * 2);
            self.asked.insert(table.clone(), (now, pause.min(PAUSE_MAX)));
        }
        tables
    }
}

/// The task that asks.
pub(crate) struct Describer {
    config: LiveConfig,
    shared: Arc<Shared>,
    pace: Pace,
}

impl Describer {
    pub(crate) fn new(config: LiveConfig, shared: Arc<Shared>) -> Self {
        Self { config, shared, pace: Pace::default() }
    }

    pub(crate) async fn run(mut self) {
        loop {
            self.pace.wanted.append(&mut self.shared.take_wanted_tables());
            match self.pace.due() {
                None => self.shared.is_table_wanted.notified().await,
                Some(due) if due > Instant::now() => tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    () = self.shared.is_table_wanted.notified() => {}
                },
                Some(_) => Box::pin(self.round()).await,
            }
        }
    }

    async fn round(&mut self) {
        let tables = self.pace.round(Instant::now());
        // Where the dump comes from: the places must be in its files.
        let Some(address) = self.shared.connected_to() else {
            self.pace.wanted.extend(tables);
            return;
        };
        let mut again = tables.clone();
        match self.ask(&address, &tables).await {
            Ok(answers) => {
                again.retain(|table| !answers.iter().any(|answer| answer.table == *table));
                self.shared.tell_descriptions(answers);
            }
            Err(error) => tracing::debug!(%error, "the definitions of tables were not told"),
        }
        self.pace.wanted.extend(again);
    }

    async fn ask(
        &self,
        address: &Address,
        tables: &[TableKey],
    ) -> Result<Vec<TableDescription>, SourceError> {
        let connection = Connection::open(&self.config.login, address).await?;
        let mut question = Question { connection, account: String::new() };
        let answers = question.answers(tables).await?;
        question.connection.close().await;
        Ok(answers)
    }
}

/// Whether a table's metadata lock was got.
enum Lock {
    Got,
    /// Held by others, or an error that may pass.
    Busy,
    Told(Found),
}

struct Question {
    connection: Connection,
    /// As a GRANT names it.
    account: String,
}

impl Question {
    /// The answers; of a table that is busy there is none.
    async fn answers(&mut self, tables: &[TableKey]) -> Result<Vec<TableDescription>, SourceError> {
        self.connection
            .run(&format!(
                "SET SESSION autocommit = 1, SESSION lock_wait_timeout = {LOCK_WAIT_SECS}"
            ))
            .await?;
        let server = self.server().await?;
        self.account = self.account().await?;
        let answer = |table: &TableKey, found| TableDescription {
            server: server.clone(),
            table: table.clone(),
            found,
        };
        let before = match session::latest(&mut self.connection).await {
            Err(SourceError::Server { code: ACCESS_DENIED, .. }) => {
                let found = self.hidden_log();
                return Ok(tables.iter().map(|table| answer(table, found.clone())).collect());
            }
            other => other?,
        };
        let mut answers = Vec::new();
        let mut free = Vec::new();
        for table in tables {
            match self.lock(table).await? {
                Lock::Got => free.push(table),
                Lock::Busy => {}
                Lock::Told(found) => answers.push(answer(table, found)),
            }
        }
        let mut described = Vec::new();
        for table in free {
            if let Some(columns) = preflight::table_columns(&mut self.connection, table).await? {
                described.push((table, columns));
            }
        }
        let mut told = Vec::new();
        for (table, columns) in described {
            if matches!(self.lock(table).await?, Lock::Got) {
                told.push((table, columns));
            }
        }
        let after = session::latest(&mut self.connection).await?;
        answers.extend(told.into_iter().map(|(table, columns)| {
            let (before, after) = (before.clone(), after.clone());
            answer(table, Found::Columns { columns, before, after })
        }));
        Ok(answers)
    }

    async fn server(&mut self) -> Result<String, SourceError> {
        let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid','server_id')";
        let rows = self.connection.rows(sql).await?;
        let value = |wanted: &str| {
            let row = rows.iter().find(|row| session::text(row, 0).eq_ignore_ascii_case(wanted));
            row.map(|row| session::text(row, 1).to_owned())
        };
        let name = value("server_uuid").or_else(|| value("server_id"));
        name.ok_or_else(|| self.connection.protocol("a server without server_id"))
    }

    async fn account(&mut self) -> Result<String, SourceError> {
        let row = self.connection.row("SELECT CURRENT_USER()").await?;
        let text = session::text(&row, 0);
        let (user, host) = text.rsplit_once('@').unwrap_or((text, "%"));
        let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
        Ok(format!("{}@{}", quoted(user), quoted(host)))
    }

    /// Waits for a DDL that holds the table.
    async fn lock(&mut self, table: &TableKey) -> Result<Lock, SourceError> {
        let name = format!("{}.{}", quoted(&table.0), quoted(&table.1));
        match self.connection.rows(&format!("SELECT 1 FROM {name} LIMIT 0")).await {
            Ok(_) => Ok(Lock::Got),
            Err(SourceError::Server {
                code: DATABASE_DENIED | TABLE_DENIED | COLUMN_DENIED,
                ..
            }) => {
                let fix = format!("GRANT SELECT ON {name} TO {};", self.account);
                Ok(Lock::Told(Found::Hidden { fix, is_global: false }))
            }
            Err(SourceError::Server { code: NO_DATABASE | NO_TABLE, .. }) => {
                Ok(Lock::Told(Found::Absent))
            }
            Err(SourceError::Server { code, message, .. }) => {
                tracing::debug!(code, message, "a table's definition is busy");
                Ok(Lock::Busy)
            }
            Err(error) => Err(error),
        }
    }

    fn hidden_log(&self) -> Found {
        let is_mariadb = self.connection.version().to_ascii_lowercase().contains("mariadb");
        let privilege = if is_mariadb { "BINLOG MONITOR" } else { "REPLICATION CLIENT" };
        let fix = format!("GRANT {privilege} ON *.* TO {};", self.account);
        Found::Hidden { fix, is_global: true }
    }
}

const DATABASE_DENIED: u16 = 1044;
const NO_DATABASE: u16 = 1049;
const TABLE_DENIED: u16 = 1142;
const COLUMN_DENIED: u16 = 1143;
const NO_TABLE: u16 = 1146;
/// A global privilege is missing.
const ACCESS_DENIED: u16 = 1227;

/// A name between backticks.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> TableKey {
        ("shop".to_owned(), format!("t{number:03}"))
    }

    #[test]
    fn the_same_table_is_asked_for_after_growing_pauses() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.due(), None);
        let mut now = start;
        let mut asked = Vec::new();
        // Somebody wants it all the time.
        while now < start + Duration::from_secs(300) {
            pace.wanted.insert(key(1));
            if pace.due().is_some_and(|due| due <= now) && !pace.round(now).is_empty() {
                asked.push((now - start).as_secs());
            }
            now += Duration::from_millis(100);
        }
        assert_eq!(asked[1..], [2, 6, 14, 30, 62, 122, 182, 242]);
        // Left in peace for long, it may be asked for at once.
        let later = now + FORGET_AFTER;
        assert_eq!(pace.round(later), [key(1)]);
        pace.wanted.insert(key(1));
        assert_eq!(pace.due(), Some(later + PAUSE_MIN));
    }

    #[test]
    fn many_tables_take_many_rounds() {
        let now = Instant::now();
        let mut pace = Pace { wanted: (0..100).map(key).collect(), ..Pace::default() };
        assert_eq!(pace.round(now).len(), TABLES_MAX);
        assert_eq!(pace.due(), Some(now + ROUND_EVERY));
        assert_eq!(pace.round(now + ROUND_EVERY).first(), Some(&key(TABLES_MAX)));
        assert_eq!(pace.wanted.len(), 100 - 2 * TABLES_MAX);
    }
}

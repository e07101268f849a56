//! The store: SQLite (WAL) with alerts, their delivery, checkpoints and coverage gaps.
//!
//! # Invariants
//! - A checkpoint and the alerts up to it are written in one transaction, so a checkpoint never
//!   passes an alert that the store does not hold.
//! - `(uid, revision)` is unique: an alert that a replay produces again is not added.
//! - Gaps, closed intervals of the ledger, the audit log and snoozes are append-only: triggers refuse
//!   anything else.
//! - An older store is brought up in one transaction, a newer one is refused.

pub(crate) mod coverage;
pub(crate) mod decisions;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use phiwatch_sink::Outgoing;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::ledger::Written;
use decisions::Audit;

/// How long a write waits for another process.
const BUSY: Duration = Duration::from_secs(10);

/// From each version of the tables to the next; each sets the version that it makes.
const STEPS: [&str; 3] = [
    include_str!("store.sql"),
    include_str!("store/version-2.sql"),
    include_str!("store/version-3.sql"),
];
const SCHEMA_VERSION: i64 = STEPS.len().cast_signed() as i64;

/// The store cannot be used, or a write failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("cannot use the state directory {dir}")]
    Directory {
        dir: String,
        #[source]
        cause: io::Error,
    },
    #[error("the state directory {dir} is in use by another phiwatch")]
    InUse { dir: String },
    #[error("the store was written by a newer phiwatch (format {found}, this one knows {known})")]
    Newer { found: i64, known: i64 },
    #[error(
        "the store was written by an older phiwatch (format {found}, this one reads {known})\n\
         hint: the next `phiwatch run` or `phiwatch replay --state` brings it up"
    )]
    Older { found: i64, known: i64 },
    #[error("there is no store in {dir}\nhint: --state DIR or --config FILE names the directory")]
    Absent { dir: String },
    #[error("the store holds a {what} that cannot be read")]
    Content { what: &'static str },
    #[error("the store failed")]
    Sqlite(#[from] rusqlite::Error),
}

impl StoreError {
    /// Whether waiting may help: disk full, busy, IO error.
    pub(crate) fn is_transient(&self) -> bool {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure,
        };
        matches!(
            self,
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _))
                if matches!(
                    error.code,
                    DiskFull | DatabaseBusy | DatabaseLocked | SystemIoFailure | CannotOpen
                )
        )
    }
}

/// A resumable point: state of the engine and the classifier, and where the stream goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Executed GTIDs as text; empty if the log has none.
    pub gtids: String,
    /// `mysql`, `mariadb` or empty: which kind of set `gtids` is.
    pub flavor: String,
    /// File and offset after the last transaction.
    pub file: String,
    pub offset: u64,
    /// Identity of the server it was read from (uuid, or empty for files).
    pub server: String,
    pub classifier: Vec<u8>,
    pub engine: Vec<u8>,
    /// What was examined up to here; of a stored one the closed intervals are left out.
    pub ledger: Written,
    /// How many resets of the source an operator has accepted. Counted from their gap records, not
    /// written with a checkpoint.
    pub resets: u32,
}

impl Checkpoint {
    /// It says where to go on; after a reset that was accepted it does not.
    pub(crate) fn has_place(&self) -> bool {
        !(self.file.is_empty() && self.flavor.is_empty())
    }
}

/// Cause of the gap that a reset leaves.
pub(crate) const RESET: &str = "reset";

/// A coverage gap, for the append-only record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GapRecord {
    /// Which server was read; for files: their writer's id.
    pub server: String,
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
    /// A transaction, a set of them, or names of files.
    pub gtid: String,
    /// `database.table`, if known.
    pub table: String,
    pub cause: String,
    pub detail: String,
    /// Event time when it was met: commit time of the transaction before, µs since 1970; 0 if
    /// there was none.
    pub time_us: i64,
    /// Says something of a whole file and table: a second one is not added.
    pub once_per_file: bool,
}

/// What one step of the pipeline wants to be durable.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub alerts: Vec<Outgoing>,
    pub severities: Vec<u8>,
    pub gaps: Vec<GapRecord>,
    pub checkpoint: Option<Checkpoint>,
    pub audits: Vec<Audit>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.alerts.is_empty()
            && self.gaps.is_empty()
            && self.checkpoint.is_none()
            && self.audits.is_empty()
    }
}

/// One connection to the store.
#[derive(Debug)]
pub(crate) struct Store {
    db: Connection,
}

/// Holds the state directory against a second process; released when dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock(#[expect(dead_code, reason = "held, not read")] File);

/// Makes the directory if absent and takes it.
pub(crate) fn lock_directory(dir: &Path) -> Result<DirectoryLock, StoreError> {
    let fail = |cause| StoreError::Directory { dir: dir.display().to_string(), cause };
    fs::create_dir_all(dir).map_err(fail)?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(fail)?;
    match lock.try_lock() {
        Ok(()) => Ok(DirectoryLock(lock)),
        Err(fs::TryLockError::WouldBlock) => {
            Err(StoreError::InUse { dir: dir.display().to_string() })
        }
        Err(fs::TryLockError::Error(cause)) => Err(fail(cause)),
    }
}

/// The database file in a state directory.
pub(crate) fn database(dir: &Path) -> PathBuf {
    dir.join("phiwatch.sqlite")
}

impl Store {
    /// Opens or makes the store in a directory.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::prepare(Connection::open(database(dir))?)
    }

    /// A store in memory.
    #[cfg(test)]
    fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(mut db: Connection) -> Result<Self, StoreError> {
        db.busy_timeout(BUSY)?;
        // FULL: an alert that was said to be stored survives a power cut. Recursive: what a
        // REPLACE removes fires its triggers, too.
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA recursive_triggers = ON;",
        )?;
        if version(&db)? != SCHEMA_VERSION {
            // Others may open it at the same time: the first one brings it up.
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found = version(&transaction)?;
            let Some(steps) = usize::try_from(found).ok().and_then(|found| STEPS.get(found..))
            else {
                return Err(StoreError::Newer { found, known: SCHEMA_VERSION });
            };
            for step in steps {
                transaction.execute_batch(step)?;
            }
            transaction.commit()?;
        }
        Ok(Self { db })
    }

    /// Writes a batch in one transaction. Returns how many alerts were new.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<usize, StoreError> {
        let transaction = self.db.transaction()?;
        let mut added = 0;
        for (alert, severity) in batch.alerts.iter().zip(&batch.severities) {
            added += transaction
                .prepare_cached(
                    "INSERT INTO alert (uid, revision, activity, rule, tenant, severity, time_ms, value, \
                     stored_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, \
                     CAST(unixepoch('subsec') * 1000 AS INTEGER)) ON CONFLICT (uid, revision) DO NOTHING",
                )?
                .execute(params![
                    alert.uid,
                    alert.revision,
                    alert.activity,
                    alert.rule,
                    alert.tenant,
                    severity,
                    alert.time_ms,
                    alert.value
                ])?;
        }
        for gap in &batch.gaps {
            coverage::add_gap(&transaction, gap)?;
        }
        if let Some(checkpoint) = &batch.checkpoint {
            write_checkpoint(&transaction, checkpoint)?;
            coverage::write(&transaction, &checkpoint.ledger)?;
        }
        for audit in &batch.audits {
            decisions::add_audit(&transaction, audit)?;
        }
        transaction.commit()?;
        Ok(added)
    }

    /// The last checkpoint.
    pub(crate) fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let open = coverage::open_interval(&self.db)?;
        let starts = coverage::starts(&self.db)?;
        let resets = coverage::gaps_of(&self.db, RESET)?;
        let row = self.db.query_row(
            "SELECT gtids, flavor, file, pos, server, classifier, engine FROM checkpoint",
            [],
            |row| {
                Ok(Checkpoint {
                    gtids: row.get(0)?,
                    flavor: row.get(1)?,
                    file: row.get(2)?,
                    offset: row.get::<_, i64>(3)?.cast_unsigned(),
                    server: row.get(4)?,
                    classifier: row.get(5)?,
                    engine: row.get(6)?,
                    ledger: Written { closed: Vec::new(), open, starts },
                    resets,
                })
            },
        );
        Ok(row.optional()?)
    }

    /// The next alerts that a sink has not taken, in order.
    pub(crate) fn undelivered(
        &self,
        sink: &str,
        limit: usize,
    ) -> Result<Vec<Outgoing>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT seq, uid, revision, activity, tenant, rule, time_ms, value FROM alert \
             WHERE seq > coalesce((SELECT delivered FROM sink WHERE name = ?1), 0) \
             AND NOT EXISTS (SELECT 1 FROM done WHERE done.sink = ?1 AND done.seq = alert.seq) \
             ORDER BY seq LIMIT ?2",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![sink, limit], outgoing)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes, before sending, up to which alert a sink may have taken something; after a crash
    /// those are looked up instead of being sent twice.
    pub(crate) fn mark_in_flight(&self, sink: &str, up_to: i64) -> Result<(), StoreError> {
        self.db.execute(
            "INSERT INTO sink (name, delivered, in_flight) VALUES (?1, 0, ?2) \
             ON CONFLICT (name) DO UPDATE SET in_flight = max(in_flight, ?2)",
            params![sink, up_to],
        )?;
        Ok(())
    }

    /// The alerts that were in flight when the process ended.
    pub(crate) fn in_flight(&self, sink: &str) -> Result<Vec<(i64, String, u32)>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT alert.seq, uid, revision FROM alert, sink WHERE sink.name = ?1 \
             AND alert.seq > sink.delivered AND alert.seq <= sink.in_flight ORDER BY alert.seq",
        )?;
        let rows = statement
            .query_map(params![sink], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Marks alerts as taken by a sink (durably), and moves its low-water mark.
    pub(crate) fn mark_delivered(&mut self, sink: &str, seqs: &[i64]) -> Result<(), StoreError> {
        let transaction = self.db.transaction()?;
        for seq in seqs {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO done (sink, seq) VALUES (?, ?)")?
                .execute(params![sink, seq])?;
        }
        // The mark moves up to just before the first alert that is not done.
        transaction.execute(
            "INSERT INTO sink (name, delivered, in_flight) VALUES (?1, 0, 0) ON CONFLICT DO NOTHING",
            params![sink],
        )?;
        transaction.execute(
            "UPDATE sink SET delivered = coalesce( \
               (SELECT min(seq) - 1 FROM alert WHERE seq > delivered \
                AND NOT EXISTS (SELECT 1 FROM done WHERE done.sink = ?1 AND done.seq = alert.seq)), \
               (SELECT max(seq) FROM alert), 0) WHERE name = ?1",
            params![sink],
        )?;
        transaction.execute(
            "DELETE FROM done WHERE sink = ?1 AND seq <= (SELECT delivered FROM sink WHERE name = ?1)",
            params![sink],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Puts an alert aside that a sink will never take (too large), with the reason.
    pub(crate) fn dead_letter(
        &mut self,
        sink: &str,
        seq: i64,
        reason: &str,
    ) -> Result<(), StoreError> {
        self.db.execute(
            "INSERT OR IGNORE INTO dead_letter (sink, seq, reason) VALUES (?, ?, ?)",
            params![sink, seq, reason],
        )?;
        self.mark_delivered(sink, &[seq])
    }

    /// How many alerts wait for a sink, and when the oldest of them was stored (ms since 1970, 0 if
    /// none waits).
    pub(crate) fn waiting(&self, sink: &str) -> Result<(u64, i64), StoreError> {
        let (count, oldest_ms): (i64, i64) = self.db.query_row(
            "SELECT count(*), coalesce(min(iif(stored_ms = 0, time_ms, stored_ms)), 0) FROM alert WHERE seq > coalesce((SELECT delivered FROM sink WHERE name = ?1), 0) \
             AND NOT EXISTS (SELECT 1 FROM done WHERE done.sink = ?1 AND done.seq = alert.seq)",
            params![sink],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok((count.cast_unsigned(), oldest_ms))
    }

    /// How many gaps are on record.
    pub(crate) fn gaps(&self) -> Result<u64, StoreError> {
        let count: i64 = self.db.query_row("SELECT count(*) FROM gap", [], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// The latest state of each finding, newest first.
    pub(crate) fn findings(&self, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT value FROM alert a WHERE revision = (SELECT max(revision) FROM alert b WHERE b.uid = a.uid) \
             ORDER BY time_ms DESC, seq DESC LIMIT ?",
        )?;
        let rows = statement.query_map(params![limit], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The latest state of one finding.
    pub(crate) fn finding(&self, uid: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self
            .db
            .query_row(
                "SELECT value FROM alert WHERE uid = ? ORDER BY revision DESC LIMIT 1",
                params![uid],
                |row| row.get(0),
            )
            .optional()?;
        Ok(value)
    }
}

fn outgoing(row: &Row<'_>) -> Result<Outgoing, rusqlite::Error> {
    Ok(Outgoing {
        seq: row.get(0)?,
        uid: row.get(1)?,
        revision: row.get(2)?,
        activity: row.get(3)?,
        tenant: row.get(4)?,
        rule: row.get(5)?,
        time_ms: row.get(6)?,
        value: row.get(7)?,
    })
}

fn version(db: &Connection) -> Result<i64, rusqlite::Error> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn write_checkpoint(db: &Connection, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO checkpoint (id, gtids, flavor, file, pos, server, classifier, engine) \
         VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        checkpoint.gtids,
        checkpoint.flavor,
        checkpoint.file,
        checkpoint.offset.cast_signed(),
        checkpoint.server,
        checkpoint.classifier,
        checkpoint.engine
    ])?;
    Ok(())
}

/// An alert for tests: open, of bulk-change.
#[cfg(test)]
pub(crate) fn sample(uid: &str, revision: u32) -> Outgoing {
    Outgoing {
        seq: 0,
        uid: uid.into(),
        revision,
        activity: 1,
        tenant: "website-1".into(),
        rule: "bulk-change".into(),
        time_ms: 1,
        value: format!("{uid}{revision}").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(alerts: Vec<Outgoing>) -> Batch {
        Batch { severities: vec![3; alerts.len()], alerts, ..Batch::default() }
    }

    #[test]
    fn an_alert_that_is_produced_again_is_not_added() {
        let mut store = Store::in_memory().unwrap();
        assert_eq!(store.commit(&batch(vec![sample("a", 0), sample("a", 1)])).unwrap(), 2);
        assert_eq!(store.commit(&batch(vec![sample("a", 1), sample("b", 0)])).unwrap(), 1);
        assert_eq!(store.undelivered("k", 10).unwrap().len(), 3);
    }

    #[test]
    fn delivery_out_of_order_loses_and_doubles_nothing() {
        let mut store = Store::in_memory().unwrap();
        store.commit(&batch((0..4).map(|n| sample("a", n)).collect())).unwrap();
        store.mark_in_flight("k", 4).unwrap();
        store.mark_delivered("k", &[1, 3]).unwrap();
        let left: Vec<i64> = store.undelivered("k", 10).unwrap().iter().map(|a| a.seq).collect();
        assert_eq!(left, [2, 4]);
        assert_eq!(store.waiting("k").unwrap().0, 2);
        assert_eq!(store.in_flight("k").unwrap().len(), 3);
        store.dead_letter("k", 2, "too large").unwrap();
        store.mark_delivered("k", &[4]).unwrap();
        assert!(store.undelivered("k", 10).unwrap().is_empty());
        assert!(store.in_flight("k").unwrap().is_empty());
        assert_eq!(store.waiting("k").unwrap(), (0, 0));
        let (count, oldest_ms) = store.waiting("other").unwrap();
        assert!(count == 4 && oldest_ms > 0, "{count} since {oldest_ms}");
    }

    #[test]
    fn a_checkpoint_survives_reopening_and_the_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let lock = lock_directory(dir.path()).unwrap();
        assert!(matches!(lock_directory(dir.path()), Err(StoreError::InUse { .. })));
        drop(lock);
        lock_directory(dir.path()).unwrap();
        let checkpoint = Checkpoint {
            gtids: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".into(),
            flavor: "mysql".into(),
            file: "binlog.000001".into(),
            offset: u64::MAX / 3,
            server: String::new(),
            classifier: vec![1],
            engine: vec![2],
            ledger: Written::default(),
            resets: 0,
        };
        let mut store = Store::open(dir.path()).unwrap();
        let batch = Batch { checkpoint: Some(checkpoint.clone()), ..Batch::default() };
        store.commit(&batch).unwrap();
        drop(store);
        assert_eq!(Store::open(dir.path()).unwrap().checkpoint().unwrap(), Some(checkpoint));
    }

    #[test]
    fn a_newer_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let db = Connection::open(database(dir.path())).unwrap();
        db.execute_batch("PRAGMA user_version = 99").unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Newer { found: 99, .. })));
    }

    fn gap(offset: u64) -> GapRecord {
        GapRecord {
            server: "1".into(),
            file: "binlog.000001".into(),
            offset,
            bytes: 9,
            gtid: String::new(),
            table: "shop.customer_entity".into(),
            cause: "unsupported".into(),
            detail: "columns without names".into(),
            time_us: 5,
            once_per_file: false,
        }
    }

    #[test]
    fn an_older_store_is_brought_up_with_all_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(database(dir.path())).unwrap();
        db.execute_batch(STEPS[0]).unwrap();
        db.execute_batch(
            "INSERT INTO alert (uid, revision, activity, rule, tenant, severity, time_ms, value) \
               VALUES ('a', 0, 1, 'bulk-change', 'website-1', 3, 1, x'7b7d'); \
             INSERT INTO checkpoint VALUES (1, '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5', 'mysql', \
               'binlog.000001', 700, 'uuid', x'01', x'02'); \
             INSERT INTO gap (file, pos, bytes, gtid, cause, detail) \
               VALUES ('binlog.000001', 4, 9, '', 'checksum', 'why'), ('f', 4, 0, 'x', 'purged', '');",
        )
        .unwrap();
        assert!(matches!(coverage::read(dir.path()), Err(StoreError::Older { found: 1, .. })));
        let mut store = Store::open(dir.path()).unwrap();
        assert_eq!(store.undelivered("k", 9).unwrap().len(), 1);
        let checkpoint = store.checkpoint().unwrap().unwrap();
        assert_eq!((checkpoint.offset, &checkpoint.ledger.open), (700, &None));
        assert_eq!(checkpoint.ledger.before(), None, "how far back is not known");
        let found = coverage::read(dir.path()).unwrap();
        let causes: Vec<&str> = found.gaps.iter().map(|gap| gap.cause.as_str()).collect();
        assert_eq!(causes, ["checksum", "purged"]);
        assert_eq!(found.starts[0].reason, "ledger begins");
        assert_eq!(found.starts[0].gtids, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5");
        let batch = Batch { gaps: vec![gap(4)], ..Batch::default() };
        store.commit(&batch).unwrap();
        assert_eq!(store.gaps().unwrap(), 3);
    }

    #[test]
    fn a_failed_step_leaves_the_old_store() {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(database(dir.path())).unwrap();
        db.execute_batch(STEPS[0]).unwrap();
        // In the way of the last statement but one of the step.
        db.execute_batch("ALTER TABLE alert ADD COLUMN stored_ms INTEGER").unwrap();
        assert!(Store::open(dir.path()).is_err());
        assert_eq!(version(&db).unwrap(), 1);
        let tables: i64 = db
            .query_row(
                "SELECT count(*) FROM sqlite_master WHERE name LIKE 'coverage%'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(tables, 0);
    }

    #[test]
    fn field_10_what_is_on_record_cannot_be_changed_or_dropped() {
        let mut store = Store::in_memory().unwrap();
        store.commit(&Batch { gaps: vec![gap(4), gap(4), gap(5)], ..Batch::default() }).unwrap();
        assert_eq!(store.gaps().unwrap(), 2, "the same one again is not added");
        let again = GapRecord { once_per_file: true, ..gap(6) };
        let other = GapRecord { table: "shop.sales_order".into(), ..again.clone() };
        store.commit(&Batch { gaps: vec![again, other], ..Batch::default() }).unwrap();
        assert_eq!(store.gaps().unwrap(), 3, "once per file and table");
        let at = phiwatch_binlog::BinlogPosition { file: "f".into(), offset: 4 };
        let start = crate::ledger::Start {
            server: String::new(),
            at,
            gtids: String::new(),
            reason: "first start".into(),
        };
        coverage::write(&store.db, &Written { starts: vec![start], ..Written::default() }).unwrap();
        store.db.execute_batch("INSERT INTO coverage SELECT 1, '', '', '', 0, '', 0, '', '', 0, 0, 0, 0, 0, 0, 0, 0, 0").unwrap();
        for table in ["gap", "coverage", "coverage_start"] {
            for change in [
                format!("DELETE FROM {table}"),
                format!("UPDATE {table} SET server = 'x'"),
                format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table}"),
            ] {
                let refused = store.db.execute_batch(&change).unwrap_err().to_string();
                assert!(refused.contains("append-only"), "{change}: {refused}");
            }
        }
        assert_eq!(store.gaps().unwrap(), 3);
    }
}

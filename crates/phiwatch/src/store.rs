//! The store: SQLite (WAL) with alerts, their delivery, checkpoints and coverage gaps.
//!
//! # Invariants
//! - A checkpoint and the alerts up to it are written in one transaction, so a checkpoint never
//!   passes an alert that the store does not hold.
//! - `(uid, revision)` is unique: an alert that a replay produces again is not added.
//! - Gaps are append-only.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use phiwatch_sink::Outgoing;
use rusqlite::{Connection, OptionalExtension, params};

/// Version of the tables; an older one is brought up, a newer one refused.
const SCHEMA_VERSION: i64 = 1;

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
}

/// A coverage gap, for the append-only record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GapRecord {
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
    pub gtid: String,
    pub cause: String,
    pub detail: String,
}

/// What one step of the pipeline wants to be durable.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub alerts: Vec<Outgoing>,
    pub severities: Vec<u8>,
    pub gaps: Vec<GapRecord>,
    pub checkpoint: Option<Checkpoint>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.gaps.is_empty() && self.checkpoint.is_none()
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

    fn prepare(db: Connection) -> Result<Self, StoreError> {
        db.busy_timeout(Duration::from_secs(10))?;
        // FULL: an alert that was said to be stored survives a power cut.
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > SCHEMA_VERSION {
            return Err(StoreError::Newer { found, known: SCHEMA_VERSION });
        }
        if found == 0 {
            db.execute_batch(include_str!("store.sql"))?;
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
                    "INSERT INTO alert (uid, revision, activity, rule, tenant, severity, time_ms, value) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uid, revision) DO NOTHING",
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
            transaction
                .prepare_cached(
                    "INSERT INTO gap (file, pos, bytes, gtid, cause, detail) VALUES (?, ?, ?, ?, ?, ?) \
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    gap.file,
                    gap.offset.cast_signed(),
                    gap.bytes.cast_signed(),
                    gap.gtid,
                    gap.cause,
                    gap.detail
                ])?;
        }
        if let Some(checkpoint) = &batch.checkpoint {
            write_checkpoint(&transaction, checkpoint)?;
        }
        transaction.commit()?;
        Ok(added)
    }

    /// The last checkpoint.
    pub(crate) fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let row = self
            .db
            .query_row(
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
                    })
                },
            )
            .optional()?;
        Ok(row)
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
        let rows = statement.query_map(params![sink, limit], |row| {
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
        })?;
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

    /// How many alerts wait for a sink.
    pub(crate) fn waiting(&self, sink: &str) -> Result<u64, StoreError> {
        let count: i64 = self.db.query_row(
            "SELECT count(*) FROM alert WHERE seq > coalesce((SELECT delivered FROM sink WHERE name = ?1), 0) \
             AND NOT EXISTS (SELECT 1 FROM done WHERE done.sink = ?1 AND done.seq = alert.seq)",
            params![sink],
            |row| row.get(0),
        )?;
        Ok(count.cast_unsigned())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(uid: &str, revision: u32) -> Outgoing {
        Outgoing {
            seq: 0,
            uid: uid.into(),
            revision,
            activity: 1,
            tenant: "website-1".into(),
            rule: "bulk-change".into(),
            time_ms: 1,
            value: b"{}".to_vec(),
        }
    }

    fn batch(alerts: Vec<Outgoing>) -> Batch {
        Batch { severities: vec![3; alerts.len()], alerts, ..Batch::default() }
    }

    #[test]
    fn an_alert_that_is_produced_again_is_not_added() {
        let mut store = Store::in_memory().unwrap();
        assert_eq!(store.commit(&batch(vec![alert("a", 0), alert("a", 1)])).unwrap(), 2);
        assert_eq!(store.commit(&batch(vec![alert("a", 1), alert("b", 0)])).unwrap(), 1);
        assert_eq!(store.undelivered("k", 10).unwrap().len(), 3);
    }

    #[test]
    fn delivery_out_of_order_loses_and_doubles_nothing() {
        let mut store = Store::in_memory().unwrap();
        store.commit(&batch((0..4).map(|n| alert("a", n)).collect())).unwrap();
        store.mark_in_flight("k", 4).unwrap();
        store.mark_delivered("k", &[1, 3]).unwrap();
        let left: Vec<i64> = store.undelivered("k", 10).unwrap().iter().map(|a| a.seq).collect();
        assert_eq!(left, [2, 4]);
        assert_eq!(store.waiting("k").unwrap(), 2);
        assert_eq!(store.in_flight("k").unwrap().len(), 3);
        store.dead_letter("k", 2, "too large").unwrap();
        store.mark_delivered("k", &[4]).unwrap();
        assert!(store.undelivered("k", 10).unwrap().is_empty());
        assert!(store.in_flight("k").unwrap().is_empty());
        assert_eq!(store.waiting("other").unwrap(), 4);
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
}

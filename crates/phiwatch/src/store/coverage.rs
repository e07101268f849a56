//! Coverage in the store: intervals, starts, gaps.

use std::{path::Path, sync::Arc};

use phiwatch_binlog::BinlogPosition;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, named_params, params};

use super::{GapRecord, SCHEMA_VERSION, StoreError, database, version};
use crate::ledger::{Counts, Interval, Start, Written};

const COLUMNS: &str = "server, version, from_file, from_pos, to_file, to_pos, gtids, heads, from_us, \
     to_us, transactions, creates, updates, deletes, statements, bytes, unwatched_bytes";

/// The version whose tables these are; later ones left them alone.
const SINCE: i64 = 2;

/// All that the store says about coverage.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// In the order of reading; the last one may still grow.
    pub intervals: Vec<Interval>,
    pub starts: Vec<Start>,
    pub gaps: Vec<GapRecord>,
}

/// Reads what is on record, beside a running phiwatch or without one.
pub(crate) fn read(dir: &Path) -> Result<Recorded, StoreError> {
    let file = database(dir);
    if !file.is_file() {
        return Err(StoreError::Absent { dir: dir.display().to_string() });
    }
    let mut db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(super::BUSY)?;
    // One transaction: a checkpoint meanwhile must not move an interval between two looks.
    let db = db.transaction()?;
    let (found, known) = (version(&db)?, SCHEMA_VERSION);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    if found < SINCE {
        return Err(StoreError::Older { found, known });
    }
    let mut intervals = Vec::new();
    let all = format!("SELECT {COLUMNS} FROM coverage ORDER BY id");
    for row in db.prepare(&all)?.query_map([], |row| Ok(interval(row)))? {
        intervals.push(row??);
    }
    intervals.extend(open_interval(&db)?);
    Ok(Recorded { intervals, starts: starts(&db)?, gaps: gaps(&db)? })
}

pub(super) fn starts(db: &Connection) -> Result<Vec<Start>, StoreError> {
    let mut statement =
        db.prepare("SELECT server, file, pos, gtids, reason FROM coverage_start ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        Ok(Start {
            server: row.get(0)?,
            at: position(row, 1)?,
            gtids: row.get(3)?,
            reason: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn gaps(db: &Connection) -> Result<Vec<GapRecord>, StoreError> {
    let mut statement = db.prepare(
        "SELECT server, file, pos, bytes, gtid, tbl, cause, detail, time_us FROM gap ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(GapRecord {
            server: row.get(0)?,
            file: row.get(1)?,
            offset: row.get::<_, i64>(2)?.cast_unsigned(),
            bytes: row.get::<_, i64>(3)?.cast_unsigned(),
            gtid: row.get(4)?,
            table: row.get(5)?,
            cause: row.get(6)?,
            detail: row.get(7)?,
            time_us: row.get(8)?,
            once_per_file: false,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many gaps have this cause.
pub(super) fn gaps_of(db: &Connection, cause: &str) -> Result<u32, StoreError> {
    let sql = "SELECT count(*) FROM gap WHERE cause = ?";
    Ok(db.query_row(sql, [cause], |row| row.get(0))?)
}

/// Adds a gap; the same one again, as after a crash, is not added.
pub(super) fn add_gap(db: &Connection, gap: &GapRecord) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO gap (server, file, pos, bytes, gtid, tbl, cause, detail, time_us) \
         SELECT :server, :file, :pos, :bytes, :gtid, :tbl, :cause, :detail, :time_us \
         WHERE NOT (:once AND EXISTS (SELECT 1 FROM gap WHERE server = :server AND file = :file \
           AND tbl = :tbl AND cause = :cause AND detail = :detail)) \
         ON CONFLICT DO NOTHING",
    )?
    .execute(named_params! {
        ":server": gap.server,
        ":file": gap.file,
        ":pos": gap.offset.cast_signed(),
        ":bytes": gap.bytes.cast_signed(),
        ":gtid": gap.gtid,
        ":tbl": gap.table,
        ":cause": gap.cause,
        ":detail": gap.detail,
        ":time_us": gap.time_us,
        ":once": gap.once_per_file,
    })?;
    Ok(())
}

/// Appends what is final, and replaces the open interval.
pub(super) fn write(db: &Connection, ledger: &Written) -> Result<(), StoreError> {
    for start in &ledger.starts {
        db.prepare_cached(
            "INSERT INTO coverage_start (server, file, pos, gtids, reason) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            start.server,
            &*start.at.file,
            start.at.offset.cast_signed(),
            start.gtids,
            start.reason
        ])?;
    }
    for interval in &ledger.closed {
        insert(db, "coverage", interval)?;
    }
    db.prepare_cached("DELETE FROM coverage_open")?.execute([])?;
    if let Some(open) = &ledger.open {
        insert(db, "coverage_open", open)?;
    }
    Ok(())
}

fn insert(db: &Connection, table: &str, interval: &Interval) -> Result<(), StoreError> {
    let counts = &interval.counts;
    db.prepare_cached(&format!(
        "INSERT INTO {table} ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ))?
    .execute(params![
        interval.server,
        interval.version,
        &*interval.from.file,
        interval.from.offset.cast_signed(),
        &*interval.to.file,
        interval.to.offset.cast_signed(),
        interval.gtids.to_string(),
        interval.heads.to_string(),
        interval.from_us,
        interval.to_us,
        counts.transactions.cast_signed(),
        counts.creates.cast_signed(),
        counts.updates.cast_signed(),
        counts.deletes.cast_signed(),
        counts.statements.cast_signed(),
        counts.bytes.cast_signed(),
        counts.unwatched_bytes.cast_signed()
    ])?;
    Ok(())
}

pub(super) fn open_interval(db: &Connection) -> Result<Option<Interval>, StoreError> {
    let row =
        db.query_row(&format!("SELECT {COLUMNS} FROM coverage_open"), [], |row| Ok(interval(row)));
    row.optional()?.transpose()
}

fn interval(row: &Row<'_>) -> Result<Interval, StoreError> {
    let set = |index: usize| -> Result<String, StoreError> { Ok(row.get(index)?) };
    let count =
        |index: usize| -> Result<u64, StoreError> { Ok(row.get::<_, i64>(index)?.cast_unsigned()) };
    let refused = |_| StoreError::Content { what: "GTID set" };
    Ok(Interval {
        server: row.get(0)?,
        version: row.get(1)?,
        from: position(row, 2)?,
        to: position(row, 4)?,
        gtids: set(6)?.parse().map_err(refused)?,
        heads: set(7)?.parse().map_err(refused)?,
        from_us: row.get(8)?,
        to_us: row.get(9)?,
        counts: Counts {
            transactions: count(10)?,
            creates: count(11)?,
            updates: count(12)?,
            deletes: count(13)?,
            statements: count(14)?,
            bytes: count(15)?,
            unwatched_bytes: count(16)?,
        },
    })
}

/// File and offset in two columns from `index` on.
fn position(row: &Row<'_>, index: usize) -> Result<BinlogPosition, rusqlite::Error> {
    let file: Arc<str> = row.get::<_, String>(index)?.into();
    Ok(BinlogPosition { file, offset: row.get::<_, i64>(index + 1)?.cast_unsigned() })
}

//! What people decided, in the store: the audit log, and snoozes with what they hold back.
//!
//! The engine reads nothing of it: a replay says the same whatever is snoozed.

use std::time::Duration;

use phiwatch_sink::Outgoing;
use rusqlite::{Connection, Row, TransactionBehavior, params};
use serde::Serialize;

use super::{BUSY, Path, Store, StoreError, database, outgoing};

/// An alert `a` that a snooze holds back at `?2`.
const SNOOZED: &str = "EXISTS (SELECT 1 FROM snooze s WHERE (s.uid = a.uid OR s.rule = a.rule) \
     AND s.from_ms <= ?2 AND ?2 < s.until_ms AND a.severity <= s.severity_max)";

/// A row of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Audit {
    /// Wall clock, ms since 1970.
    pub time_ms: i64,
    pub who: String,
    pub action: String,
    pub detail: String,
    pub reason: String,
    pub uid: String,
    pub rule: String,
    pub tenant: String,
}

/// A finding or a rule whose alerts are held back from the sinks for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Snooze {
    pub from_ms: i64,
    pub until_ms: i64,
    pub who: String,
    pub reason: String,
    /// A finding; else empty.
    pub uid: String,
    /// All of a rule; else empty.
    pub rule: String,
    pub severity_max: u8,
}

impl Store {
    /// Opens a store that is there, also one that a running phiwatch uses.
    pub(crate) fn open_existing(dir: &Path) -> Result<Self, StoreError> {
        if !database(dir).is_file() {
            return Err(StoreError::Absent { dir: dir.display().to_string() });
        }
        Self::open(dir)
    }

    /// Appends to the audit log.
    pub(crate) fn audit(&self, row: &Audit) -> Result<(), StoreError> {
        add_audit(&self.db, row)
    }

    /// Appends to the audit log without waiting for another process; false if it could not now.
    pub(crate) fn audit_at_once(&self, row: &Audit) -> Result<bool, StoreError> {
        self.db.busy_timeout(Duration::ZERO)?;
        let added = add_audit(&self.db, row);
        self.db.busy_timeout(BUSY)?;
        match added {
            Ok(()) => Ok(true),
            Err(error) if error.is_transient() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The audit log, oldest first.
    pub(crate) fn audits(&self) -> Result<Vec<Audit>, StoreError> {
        let mut statement = self.db.prepare(
            "SELECT time_ms, who, action, detail, reason, uid, rule, tenant FROM audit ORDER BY id",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(Audit {
                time_ms: row.get(0)?,
                who: row.get(1)?,
                action: row.get(2)?,
                detail: row.get(3)?,
                reason: row.get(4)?,
                uid: row.get(5)?,
                rule: row.get(6)?,
                tenant: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every state of a finding, oldest first.
    pub(crate) fn states(&self, uid: &str) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut statement =
            self.db.prepare("SELECT value FROM alert WHERE uid = ? ORDER BY revision")?;
        let rows = statement.query_map(params![uid], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The highest severity among the findings of a rule that are open.
    pub(crate) fn open_severity(&self, rule: &str) -> Result<Option<u8>, StoreError> {
        Ok(self.db.query_row(
            "SELECT max(severity) FROM alert a WHERE rule = ? AND activity <> 3 AND revision = \
             (SELECT max(revision) FROM alert b WHERE b.uid = a.uid)",
            params![rule],
            |row| row.get(0),
        )?)
    }

    /// Begins a snooze, with its row in the audit log.
    pub(crate) fn snooze(&mut self, snooze: &Snooze, audit: &Audit) -> Result<(), StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO snooze (from_ms, until_ms, who, reason, uid, rule, severity_max) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                snooze.from_ms,
                snooze.until_ms,
                snooze.who,
                snooze.reason,
                snooze.uid,
                snooze.rule,
                snooze.severity_max
            ],
        )?;
        add_audit(&transaction, audit)?;
        transaction.commit()?;
        Ok(())
    }

    /// All snoozes, oldest first.
    pub(crate) fn snoozes(&self) -> Result<Vec<Snooze>, StoreError> {
        let mut statement = self.db.prepare(
            "SELECT from_ms, until_ms, who, reason, uid, rule, severity_max FROM snooze ORDER BY id",
        )?;
        let snooze = |row: &Row<'_>| {
            Ok(Snooze {
                from_ms: row.get(0)?,
                until_ms: row.get(1)?,
                who: row.get(2)?,
                reason: row.get(3)?,
                uid: row.get(4)?,
                rule: row.get(5)?,
                severity_max: row.get(6)?,
            })
        };
        Ok(statement.query_map([], snooze)?.collect::<Result<_, _>>()?)
    }

    /// How many alerts were held back from sinks, and how many findings' newest states still are.
    pub(crate) fn held(&self) -> Result<(u64, u64), StoreError> {
        let sql = "SELECT count(*), count(*) FILTER (WHERE released = 0 AND NOT EXISTS (SELECT 1 \
             FROM alert b WHERE b.uid = a.uid AND b.revision > a.revision)) \
             FROM held JOIN alert a ON a.seq = held.seq";
        let (all, left) = self.db.query_row(sql, [], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
        })?;
        Ok((all, left))
    }

    /// Takes the alerts that are snoozed at `now_ms` out of a sink's queue; how many they are.
    pub(crate) fn hold(&mut self, sink: &str, now_ms: i64) -> Result<usize, StoreError> {
        let any = "SELECT EXISTS (SELECT 1 FROM snooze WHERE from_ms <= ?1 AND ?1 < until_ms)";
        if !self.db.query_row(any, params![now_ms], |row| row.get(0))? {
            return Ok(0);
        }
        let seqs: Vec<i64> = self
            .db
            .prepare_cached(&format!(
                "SELECT a.seq FROM alert a \
                 WHERE a.seq > coalesce((SELECT delivered FROM sink WHERE name = ?1), 0) \
                 AND NOT EXISTS (SELECT 1 FROM done WHERE done.sink = ?1 AND done.seq = a.seq) \
                 AND {SNOOZED} ORDER BY a.seq"
            ))?
            .query_map(params![sink, now_ms], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if seqs.is_empty() {
            return Ok(0);
        }
        // First on record as held, then out of the queue: a crash in between holds them once more.
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for seq in &seqs {
            transaction.execute(
                "INSERT OR IGNORE INTO held (sink, seq) VALUES (?, ?)",
                params![sink, seq],
            )?;
        }
        transaction.commit()?;
        self.mark_delivered(sink, &seqs)?;
        Ok(seqs.len())
    }

    /// Held alerts of a sink that no snooze holds any more: of each finding the newest state, unless
    /// a newer one goes its own way.
    pub(crate) fn released(
        &self,
        sink: &str,
        now_ms: i64,
        limit: usize,
    ) -> Result<Vec<Outgoing>, StoreError> {
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT a.seq, a.uid, a.revision, a.activity, a.tenant, a.rule, a.time_ms, a.value \
             FROM held JOIN alert a ON a.seq = held.seq \
             WHERE held.sink = ?1 AND held.released = 0 AND NOT {SNOOZED} \
             AND NOT EXISTS (SELECT 1 FROM alert b WHERE b.uid = a.uid AND b.revision > a.revision) \
             ORDER BY a.seq LIMIT ?3"
        ))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![sink, now_ms, limit], outgoing)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes that held alerts have reached their sink after all.
    pub(crate) fn mark_released(&mut self, sink: &str, seqs: &[i64]) -> Result<(), StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for seq in seqs {
            // With it goes what it supersedes.
            transaction.execute(
                "UPDATE held SET released = 1 WHERE sink = ?1 AND seq IN (SELECT b.seq FROM alert a, \
                 alert b WHERE a.seq = ?2 AND b.uid = a.uid AND b.revision <= a.revision)",
                params![sink, seq],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }
}

pub(super) fn add_audit(db: &Connection, row: &Audit) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO audit (time_ms, who, action, detail, reason, uid, rule, tenant) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.time_ms,
            row.who,
            row.action,
            row.detail,
            row.reason,
            row.uid,
            row.rule,
            row.tenant
        ],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{super::*, *};

    fn add(store: &mut Store, uid: &str, revision: u32, severity: u8) {
        let alerts = vec![sample(uid, revision)];
        store.commit(&Batch { alerts, severities: vec![severity], ..Batch::default() }).unwrap();
    }

    fn snooze(store: &mut Store, uid: &str, rule: &str) {
        let snooze = Snooze {
            from_ms: 100,
            until_ms: 200,
            who: "ann".into(),
            reason: "known".into(),
            uid: uid.into(),
            rule: rule.into(),
            severity_max: 3,
        };
        store.snooze(&snooze, &Audit::default()).unwrap();
    }

    fn seqs(alerts: &[Outgoing]) -> Vec<(&str, u32)> {
        alerts.iter().map(|alert| (alert.uid.as_str(), alert.revision)).collect()
    }

    #[test]
    fn a_snooze_holds_back_until_its_end_and_loses_nothing() {
        let mut store = Store::in_memory().unwrap();
        snooze(&mut store, "a", "");
        add(&mut store, "a", 0, 3);
        add(&mut store, "b", 0, 3);
        add(&mut store, "a", 1, 3);
        assert_eq!(store.hold("k", 99).unwrap(), 0, "not yet");
        assert_eq!(store.hold("k", 100).unwrap(), 2);
        assert_eq!(store.hold("k", 101).unwrap(), 0, "held once");
        assert_eq!(seqs(&store.undelivered("k", 9).unwrap()), [("b", 0)]);
        store.mark_delivered("k", &[2]).unwrap();
        assert_eq!(store.waiting("k").unwrap().0, 0, "what is held does not wait");
        assert!(store.released("k", 199, 9).unwrap().is_empty());
        // At the end: the newest state only, once, and for this sink.
        let released = store.released("k", 200, 9).unwrap();
        assert_eq!(seqs(&released), [("a", 1)]);
        store.mark_released("k", &[released[0].seq]).unwrap();
        assert!(store.released("k", 201, 9).unwrap().is_empty());
        assert_eq!(store.held().unwrap(), (2, 0));
        assert_eq!(store.hold("other", 150).unwrap(), 2);
    }

    #[test]
    fn what_is_worse_than_at_the_snooze_is_delivered() {
        let mut store = Store::in_memory().unwrap();
        snooze(&mut store, "", "bulk-change");
        add(&mut store, "a", 0, 3);
        add(&mut store, "a", 1, 4);
        assert_eq!(store.hold("k", 150).unwrap(), 1);
        assert_eq!(seqs(&store.undelivered("k", 9).unwrap()), [("a", 1)]);
        // Its earlier state is part of it.
        assert!(store.released("k", 200, 9).unwrap().is_empty());
        assert_eq!(store.held().unwrap(), (1, 0));
    }

    #[test]
    fn decisions_are_append_only() {
        let mut store = Store::in_memory().unwrap();
        snooze(&mut store, "a", "");
        for table in ["audit", "snooze"] {
            for change in [
                format!("DELETE FROM {table}"),
                format!("UPDATE {table} SET who = 'x'"),
                format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table}"),
            ] {
                let refused = store.db.execute_batch(&change).unwrap_err().to_string();
                assert!(refused.contains("append-only"), "{change}: {refused}");
            }
        }
        assert_eq!(store.audits().unwrap().len(), 1);
    }

    /// A store of format 2 gets the new tables when it is opened, and `coverage` reads it before.
    #[test]
    fn a_store_of_the_format_before_is_brought_up_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(database(dir.path())).unwrap();
        db.execute_batch(STEPS[0]).unwrap();
        db.execute_batch(STEPS[1]).unwrap();
        db.execute_batch(
            "INSERT INTO alert (uid, revision, activity, rule, tenant, severity, time_ms, value) \
             VALUES ('a', 0, 1, 'bulk-change', 'website-1', 3, 1, x'7b7d')",
        )
        .unwrap();
        coverage::read(dir.path()).unwrap();
        let mut store = Store::open_existing(dir.path()).unwrap();
        snooze(&mut store, "a", "");
        assert_eq!(store.states("a").unwrap(), [b"{}".to_vec()]);
        assert_eq!(store.open_severity("bulk-change").unwrap(), Some(3));
        assert_eq!(store.audits().unwrap().len(), 1);
        coverage::read(dir.path()).unwrap();
    }
}

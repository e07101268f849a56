//! The coverage ledger: what was examined, per server and hour of event time.
//!
//! Input: the pipeline's transactions, in order. Output: [`Interval`]s; the closed ones are
//! appended to the store with the next checkpoint, the open one is kept beside it. Counts are
//! those of whole transactions, so that what a crash takes back is exactly what comes again.
//!
//! # Invariants
//! - A transaction is counted when it ends, in one interval, once.
//! - Within an interval nothing was left out between its two positions, save what is on record as
//!   a gap; where reading went on elsewhere, another interval begins.
//! - An interval begins when event time enters a later hour: at most one row per server and hour,
//!   however late or early single transactions are.

use std::sync::Arc;

use phiwatch_binlog::{BinlogPosition, GtidSet, GtidState, Op, Transaction};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{continuity::sequence, gtid_ranges::GtidRanges};

const HOUR_US: i64 = 3_600_000_000;

/// A stretch of one server's log that was examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interval {
    /// `server_uuid`; MariaDB, and the writer of a file: `server_id`. See [`server_after`].
    pub server: String,
    pub version: String,
    /// Where reading stood before the first transaction.
    pub from: BinlogPosition,
    /// Where it stood after the last one.
    pub to: BinlogPosition,
    /// The transactions examined, as far as they have numbers.
    pub gtids: GtidRanges,
    /// What the heads of MySQL's files said was executed before them.
    pub heads: GtidSet,
    /// Earliest and latest commit, µs since 1970.
    pub from_us: i64,
    pub to_us: i64,
    pub counts: Counts,
}

/// How much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Numbers")]
pub(crate) struct Counts {
    /// Transactions.
    pub transactions: u64,
    /// Rows inserted into watched tables.
    pub creates: u64,
    /// Rows updated in watched tables.
    pub updates: u64,
    /// Rows deleted from watched tables.
    pub deletes: u64,
    /// Statements in the log that are not transaction control.
    pub statements: u64,
    /// Bytes of the transactions.
    pub bytes: u64,
    /// Of it: bytes of rows of tables without any rule, passed over by design.
    pub unwatched_bytes: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.transactions += other.transactions;
        self.creates += other.creates;
        self.updates += other.updates;
        self.deletes += other.deletes;
        self.statements += other.statements;
        self.bytes += other.bytes;
        self.unwatched_bytes += other.unwatched_bytes;
    }
}

/// Where reading began, and which transactions were done before by the server's own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub server: String,
    pub at: BinlogPosition,
    pub gtids: String,
    pub reason: String,
}

impl Start {
    /// An older phiwatch read before; how far back is not known.
    pub(crate) const LEDGER_BEGINS: &str = "ledger begins";
    /// The log had begun anew, and an operator chose to go on with it.
    pub(crate) const RESET: &str = "reset accepted";
    const FIRST: &str = "first start";
}

const AFTER_RESET: &str = " after reset ";

/// A server's name in the ledger: after a reset its numbers and places come again, and must not
/// be taken for those that were examined before.
pub(crate) fn server_after(server: &str, resets: u32) -> String {
    match resets {
        0 => server.to_owned(),
        resets => format!("{server}{AFTER_RESET}{resets}"),
    }
}

/// The reset after which a server was read, by its name in the ledger.
pub(crate) fn reset_of(server: &str) -> &str {
    server.split_once(AFTER_RESET).map_or("", |(_, number)| number)
}

/// What a checkpoint makes durable of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Final, to be appended.
    pub closed: Vec<Interval>,
    /// Still growing.
    pub open: Option<Interval>,
    /// New ones; of a stored checkpoint all.
    pub starts: Vec<Start>,
}

impl Written {
    /// What came before everything that was ever read, if that is known.
    pub(crate) fn before(&self) -> Option<GtidState> {
        let mut before = GtidRanges::default();
        // What came before a reset says nothing of the log after it.
        let reset = self.starts.iter().rposition(|start| start.reason == Start::RESET);
        for start in self.starts.get(reset.unwrap_or(0)..).unwrap_or_default() {
            if start.reason == Start::LEDGER_BEGINS {
                return None;
            }
            before.union(&start.gtids.parse().ok()?);
        }
        (!self.starts.is_empty()).then(|| before.state())
    }
}

/// Accumulates intervals.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// How often the log began anew.
    resets: u32,
    server: String,
    version: String,
    /// The server was named by a connection, not by a file's head.
    is_live: bool,
    /// Everything up to here was examined.
    at: Option<BinlogPosition>,
    /// Where the present file, or the reading of it, began.
    file: Option<BinlogPosition>,
    /// Of the transaction under way.
    current: Counts,
    heads: GtidSet,
    open: Option<Interval>,
    closed: Vec<Interval>,
    starts: Vec<Start>,
    is_started: bool,
    is_before_known: bool,
}

impl Ledger {
    /// Goes on after a checkpoint.
    pub(crate) fn resume(&mut self, open: Option<Interval>, at: BinlogPosition) {
        self.is_started = true;
        self.is_before_known = true;
        self.at = Some(at);
        if let Some(open) = &open {
            self.server.clone_from(&open.server);
            self.version.clone_from(&open.version);
        }
        self.open = open;
    }

    /// How often the log began anew before what comes now.
    pub(crate) fn set_resets(&mut self, resets: u32) {
        self.resets = resets;
    }

    /// A live source connected.
    pub(crate) fn connected(&mut self, server: &str, version: &str) {
        self.is_live = true;
        self.switch(&server_after(server, self.resets), version);
    }

    /// A file's head was read.
    pub(crate) fn written_by(&mut self, server_id: u32, version: &str) {
        if !self.is_live {
            self.switch(&server_after(&server_id.to_string(), self.resets), version);
        }
    }

    fn switch(&mut self, server: &str, version: &str) {
        if self.server == server && self.version == version {
            return;
        }
        if self.server != server {
            // Positions of another server say nothing here; a file's head comes after its start.
            self.at = self.file.take().filter(|_| !self.is_live);
        }
        self.close();
        server.clone_into(&mut self.server);
        version.clone_into(&mut self.version);
        if let Some(start) = self.starts.last_mut()
            && start.server.is_empty()
        {
            server.clone_into(&mut start.server);
        }
    }

    /// A file begins, or goes on, at `offset`.
    pub(crate) fn file_starts(&mut self, name: &Arc<str>, offset: u64) {
        let here = BinlogPosition { file: name.clone(), offset };
        self.file = Some(here.clone());
        if !self.is_started {
            self.is_started = true;
            let reason = if self.resets == 0 { Start::FIRST } else { Start::RESET };
            let (server, reason) = (self.server.clone(), reason.to_owned());
            self.starts.push(Start { server, at: here.clone(), gtids: String::new(), reason });
        }
        match self.at.as_ref().map(|at| follows(at, &here)) {
            Some(Follows::Before) => {}
            Some(Follows::Next) => {
                // A file without a transaction must not look like a hole.
                if let Some(open) = &mut self.open {
                    open.to = here.clone();
                }
                self.at = Some(here);
            }
            Some(Follows::No) | None => {
                self.close();
                self.at = Some(here);
            }
        }
    }

    /// What counts as done where reading begins.
    pub(crate) fn done_before(&mut self, done: &GtidState) {
        if !self.is_before_known
            && let Some(start) = self.starts.last_mut()
        {
            start.gtids = GtidRanges::up_to(done).to_string();
        }
        self.is_before_known = true;
    }

    /// A file's head says what was executed before it.
    pub(crate) fn head(&mut self, done: &GtidState) {
        self.done_before(done);
        if let GtidState::MySql(done) = done {
            self.heads = self.heads.union(done);
            if let Some(open) = &mut self.open {
                open.heads = open.heads.union(done);
            }
        }
    }

    pub(crate) fn begin(&mut self) {
        self.current = Counts::default();
    }

    pub(crate) fn row(&mut self, op: Op) {
        match op {
            Op::Create => self.current.creates += 1,
            Op::Update => self.current.updates += 1,
            Op::Delete => self.current.deletes += 1,
        }
    }

    pub(crate) fn statement(&mut self) {
        self.current.statements += 1;
    }

    pub(crate) fn unwatched(&mut self, bytes: usize) {
        self.current.unwatched_bytes += bytes as u64;
    }

    /// A whole transaction ended. `is_examined`: not in an earlier run.
    pub(crate) fn end(&mut self, done: &Transaction, next: &BinlogPosition, is_examined: bool) {
        let mut counts = std::mem::take(&mut self.current);
        let from = self.at.replace(next.clone()).unwrap_or_else(|| done.start.clone());
        if !is_examined {
            if let Some(open) = &mut self.open {
                open.to = next.clone();
            }
            return;
        }
        counts.transactions = 1;
        if next.file == done.start.file {
            counts.bytes = next.offset.saturating_sub(done.start.offset);
        }
        let time_us = done.time.0;
        if self.open.as_ref().is_some_and(|open| hour(time_us) > hour(open.to_us)) {
            self.close();
        }
        let open = self.open.get_or_insert_with(|| Interval {
            server: self.server.clone(),
            version: self.version.clone(),
            from,
            to: next.clone(),
            gtids: GtidRanges::default(),
            heads: std::mem::take(&mut self.heads),
            from_us: time_us,
            to_us: time_us,
            counts: Counts::default(),
        });
        open.to = next.clone();
        open.from_us = open.from_us.min(time_us);
        open.to_us = open.to_us.max(time_us);
        open.counts.add(&counts);
        if let Some(gtid) = &done.gtid {
            open.gtids.insert(gtid);
        }
    }

    /// Which server is read, for records of what was not examined.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Takes what a checkpoint is to make durable; what an earlier one held comes first.
    pub(crate) fn take(&mut self, earlier: Option<Written>) -> Written {
        let mut written = earlier.unwrap_or_default();
        written.closed.append(&mut self.closed);
        written.starts.append(&mut self.starts);
        written.open.clone_from(&self.open);
        written
    }

    fn close(&mut self) {
        self.closed.extend(self.open.take());
        self.heads = GtidSet::default();
    }
}

fn hour(time_us: i64) -> i64 {
    time_us.div_euclid(HOUR_US)
}

enum Follows {
    /// Lies before: it was examined already.
    Before,
    /// The start of the next file.
    Next,
    No,
}

fn follows(at: &BinlogPosition, next: &BinlogPosition) -> Follows {
    if at.file == next.file {
        return if next.offset <= at.offset { Follows::Before } else { Follows::No };
    }
    match (sequence(&at.file), sequence(&next.file)) {
        (Some((base, number)), Some((other, following))) if base == other => {
            if following <= number {
                Follows::Before
            } else if following == number + 1 && next.offset <= 4 {
                Follows::Next
            } else {
                Follows::No
            }
        }
        _ => Follows::No,
    }
}

#[cfg(test)]
mod tests {
    use phiwatch_binlog::EventTime;

    use super::*;

    const MINUTE_US: i64 = 60_000_000;

    /// A stream of transactions of 100 bytes each.
    struct Stream {
        ledger: Ledger,
        at: BinlogPosition,
        written: Written,
        number: u64,
    }

    impl Stream {
        fn new() -> Self {
            let at = BinlogPosition { file: "".into(), offset: 4 };
            let mut new =
                Self { ledger: Ledger::default(), at, written: Written::default(), number: 0 };
            new.ledger.connected("one", "9.7");
            new.file("binlog.000001");
            new
        }

        fn file(&mut self, name: &str) {
            self.at = BinlogPosition { file: name.into(), offset: 4 };
            self.ledger.file_starts(&self.at.file, 4);
        }

        fn commit(&mut self, minute: i64) {
            self.number += 1;
            let start = self.at.clone();
            self.at.offset += 100;
            let done = Transaction {
                start,
                gtid: format!("0-1-{}", self.number).parse().ok(),
                time: EventTime(minute * MINUTE_US),
                server_id: 1,
                thread: None,
            };
            self.ledger.begin();
            self.ledger.row(Op::Update);
            self.ledger.end(&done, &self.at, true);
        }

        fn checkpoint(&mut self) {
            self.written = self.ledger.take(Some(std::mem::take(&mut self.written)));
        }

        /// `server from..to transactions`, closed and open.
        fn intervals(&mut self) -> Vec<String> {
            self.checkpoint();
            let all = self.written.closed.iter().chain(&self.written.open);
            let text = |one: &Interval| {
                let Interval { server, from, to, counts, .. } = one;
                assert_eq!(counts.updates, counts.transactions);
                assert_eq!(counts.bytes, counts.transactions * 100);
                format!("{server} {from}..{to} {}", counts.transactions)
            };
            all.map(text).collect()
        }

        #[track_caller]
        fn check(&mut self, want: &[&str]) {
            assert_eq!(self.intervals(), want);
        }
    }

    #[test]
    fn an_interval_ends_with_its_hour() {
        let mut stream = Stream::new();
        for minute in [0, 59, 58, 60, 3, 119, 180] {
            stream.commit(minute);
        }
        stream.check(&[
            "one binlog.000001:4..binlog.000001:304 3",
            "one binlog.000001:304..binlog.000001:604 3",
            "one binlog.000001:604..binlog.000001:704 1",
        ]);
        let late = &stream.written.closed[1];
        assert_eq!((late.from_us, late.to_us), (3 * MINUTE_US, 119 * MINUTE_US));
        assert_eq!(late.gtids.to_string(), "0-1-4..0-1-6");
    }

    #[test]
    fn an_interval_goes_on_in_the_next_file_and_ends_at_a_jump() {
        let mut stream = Stream::new();
        stream.commit(0);
        for file in ["binlog.000002", "binlog.000003"] {
            stream.file(file);
        }
        stream.commit(1);
        // A connection anew brings what is known already.
        stream.file("binlog.000002");
        stream.at = BinlogPosition { file: "binlog.000003".into(), offset: 104 };
        stream.commit(2);
        stream.file("binlog.000009");
        stream.commit(3);
        stream.check(&[
            "one binlog.000001:4..binlog.000003:204 3",
            "one binlog.000009:4..binlog.000009:104 1",
        ]);
    }

    #[test]
    fn another_server_begins_another_interval() {
        let mut stream = Stream::new();
        stream.commit(0);
        stream.ledger.connected("one", "9.7");
        stream.file("binlog.000001");
        stream.at.offset = 104;
        stream.commit(1);
        stream.ledger.connected("two", "9.7");
        stream.file("other.000007");
        stream.commit(2);
        stream.check(&[
            "one binlog.000001:4..binlog.000001:204 2",
            "two other.000007:4..other.000007:104 1",
        ]);
    }

    /// The same server and file names, but another log.
    #[test]
    fn a_reset_begins_another_server_and_start() {
        let mut stream = Stream::new();
        stream.ledger.set_resets(2);
        stream.ledger.connected("one", "9.7");
        stream.file("binlog.000001");
        stream.commit(0);
        stream.check(&["one after reset 2 binlog.000001:4..binlog.000001:104 1"]);
        let mut fresh = Ledger::default();
        fresh.set_resets(1);
        fresh.connected("one", "9.7");
        fresh.file_starts(&"binlog.000001".into(), 4);
        fresh.done_before(&"0-1-7".parse().unwrap());
        let earlier = Start { gtids: "0-1-100".to_owned(), ..stream.written.starts.remove(0) };
        let written = fresh.take(Some(Written { starts: vec![earlier], ..Written::default() }));
        let last = written.starts.last().unwrap();
        assert_eq!(
            (last.server.as_str(), last.reason.as_str()),
            ("one after reset 1", Start::RESET)
        );
        assert_eq!(
            written.before(),
            "0-1-7".parse().ok(),
            "what was before the reset says nothing"
        );
        assert_eq!(reset_of(&last.server), "1");
        assert_eq!(reset_of("one"), "");
    }

    /// A crash after any transaction, with the last checkpoint at any one before it.
    #[test]
    fn a_crash_takes_back_what_comes_again() {
        let minutes = [0, 10, 61, 62, 65, 130, 131, 140];
        let mut whole = Stream::new();
        minutes.iter().for_each(|minute| whole.commit(*minute));
        let want = whole.intervals();
        for kept in 0..minutes.len() {
            let mut before = Stream::new();
            minutes.iter().take(kept).for_each(|minute| before.commit(*minute));
            before.checkpoint();
            // Whatever comes after the checkpoint is lost with the process.
            let Written { closed, open, .. } = before.written.clone();
            let mut after = Stream { ledger: Ledger::default(), ..before };
            after.ledger.resume(open, after.at.clone());
            after.ledger.connected("one", "9.7");
            after.ledger.file_starts(&after.at.file, 4);
            after.written = Written { closed, ..Written::default() };
            minutes.iter().skip(kept).for_each(|minute| after.commit(*minute));
            assert_eq!(after.intervals(), want, "checkpoint after {kept}");
            assert!(after.written.starts.is_empty());
        }
    }
}

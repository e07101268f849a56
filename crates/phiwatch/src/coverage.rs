//! What `phiwatch coverage` says: intervals and gaps of the store, and the holes between.
//!
//! Input: what the store has recorded. Output: [`Coverage`], the documented JSON; [`text`] prints
//! it for people. Holes are numbers of transactions, or of files where transactions have none,
//! that lie between what was examined and are in no record.

pub(crate) mod text;

use jiff::Timestamp;
use phiwatch_binlog::GtidSet;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    continuity::files_missing,
    gtid_ranges::GtidRanges,
    ledger::{Counts, Interval, reset_of},
    store::{GapRecord, coverage::Recorded},
};

/// What phiwatch has examined, and what it has not. Times are commit times, RFC 3339, UTC.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Coverage {
    /// Version of this shape.
    pub version: u8,
    /// Only what was committed at this time or later.
    pub from: Option<String>,
    /// Only what was committed before this time.
    pub until: Option<String>,
    /// There is no gap (exit code 0; else 3).
    pub complete: bool,
    /// What was examined, by server.
    pub servers: Vec<Server>,
    /// Where reading began; what lies before was not asked for.
    pub starts: Vec<Start>,
    /// What was not examined.
    pub gaps: Vec<Gap>,
    /// What no reader of a binlog can see.
    pub blind: Vec<&'static str>,
}

/// One server.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Server {
    /// `server_uuid`; of MariaDB, and of files: the `server_id` of the server that wrote them;
    /// followed by ` after reset N` if the log had begun anew N times.
    pub server: String,
    /// All transactions examined: a MySQL GTID set, or for MariaDB runs such as
    /// `0-1-5..0-1-9,0-1-12`; empty if they have no GTIDs.
    pub gtids: String,
    /// Sum of the intervals.
    pub total: Counts,
    /// By hour of commit time; the last one may still grow.
    pub intervals: Vec<Stretch>,
}

/// One stretch of a server's log.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Stretch {
    /// Version of the server's software.
    pub server_version: String,
    /// Earliest commit.
    pub from: String,
    /// Latest commit.
    pub until: String,
    /// Where reading stood before: `file:position`.
    pub from_position: String,
    /// Where reading stood after.
    pub until_position: String,
    /// Transactions examined.
    pub gtids: String,
    /// What it held.
    pub numbers: Counts,
}

/// Where reading began.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Start {
    /// Which server.
    pub server: String,
    /// `file:position`.
    pub position: String,
    /// Transactions before it, by the server's own account.
    pub gtids_before: String,
    /// `first start`, `ledger begins` (an older phiwatch read before), `reset accepted`.
    pub reason: String,
}

/// Something that was not examined.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Gap {
    /// `recorded` when it was met, or `hole`: found now, between what was examined.
    pub kind: &'static str,
    /// Why: one of a closed set of words.
    pub cause: String,
    /// Why, in words.
    pub detail: String,
    /// Which server; empty if an older phiwatch recorded it.
    pub server: String,
    /// `file:position`; null for a hole of GTIDs.
    pub position: Option<String>,
    /// Bytes not examined; 0 if unknown.
    pub bytes: u64,
    /// Transactions (GTID, set or run; `*` = any server) or files; empty if unknown.
    pub missing: String,
    /// `database.table`; empty if unknown.
    pub table: String,
    /// Commit time of the transaction before it; null if there was none.
    pub met: Option<String>,
    /// What to do about it.
    pub next_step: &'static str,
}

/// Which part is asked for, µs since 1970: from (inclusive), until (exclusive).
#[derive(Debug, Default)]
pub(crate) struct Range {
    pub from_us: Option<i64>,
    pub until_us: Option<i64>,
}

impl Range {
    fn overlaps(&self, first_us: i64, last_us: i64) -> bool {
        self.from_us.is_none_or(|from| last_us >= from)
            && self.until_us.is_none_or(|until| first_us < until)
    }
}

const BLIND: [&str; 4] = [
    "reads (SELECT): a binlog holds changes only",
    "sessions with sql_log_bin = 0, and temporary tables",
    "what a replication filter keeps out of this server's binlog",
    "rows that a foreign key deletes or empties on servers that do not log them",
];

impl Coverage {
    pub(crate) fn new(recorded: &Recorded, range: &Range) -> Self {
        let chosen: Vec<&Interval> = recorded
            .intervals
            .iter()
            .filter(|interval| range.overlaps(interval.from_us, interval.to_us))
            .collect();
        let mut gaps: Vec<Gap> = recorded
            .gaps
            .iter()
            // What nobody can date is never left out.
            .filter(|gap| gap.time_us == 0 || range.overlaps(gap.time_us, gap.time_us))
            .map(recorded_gap)
            .collect();
        let names = servers(&chosen);
        for name in &names {
            let known = known(recorded, reset_of(name));
            let ours: Vec<&Interval> =
                chosen.iter().copied().filter(|interval| interval.server == *name).collect();
            gaps.extend(holes(&ours, &known, recorded));
        }
        let server = |name: &&str| server(name, &chosen);
        Self {
            version: 1,
            from: range.from_us.map(time),
            until: range.until_us.map(time),
            complete: gaps.is_empty(),
            servers: names.iter().map(server).collect(),
            starts: recorded.starts.iter().map(start).collect(),
            gaps,
            blind: BLIND.to_vec(),
        }
    }
}

/// In the order of their first interval.
fn servers<'a>(intervals: &[&'a Interval]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for interval in intervals {
        if !names.contains(&interval.server.as_str()) {
            names.push(&interval.server);
        }
    }
    names
}

fn server(name: &str, all: &[&Interval]) -> Server {
    let mut total = Counts::default();
    let mut gtids = GtidRanges::default();
    let mut intervals = Vec::new();
    for interval in all.iter().filter(|interval| interval.server == name) {
        total.add(&interval.counts);
        gtids.union(&interval.gtids);
        intervals.push(Stretch {
            server_version: interval.version.clone(),
            from: time(interval.from_us),
            until: time(interval.to_us),
            from_position: interval.from.to_string(),
            until_position: interval.to.to_string(),
            gtids: interval.gtids.to_string(),
            numbers: interval.counts,
        });
    }
    Server { server: name.to_owned(), gtids: gtids.to_string(), total, intervals }
}

fn start(start: &crate::ledger::Start) -> Start {
    Start {
        server: start.server.clone(),
        position: start.at.to_string(),
        gtids_before: start.gtids.clone(),
        reason: start.reason.clone(),
    }
}

/// Every transaction that was examined, came before a start, or is on record as missing, since
/// this reset.
fn known(recorded: &Recorded, reset: &str) -> GtidRanges {
    let is_of = |server: &str| reset_of(server) == reset;
    let starts = recorded.starts.iter().map(|start| (&start.server, &start.gtids));
    let gaps = recorded.gaps.iter().map(|gap| (&gap.server, &gap.gtid));
    let texts = starts.chain(gaps).filter(|(server, _)| is_of(server));
    let mut known = GtidRanges::default();
    // What is no set names files or a boundary in words.
    texts.filter_map(|(_, text)| text.parse().ok()).for_each(|set| known.union(&set));
    let intervals = recorded.intervals.iter().filter(|interval| is_of(&interval.server));
    intervals.for_each(|interval| known.union(&interval.gtids));
    known
}

/// What lies between the intervals of one server, in the order of reading.
fn holes(ours: &[&Interval], known: &GtidRanges, recorded: &Recorded) -> Vec<Gap> {
    let mut gtids = GtidRanges::default();
    let mut heads = GtidSet::default();
    let mut holes = Vec::new();
    for interval in ours {
        gtids.union(&interval.gtids);
        heads = heads.union(&interval.heads);
    }
    for missing in gtids.holes(known, &heads) {
        holes.push(hole(ours, missing, "numbers of no transaction that was examined", None));
    }
    for pair in ours.windows(2) {
        let &[one, next] = pair else { continue };
        let is_numbered = !one.gtids.is_empty() && !next.gtids.is_empty();
        if is_numbered || one.to == next.from {
            continue;
        }
        let position = Some(one.to.to_string());
        let is_told = |text: &str| recorded.gaps.iter().any(|gap| gap.gtid == text);
        match files_missing(&one.to.file, &next.from.file) {
            Some(files) if !is_told(&files) => {
                holes.push(hole(ours, files, "files of which nothing was examined", position));
            }
            Some(_) => {}
            None if one.to.file == next.from.file && one.to.offset < next.from.offset => {
                let bytes = next.from.offset - one.to.offset;
                let mut hole = hole(ours, String::new(), "bytes that were not read", position);
                hole.bytes = bytes;
                holes.push(hole);
            }
            None => {}
        }
    }
    holes
}

fn hole(
    ours: &[&Interval],
    missing: String,
    detail: &'static str,
    position: Option<String>,
) -> Gap {
    Gap {
        kind: "hole",
        cause: "not-examined".into(),
        detail: detail.into(),
        server: ours.first().map(|interval| interval.server.clone()).unwrap_or_default(),
        position,
        bytes: 0,
        missing,
        table: String::new(),
        met: None,
        next_step: next_step("not-examined"),
    }
}

fn recorded_gap(gap: &GapRecord) -> Gap {
    Gap {
        kind: "recorded",
        cause: gap.cause.clone(),
        detail: gap.detail.clone(),
        server: gap.server.clone(),
        position: Some(format!("{}:{}", gap.file, gap.offset)),
        bytes: gap.bytes,
        missing: gap.gtid.clone(),
        table: gap.table.clone(),
        met: (gap.time_us != 0).then(|| time(gap.time_us)),
        next_step: next_step(&gap.cause),
    }
}

/// What an operator can do, by cause.
fn next_step(cause: &str) -> &'static str {
    match cause {
        "purged" => {
            "examine the files from a backup: phiwatch replay --state NEW-DIR FILE...; keep \
             binlogs longer (binlog_expire_logs_seconds)"
        }
        "file-missing" | "not-examined" => {
            "find the files (backup, another replica) and examine them: phiwatch replay --state \
             NEW-DIR FILE..."
        }
        "reset" => {
            "examine the binlogs of before the reset from a backup or another replica: phiwatch \
             replay --state NEW-DIR FILE..."
        }
        "statement_format" | "partial_statement" => {
            "SET GLOBAL binlog_format = ROW; find the session that sets another one, and ask it \
             what it changed"
        }
        "column_names" => {
            "SET GLOBAL binlog_row_metadata = FULL, so that names are in the log; or GRANT SELECT on \
             the shop's schema, and names are asked for after each DDL"
        }
        "names-hidden" => {
            "run the GRANT statement above, or SET GLOBAL binlog_row_metadata = FULL, so that names \
             are in the log"
        }
        "unsupported" => "report the binlog's version",
        "incident" => "the source lost events: compare the tables with its own source",
        "encrypted" => "follow the server instead of its files, or give decrypted copies",
        "not_binlog" => "give binlog files only",
        "too_large" => "look at the event with mysqlbinlog --start-position and report its size",
        _ => {
            "compare with another copy of the file (phiwatch decode FILE); if that is whole, \
             replay it with --state NEW-DIR"
        }
    }
}

/// RFC 3339, UTC.
fn time(us: i64) -> String {
    Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use phiwatch_binlog::BinlogPosition;

    use super::*;
    use crate::ledger::server_after;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn interval(resets: u32, numbers: &str) -> Interval {
        let at = BinlogPosition { file: "binlog.000001".into(), offset: 4 };
        Interval {
            server: server_after(UUID, resets),
            version: "9.7.4".to_owned(),
            from: at.clone(),
            to: at,
            gtids: format!("{UUID}:{numbers}").parse().unwrap(),
            heads: GtidSet::default(),
            from_us: 0,
            to_us: 0,
            counts: Counts::default(),
        }
    }

    /// What is missing by the numbers.
    fn holes_in(intervals: Vec<Interval>) -> Vec<(String, String)> {
        let recorded = Recorded { intervals, ..Recorded::default() };
        let found = Coverage::new(&recorded, &Range::default());
        found.gaps.into_iter().map(|gap| (gap.server, gap.missing)).collect()
    }

    /// Numbers come again after a reset: those from before it fill no hole.
    #[test]
    fn a_hole_after_a_reset_is_not_filled_by_what_was_before() {
        let one = [interval(0, "1-10"), interval(0, "1-2:4-5")];
        assert_eq!(holes_in(one.into()), []);
        let two = [interval(0, "1-10"), interval(1, "1-2:4-5")];
        let want = (server_after(UUID, 1), format!("{UUID}:3"));
        assert_eq!(holes_in(two.into()), [want]);
    }
}

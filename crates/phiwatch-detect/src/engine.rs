//! The engine: transactions in, alerts out.

use phiwatch_binlog::{BinlogPosition, End, EventTime, Gap, Malformed, Transaction};
use phiwatch_magento::{Observation, Tenant};

use crate::{
    alert::{Alert, Evidence, EvidenceTables, RuleId, Severity},
    finding::{self, Act, Desk, Findings, Key, Signal},
    rules::{Rules, access},
    settings::Settings,
    state::{CheckpointError, Reader, State, state_struct},
    stats::Stats,
    summary::{Origin, Summary},
    volume::Volumes,
};

/// Version of the checkpoint's format; the one before is read as well.
const VERSION: u16 = 3;
const PREVIOUS: u16 = VERSION - 1;
const MAGIC: &[u8; 4] = b"PHWD";
/// What prepared XA transactions may take, bytes, estimated; over it the oldest are forgotten, with
/// a gap each.
const PREPARED_BYTES_MAX: usize = 16 << 20;

/// A deterministic state machine: observations of committed transactions to alerts.
///
/// It acts only on its calls and reads no clock. Time is the largest commit time seen. Call
/// [`Engine::begin`], [`Engine::push`] for each observation, [`Engine::end`], in binlog order.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    memory: Memory,
    current: Option<(Summary, EventTime)>,
    stats: Stats,
}

/// What a checkpoint holds.
#[derive(Debug, Clone, PartialEq)]
struct Memory {
    /// Largest commit time seen.
    now: EventTime,
    /// Server id last seen: the source's identity where a gap has no transaction.
    server_id: u32,
    /// Xid and what the transaction did, in the order of their PREPARE.
    prepared: Vec<(String, Summary)>,
    findings: Findings,
    rules: Rules,
    volumes: Volumes,
}

impl Engine {
    /// An engine without any history.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let memory = Memory {
            now: EventTime(i64::MIN),
            server_id: 0,
            prepared: Vec::new(),
            findings: Findings::default(),
            rules: Rules::default(),
            volumes: Volumes::default(),
        };
        let stats = Stats::new(&settings);
        Self { settings, memory, current: None, stats }
    }

    /// A transaction begins. An unfinished one before it is dropped.
    pub fn begin(&mut self, transaction: &Transaction) {
        if self.current.is_some() {
            self.stats.discarded += 1;
        }
        self.memory.server_id = transaction.server_id;
        self.current = Some((Summary::new(Origin::of(transaction)), transaction.time));
    }

    /// One observation of the transaction that has begun; without one it is ignored.
    pub fn push(&mut self, observation: &Observation) {
        self.stats.observations += 1;
        if let Some((summary, _)) = &mut self.current {
            summary.push(observation);
        }
    }

    /// The transaction's end. Alerts that it decides, and those due before it, are appended. Gives
    /// what it leaves unexamined, for the record (the alerts are told already): XA transactions
    /// whose rows were not seen before their commit, and prepared ones there is no room for.
    pub fn end(&mut self, transaction: &Transaction, end: &End, out: &mut Vec<Alert>) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let origin = Origin::of(transaction);
        let current = self.current.take().map(|(summary, _)| summary);
        let mut summary = current.unwrap_or_else(|| Summary::new(origin.clone()));
        // The thread may have become known with BEGIN.
        summary.origin = origin;
        summary.settle();
        match end {
            End::Commit => self.commit(&summary, transaction.time, out),
            End::Rollback | End::Torn => {
                self.stats.discarded += 1;
                self.tick(transaction.time, out);
            }
            End::XaPrepared(xid) => {
                self.tick(transaction.time, out);
                gaps = self.prepare(&xid.0, summary);
            }
            End::XaCommit(xid) => match self.unprepare(&xid.0) {
                Some(summary) => self.commit(&summary, transaction.time, out),
                None => {
                    self.stats.prepared_unknown += 1;
                    self.tick(transaction.time, out);
                    gaps.push(gap_of(&summary.origin, Malformed::PreparedUnknown));
                }
            },
            End::XaRollback(xid) => {
                self.unprepare(&xid.0);
                self.stats.discarded += 1;
                self.tick(transaction.time, out);
            }
        }
        for gap in &gaps {
            self.gap(gap, out);
        }
        self.stats.prepared = self.memory.prepared.len() as u64;
        self.stats.findings_open = self.memory.findings.len() as u64;
        gaps
    }

    /// Something was not read: a `coverage-gap`, one finding per kind of cause and file.
    pub fn gap(&mut self, gap: &Gap, out: &mut Vec<Alert>) {
        if gap.cause == Malformed::StatementFormat
            && let Some((summary, _)) = &mut self.current
        {
            summary.has_gap = true;
        }
        let place = match &gap.table {
            Some(table) => format!(" (first in table {})", table.table),
            None => String::new(),
        };
        let lead = format!(
            "Part of {} was not examined from byte {} on{place}: {}",
            gap.at.file, gap.at.offset, gap.cause,
        );
        let what = format!("{} in {}", gap.cause.label(), gap.at.file);
        self.tell_gap(&gap.at, what, lead, gap.gtid.as_ref().map(ToString::to_string), out);
    }

    /// Transactions that were never delivered (`what`: the text of their GTID range): a
    /// `coverage-gap`.
    pub fn missing(&mut self, what: &str, at: &BinlogPosition, out: &mut Vec<Alert>) {
        let lead = format!("Transactions were never delivered and so not examined: {what}");
        let what: String = what.chars().take(256).collect();
        self.memory.rules.blind(self.memory.now);
        self.tell_gap(at, format!("missing {what}"), lead, None, out);
    }

    /// The files end: updates that wait for their due time are appended.
    pub fn finish(&mut self, out: &mut Vec<Alert>) {
        let Self { settings, memory, stats, .. } = self;
        memory.findings.flush(&mut Desk { settings, stats, out });
    }

    /// The state between transactions; an unfinished transaction is not in it. Equal states give
    /// equal bytes.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        self.memory.save(&mut out);
        out
    }

    /// An engine that goes on from a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`] if the bytes are of another version or damaged. Never panics, and
    /// allocates in proportion to the bytes.
    pub fn restore(settings: Settings, checkpoint: &[u8]) -> Result<Self, CheckpointError> {
        let mut input = Reader::new(checkpoint);
        let is_magic = input.take(4).ok() == Some(MAGIC);
        let version = input.take(2).ok().and_then(|bytes| bytes.try_into().ok());
        match version.map(u16::from_le_bytes).filter(|_| is_magic) {
            Some(version @ (VERSION | PREVIOUS)) => input.set_version(version),
            _ => return Err(CheckpointError::Version { expected: VERSION }),
        }
        let memory = Memory::load(&mut input)?;
        if !input.is_empty() {
            return Err(CheckpointError::Damaged("bytes after the end"));
        }
        let stats = Stats {
            keys: (memory.volumes.keys() + memory.rules.keys()) as u64,
            findings_open: memory.findings.len() as u64,
            prepared: memory.prepared.len() as u64,
            ..Stats::new(&settings)
        };
        Ok(Self { settings, memory, current: None, stats })
    }

    /// Goes on with the counts of an engine whose place this one takes.
    pub fn count_on(&mut self, from: &Self) {
        let Stats { keys, findings_open, prepared, .. } = self.stats;
        self.stats = Stats { keys, findings_open, prepared, ..from.stats.clone() };
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Event time: the largest commit time seen; None before the first transaction.
    #[must_use]
    pub fn now(&self) -> Option<EventTime> {
        (self.memory.now.0 != i64::MIN).then_some(self.memory.now)
    }

    /// Moves time on, and fires what is due.
    fn tick(&mut self, time: EventTime, out: &mut Vec<Alert>) {
        let Self { settings, memory, stats, .. } = self;
        if time < memory.now {
            stats.late += 1;
        }
        memory.now = memory.now.max(time);
        memory.findings.advance(memory.now, &mut Desk { settings, stats, out });
    }

    fn commit(&mut self, summary: &Summary, time: EventTime, out: &mut Vec<Alert>) {
        self.tick(time, out);
        let Self { settings, memory, stats, .. } = self;
        stats.transactions += 1;
        stats.facts_dropped += summary.dropped;
        stats.unverified += summary.unverified;
        let now = memory.now;
        let (mut signals, excuse) =
            memory.rules.judge(summary, now, settings, &memory.volumes, stats);
        let per_week = settings.false_alerts_per_week * (1.0 - access::SHARE);
        signals.extend(memory.volumes.judge(summary, now, per_week, &excuse, stats));
        stats.keys += memory.rules.keys() as u64;
        if let Some(window) = excuse.maintenance {
            *stats.maintained.entry(window).or_default() += 1;
        }
        if excuse.is_patch {
            patched(&mut signals);
        }
        if signals.is_empty() {
            return;
        }
        finding::fold(&mut signals, |signal| signal.persons);
        let signals = strongest(signals);
        let identity = settings.identity(summary.origin.identity());
        let first = signals.first().map(|signal| signal.rule);
        let is_one = signals.iter().all(|signal| Some(signal.rule) == first);
        let correlation = (!is_one).then(|| finding::correlation(&identity));
        let act = Act { identity, time: now, summary: Some(summary), evidence: None, correlation };
        for signal in signals {
            memory.findings.signal(signal, &act, &mut Desk { settings, stats, out });
        }
    }

    /// Holds a prepared transaction; gives those that there is no room for.
    fn prepare(&mut self, xid: &str, summary: Summary) -> Vec<Gap> {
        self.unprepare(xid);
        let held = &mut self.memory.prepared;
        held.push((xid.to_owned(), summary));
        let mut bytes: usize = held.iter().map(|(xid, summary)| xid.len() + summary.bytes()).sum();
        let mut gaps = Vec::new();
        while bytes > PREPARED_BYTES_MAX && !held.is_empty() {
            let (xid, oldest) = held.remove(0);
            bytes = bytes.saturating_sub(xid.len() + oldest.bytes());
            self.stats.prepared_evicted += 1;
            gaps.push(gap_of(&oldest.origin, Malformed::PreparedOverBound));
        }
        gaps
    }

    fn unprepare(&mut self, xid: &str) -> Option<Summary> {
        let at = self.memory.prepared.iter().position(|(held, _)| held == xid)?;
        Some(self.memory.prepared.remove(at).1)
    }

    fn tell_gap(
        &mut self,
        at: &BinlogPosition,
        what: String,
        lead: String,
        gtid: Option<String>,
        out: &mut Vec<Alert>,
    ) {
        let Self { settings, memory, current, stats, .. } = self;
        // Inside a transaction its time is the latest there is; it counts once it commits.
        let inside = current.as_ref().map_or(memory.now, |(_, time)| *time);
        let time = memory.now.max(inside);
        let time = if time.0 == i64::MIN { EventTime(0) } else { time };
        let key = Key { database: None, tenant: Tenant::Global, what };
        let mut signal = Signal::exact(RuleId::CoverageGap, key, Severity::Medium, lead);
        signal.rows = 1;
        let evidence = Evidence {
            gtid,
            position: at.clone(),
            server_uuid: None,
            server_id: memory.server_id,
            thread: None,
            time,
            tables: EvidenceTables::new(),
            inferred: EvidenceTables::new(),
            subjects: (0, true),
        };
        let identity = settings.identity(format!("{}|{at}", memory.server_id));
        let act =
            Act { identity, time, summary: None, evidence: Some(evidence), correlation: None };
        memory.findings.signal(signal, &act, &mut Desk { settings, stats, out });
    }
}

fn gap_of(origin: &Origin, cause: Malformed) -> Gap {
    Gap { at: origin.start.clone(), bytes: 0, gtid: origin.gtid.clone(), table: None, cause }
}

/// A data patch and its row in `patch_list` are one transaction: what it changes is expected, what
/// it deletes is not.
fn patched(signals: &mut [Signal]) {
    for signal in signals.iter_mut().filter(|signal| signal.rule == RuleId::BulkChange) {
        signal.severity = Severity::Informational;
        signal.benign = Some("a data patch of an upgrade".to_owned());
    }
}

/// One signal per (rule, key): the strongest, the first of equals; in the order they came.
fn strongest(signals: Vec<Signal>) -> Vec<Signal> {
    let mut kept: Vec<Signal> = Vec::with_capacity(signals.len());
    for signal in signals {
        let same =
            kept.iter_mut().find(|other| other.rule == signal.rule && other.key == signal.key);
        match same {
            None => kept.push(signal),
            Some(other) => {
                let order = |s: &Signal| (!s.is_follow_up, s.severity, s.persons);
                if order(&signal) > order(other) {
                    *other = signal;
                }
            }
        }
    }
    kept
}

state_struct!(Memory { now, server_id, prepared, findings, rules, volumes });

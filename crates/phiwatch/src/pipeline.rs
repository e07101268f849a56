//! The middle of the data path: decode, classify, detect. One thread, synchronous, deterministic.
//!
//! Input: [`Batch`]es of a source. Output: [`Produced`]: alerts, gaps and at most one checkpoint,
//! for the store. Never waits for the network.
//!
//! # Invariants
//! - A checkpoint is taken between transactions only, and after the alerts before it.
//! - A transaction that the resumed position already covers is passed over whole.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::{
    BinlogPosition, Decoder, End, Gap, Gtid, GtidSet, GtidState, Limits, Malformed, MariaGtidState,
    Op, Plan, Projection, RowChange, Statement, Table, TableName, Transaction, Visitor,
};
use phiwatch_detect::{Alert, Engine};
use phiwatch_magento::{Classifier, Observation};
use phiwatch_source::{Batch, Found, Item, TableDescription};

use crate::{
    continuity::Continuity,
    ledger::{Ledger, Written},
    names::Names,
    setup::Parts,
    store::{Checkpoint, GapRecord},
};

/// Decoder, classifier and engine, fed with batches.
pub(crate) struct Pipeline {
    decoder: Decoder,
    core: Core,
}

/// What came out since the last look.
#[derive(Debug, Default)]
pub(crate) struct Produced {
    pub alerts: Vec<Alert>,
    pub gaps: Vec<GapRecord>,
    pub checkpoint: Option<Checkpoint>,
    /// The source said that the server has nothing more at present.
    pub caught_up: bool,
}

/// Running totals.
#[derive(Debug, Default, Clone)]
pub(crate) struct Totals {
    pub events: u64,
    pub bytes: u64,
    pub transactions: u64,
    pub transactions_skipped: u64,
    pub rows: u64,
    pub statements: u64,
    /// By `Malformed::label`.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Commit times of the first and the last transaction, µs since 1970.
    pub first_commit_us: Option<i64>,
    pub last_commit_us: i64,
}

struct Core {
    classifier: Classifier,
    engine: Engine,
    names: Names,
    /// The table map that is being bound got its names from the server.
    is_named_by_server: bool,
    observations: Vec<Observation>,
    produced: Produced,
    totals: Totals,
    /// Executed transactions, as far as they carry GTIDs.
    executed: Option<GtidState>,
    /// `executed` holds what came before the first event, too.
    is_start_known: bool,
    /// What a resumed run need not see again.
    resumed: Option<GtidState>,
    position: BinlogPosition,
    server: String,
    /// A transaction is open.
    is_open: bool,
    /// The open transaction was examined by an earlier run.
    is_skipping: bool,
    is_checkpoint_wanted: bool,
    /// Something was examined since the last checkpoint.
    is_dirty: bool,
    /// Nothing came since the source said that it had no more.
    is_caught_up: bool,
    /// A file or connection began after the open transaction did, or the files end within it.
    is_cut_off: bool,
    /// Where the last event ends that could not be read and may have been a transaction's end.
    refused_until: Option<u64>,
    /// The last bytes are the beginning of an event.
    is_tail_cut: bool,
    /// Part of the open transaction could not be read; that is on record.
    has_gap: bool,
    continuity: Continuity,
    ledger: Ledger,
    resets: u32,
    table_prefix: String,
    /// Tables of this file whose rows were not examined for want of column names, and whether they
    /// still have none.
    nameless: BTreeMap<TableName, bool>,
    /// Other settings, for the end of the open transaction.
    next: Option<Parts>,
    reloaded: Option<anyhow::Result<()>>,
}

impl Pipeline {
    pub(crate) fn new(classifier: Classifier, engine: Engine, table_prefix: String) -> Self {
        let core = Core {
            classifier,
            engine,
            names: Names::default(),
            is_named_by_server: false,
            observations: Vec::new(),
            produced: Produced::default(),
            totals: Totals::default(),
            executed: None,
            is_start_known: false,
            resumed: None,
            position: BinlogPosition { file: Arc::from(""), offset: 4 },
            server: String::new(),
            is_open: false,
            is_skipping: false,
            is_checkpoint_wanted: false,
            is_dirty: false,
            is_caught_up: false,
            is_cut_off: false,
            refused_until: None,
            is_tail_cut: false,
            has_gap: false,
            continuity: Continuity::default(),
            ledger: Ledger::default(),
            resets: 0,
            table_prefix,
            nameless: BTreeMap::new(),
            next: None,
            reloaded: None,
        };
        Self { decoder: Decoder::new(Limits::default()), core }
    }

    /// Goes on where a checkpoint ended: its transactions are not examined again.
    pub(crate) fn resume(
        &mut self,
        executed: Option<GtidState>,
        position: BinlogPosition,
        written: &Written,
    ) {
        let core = &mut self.core;
        core.totals.last_commit_us = written.open.as_ref().map_or(0, |open| open.to_us);
        core.ledger.resume(written.open.clone(), position.clone());
        core.continuity.resume(written.before(), position.file.clone(), executed.is_none());
        self.core.resumed.clone_from(&executed);
        self.core.executed = executed;
        self.core.position = position;
    }

    /// How often the source's log began anew before what comes now.
    pub(crate) fn set_resets(&mut self, resets: u32) {
        self.core.ledger.set_resets(resets);
        self.core.resets = resets;
    }

    /// Column names for tables whose maps carry none.
    pub(crate) fn names_mut(&mut self) -> &mut Names {
        &mut self.core.names
    }

    /// What the server said of a table whose names were missing.
    pub(crate) fn told(&mut self, description: TableDescription) {
        if let Found::Hidden { fix, .. } = &description.found {
            self.core.names_hidden(&description.table, fix);
        }
        self.core.names.told(description);
    }

    /// The classifier, for bootstrapping its maps.
    pub(crate) fn classifier_mut(&mut self) -> &mut Classifier {
        &mut self.core.classifier
    }

    /// Asks for a checkpoint at the next transaction's end.
    pub(crate) fn want_checkpoint(&mut self) {
        self.core.is_checkpoint_wanted = self.core.is_dirty;
    }

    /// A checkpoint now, unless a transaction is open (then the last boundary's one stands).
    pub(crate) fn checkpoint_now(&mut self) {
        if !self.core.is_open && self.core.is_dirty {
            self.core.take_checkpoint();
        }
    }

    /// Other settings, to count from the next transaction on: as a restart there would have it.
    pub(crate) fn reload(&mut self, next: Parts) {
        self.core.next = Some(next);
        self.take_over();
    }

    /// What became of the last [`Self::reload`], once it did.
    pub(crate) fn take_reloaded(&mut self) -> Option<anyhow::Result<()>> {
        self.core.reloaded.take()
    }

    /// Between two transactions, takes over the settings that wait.
    fn take_over(&mut self) {
        if self.core.next.is_none() || self.core.is_open {
            return;
        }
        let Some(next) = self.core.next.take() else { return };
        let outcome = self.core.take_over(next);
        if outcome.is_ok() {
            self.decoder.forget_tables();
        }
        self.core.reloaded = Some(outcome);
    }

    /// Examines a batch.
    pub(crate) fn feed(&mut self, batch: &Batch) {
        for item in &batch.items {
            self.take_over();
            self.core.is_tail_cut = false;
            match item {
                Item::Server { name, version } => {
                    self.core.server = name.to_string();
                    self.core.ledger.connected(name, version);
                    self.core.names.connected(name);
                }
                Item::File { name, offset } => {
                    self.decoder.start_file(name);
                    self.core.file_starts(name, *offset);
                }
                Item::Event { offset, range } => {
                    let Some(raw) = batch.bytes.get(range.clone()) else { continue };
                    self.core.totals.events += 1;
                    self.core.totals.bytes += raw.len() as u64;
                    self.decoder.event(*offset, raw, &mut self.core);
                }
                Item::Inflated { offset, range, events } => {
                    let (Some(raw), Some(events)) =
                        (batch.bytes.get(range.clone()), batch.bytes.get(events.clone()))
                    else {
                        continue;
                    };
                    self.core.totals.events += 1;
                    self.core.totals.bytes += raw.len() as u64;
                    self.decoder.inflated(*offset, raw, events, &mut self.core);
                }
                Item::Part { offset, range, left } => {
                    let Some(part) = batch.bytes.get(range.clone()) else { continue };
                    self.core.totals.events += u64::from(*left == 0);
                    self.core.totals.bytes += part.len() as u64;
                    self.decoder.part(*offset, part, *left, &mut self.core);
                }
                Item::Damage { offset, bytes, cause } => {
                    self.core.is_tail_cut = matches!(cause, Malformed::Truncated { .. });
                    self.decoder.damaged(*offset, *bytes, cause.clone(), &mut self.core);
                }
                Item::Purged { missing } => self.core.purged(missing),
                Item::Executed { done } => self.core.done_before(done),
                Item::CaughtUp => {
                    self.core.produced.caught_up = true;
                    self.core.is_caught_up = true;
                }
            }
        }
    }

    /// The files end: open findings say their last word. A transaction without its end is not
    /// judged, even if part of it was damaged: the file may grow, and the last checkpoint stands
    /// before it. Only if the very last event is one that could not be read, it counts as the end.
    pub(crate) fn finish(&mut self) {
        let core = &mut self.core;
        let is_refused = core.refused_until == Some(self.decoder.position_after().offset);
        core.is_cut_off |= !is_refused || core.is_tail_cut;
        self.decoder.finish(&mut self.core);
        self.core.engine.finish(&mut self.core.produced.alerts);
    }

    /// What came out since the last call.
    pub(crate) fn take(&mut self) -> Produced {
        std::mem::take(&mut self.core.produced)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.core.engine
    }

    pub(crate) fn classifier(&self) -> &Classifier {
        &self.core.classifier
    }

    /// Everything that the source had was examined.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.core.is_caught_up
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.core.totals
    }
}

impl Core {
    /// Leaves everything as it is if the state cannot be read back.
    fn take_over(&mut self, next: Parts) -> anyhow::Result<()> {
        let prefix = next.table_prefix.clone();
        let (maps, state) = (self.classifier.save(), self.engine.checkpoint());
        let (mut classifier, mut engine) = next.restore(&maps, &state, self.resets)?;
        // What came before is kept as it was judged: a crash must not judge it anew.
        if self.is_dirty {
            self.take_checkpoint();
        }
        classifier.count_on(&self.classifier);
        engine.count_on(&self.engine);
        self.classifier = classifier;
        self.engine = engine;
        self.table_prefix = prefix;
        Ok(())
    }

    fn file_starts(&mut self, name: &Arc<str>, offset: u64) {
        self.ledger.file_starts(name, offset);
        self.position = BinlogPosition { file: name.clone(), offset };
        self.is_cut_off = true;
        // Also a start from which nothing came yet must survive a restart.
        self.is_dirty |= !self.is_open;
    }

    fn done_before(&mut self, done: &GtidState) {
        self.ledger.done_before(done);
        self.is_start_known = true;
        match (&mut self.executed, done) {
            (Some(GtidState::MySql(executed)), GtidState::MySql(done)) => {
                *executed = executed.union(done);
            }
            (Some(GtidState::MariaDb(executed)), GtidState::MariaDb(done)) => {
                // Domains that nothing was seen of yet.
                let mut all = done.clone();
                executed.iter().for_each(|gtid| all.update(&gtid));
                *executed = all;
            }
            (executed, done) => *executed = Some(done.clone()),
        }
        self.is_dirty |= !self.is_open;
    }

    fn purged(&mut self, missing: &str) {
        self.missing("purged", "purged on the server before they were read", missing);
        // They will never come: what follows them is the next position.
        if let (Some(GtidState::MySql(executed)), Ok(missing)) =
            (&mut self.executed, missing.parse::<GtidSet>())
        {
            *executed = executed.union(&missing);
        }
        self.is_dirty = true;
        // What was told before the first transaction is as young as the log that is left.
        if self.totals.transactions > 0 {
            self.names.lost(&Malformed::NoEvent, &self.position);
        }
    }

    /// Transactions that never came: on record, counted, told.
    fn missing(&mut self, cause: &'static str, detail: &str, missing: &str) {
        *self.totals.gaps.entry(cause).or_default() += 1;
        self.produced.gaps.push(GapRecord {
            server: self.ledger.server().into(),
            file: self.position.file.to_string(),
            offset: self.position.offset,
            bytes: 0,
            gtid: missing.to_owned(),
            table: String::new(),
            cause: cause.into(),
            detail: detail.into(),
            time_us: self.totals.last_commit_us,
            once_per_file: false,
        });
        self.engine.missing(missing, &self.position, &mut self.produced.alerts);
    }

    /// Rows of a catalogue table whose columns have no names: which column is which would be a
    /// guess. Recorded once per table and file (and again if there were names in between), counted
    /// each time.
    fn nameless_rows(&mut self, table: &Table, bytes: usize) {
        let prefix = self.table_prefix.as_str();
        let name = table.name.strip_prefix(prefix).unwrap_or(&table.name);
        let is_missing = self
            .classifier
            .names_missing()
            .any(|(database, missing)| database == &*table.database && missing == name);
        if !is_missing {
            return;
        }
        self.names.want(table);
        let table = TableName { database: table.database.clone(), table: Arc::from(name) };
        let cause = Malformed::ColumnNames;
        let at = self.position.clone();
        let gap = Gap { at, bytes: bytes as u64, gtid: None, table: Some(table.clone()), cause };
        let before = self.nameless.insert(table, true);
        if before == Some(true) {
            *self.totals.gaps.entry(gap.cause.label()).or_default() += 1;
            self.engine.gap(&gap, &mut self.produced.alerts);
            return;
        }
        self.gap(&gap);
        if let Some(record) = self.produced.gaps.last_mut() {
            // Names that came and went in between make it another gap.
            record.once_per_file = before.is_none();
        }
    }

    /// The account may not ask for a table's names: on record with the statement that mends it.
    fn names_hidden(&mut self, (database, table): &(String, String), fix: &str) {
        let table = TableName { database: Arc::from(&**database), table: Arc::from(&**table) };
        let at = self.position.clone();
        let cause = Malformed::ColumnNames;
        self.record(&Gap { at, bytes: 0, gtid: None, table: Some(table), cause });
        if let Some(record) = self.produced.gaps.last_mut() {
            record.once_per_file = true;
            record.cause = "names-hidden".into();
            record.detail = format!("the account may not ask for the columns' names: {fix}");
        }
    }

    fn is_examined(&self, gtid: Option<&Gtid>) -> bool {
        match (&self.resumed, &self.executed, gtid) {
            (_, Some(GtidState::MySql(executed)), Some(gtid)) => executed.contains(gtid),
            (Some(GtidState::MariaDb(resumed)), _, Some(gtid)) => resumed.contains(gtid),
            _ => false,
        }
    }

    fn take_checkpoint(&mut self) {
        // From a position in the middle of a server's file nobody tells what came before: asking
        // for all but what was seen would bring it. Such a run goes on by position.
        let is_partial = !self.server.is_empty() && !self.is_start_known;
        let (flavor, gtids) = match &self.executed {
            _ if is_partial => ("", String::new()),
            None => ("", String::new()),
            Some(GtidState::MySql(set)) => ("mysql", set.to_string()),
            Some(GtidState::MariaDb(state)) => ("mariadb", state.to_string()),
        };
        let earlier = self.produced.checkpoint.take().map(|checkpoint| checkpoint.ledger);
        let ledger = self.ledger.take(earlier);
        self.produced.checkpoint = Some(Checkpoint {
            gtids,
            flavor: flavor.into(),
            file: self.position.file.to_string(),
            offset: self.position.offset,
            server: self.server.clone(),
            classifier: self.classifier.save(),
            engine: self.engine.checkpoint(),
            ledger,
            resets: self.resets,
        });
        self.is_checkpoint_wanted = false;
        self.is_dirty = false;
    }

    /// Puts a gap on record, and counts it.
    fn record(&mut self, gap: &Gap) {
        *self.totals.gaps.entry(gap.cause.label()).or_default() += 1;
        let table = gap.table.as_ref().map(|name| format!("{}.{}", name.database, name.table));
        self.produced.gaps.push(GapRecord {
            server: self.ledger.server().into(),
            file: gap.at.file.to_string(),
            offset: gap.at.offset,
            bytes: gap.bytes,
            gtid: gap.gtid.as_ref().map(ToString::to_string).unwrap_or_default(),
            table: table.unwrap_or_default(),
            cause: gap.cause.label().into(),
            detail: gap.cause.to_string(),
            time_us: self.totals.last_commit_us,
            once_per_file: false,
        });
    }

    fn push_observations(&mut self) {
        for observation in self.observations.drain(..) {
            self.engine.push(&observation);
        }
    }
}

impl Visitor for Core {
    fn table(&mut self, table: &Table) -> Plan {
        let plan = self.classifier.table(table);
        for off in self.classifier.take_rules_off() {
            tracing::warn!(
                rule = &*off.rule,
                table = &*off.table,
                column = off.column,
                "a rule of a catalogue file is off: the table has no such column, or it is of \
                 another type than the rule compares with"
            );
        }
        let is_named_by_server = std::mem::take(&mut self.is_named_by_server);
        if self.classifier.take_name_wanted() {
            self.names.want(table);
        } else if plan.projection != Projection::Ignore {
            let name = table.name.strip_prefix(&*self.table_prefix).unwrap_or(&table.name);
            let name = TableName { database: table.database.clone(), table: name.into() };
            if let Some(is_nameless) = self.nameless.get_mut(&name) {
                *is_nameless = false;
            }
            if is_named_by_server {
                self.names.uses(table);
            }
        }
        plan
    }

    fn column_names(&mut self, table: &Table) -> Option<Vec<Arc<str>>> {
        let names = self.names.of(table);
        self.is_named_by_server = names.is_some();
        names
    }

    fn names_revision(&self) -> u64 {
        self.names.revision()
    }

    fn file(&mut self, name: &Arc<str>, server_id: u32, server_version: &str) {
        self.continuity.file(name, server_id);
        self.ledger.written_by(server_id, server_version);
        self.nameless.clear();
    }

    fn previous(&mut self, done: &GtidState) {
        self.ledger.head(done);
        if let Some(missing) = self.continuity.head(done, self.executed.as_ref()) {
            self.missing("file-missing", "in no file that was read", &missing);
        }
    }

    fn begin(&mut self, transaction: &Transaction) {
        self.is_open = true;
        self.is_caught_up = false;
        self.is_cut_off = false;
        self.refused_until = None;
        self.has_gap = false;
        self.ledger.begin();
        self.names.begin(&transaction.start);
        self.is_skipping = self.is_examined(transaction.gtid.as_ref());
        if self.is_skipping {
            self.totals.transactions_skipped += 1;
            return;
        }
        self.totals.transactions += 1;
        self.totals.first_commit_us.get_or_insert(transaction.time.0);
        self.totals.last_commit_us = transaction.time.0;
        self.classifier.begin(transaction);
        self.engine.begin(transaction);
    }

    fn prepares(&mut self, transaction: &Transaction) {
        if !self.is_skipping {
            self.classifier.prepares(transaction);
        }
    }

    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        if self.is_skipping {
            return;
        }
        self.totals.rows += 1;
        self.ledger.row(change.op);
        self.classifier.row(transaction, change, &mut self.observations);
        self.push_observations();
        if let Some(cause) = self.classifier.take_lost() {
            let Table { database, name, .. } = change.table;
            let (database, table) = (database.clone(), name.clone());
            self.gap(&Gap {
                at: BinlogPosition { file: transaction.start.file.clone(), offset: change.offset },
                bytes: 0,
                gtid: transaction.gtid.clone(),
                table: Some(TableName { database, table }),
                cause,
            });
        }
    }

    fn ignored(&mut self, table: &Table, bytes: usize) {
        self.ledger.unwatched(bytes);
        let is_nameless = table.columns.first().is_some_and(|column| column.name.is_none());
        if is_nameless && !self.is_skipping {
            self.nameless_rows(table, bytes);
        }
    }

    fn statement(&mut self, transaction: &Transaction, statement: &Statement<'_>) {
        if self.is_skipping {
            return;
        }
        self.totals.statements += 1;
        self.ledger.statement();
        let at = BinlogPosition { file: transaction.start.file.clone(), offset: statement.offset };
        self.names.statement(statement, &at);
        self.classifier.statement(transaction, statement, &mut self.observations);
        self.push_observations();
    }

    fn end(&mut self, transaction: &Transaction, end: &End, next: &BinlogPosition) {
        let was_skipping = std::mem::replace(&mut self.is_skipping, false);
        self.is_open = false;
        // What the log holds is committed. A transaction whose end was among the damage is judged
        // by the rest of it; one that a connection or file cut off comes again, or is not whole.
        let is_whole = *end != End::Torn || (self.has_gap && !self.is_cut_off);
        let end = if is_whole && *end == End::Torn { &End::Commit } else { end };
        if !was_skipping {
            let engine = &mut self.engine;
            self.classifier.infer(transaction, end, |observation| engine.push(observation));
            for gap in self.classifier.end(transaction, end) {
                self.record(&gap);
                self.engine.gap(&gap, &mut self.produced.alerts);
            }
            for gap in self.engine.end(transaction, end, &mut self.produced.alerts) {
                self.record(&gap);
            }
        }
        if !is_whole {
            return;
        }
        self.ledger.end(transaction, next, !was_skipping);
        if let Some(gtid) = &transaction.gtid {
            self.executed.get_or_insert_with(|| no_transactions(gtid)).insert(gtid);
        } else {
            self.continuity.anonymous();
        }
        self.position = next.clone();
        self.is_dirty = true;
        if self.is_checkpoint_wanted {
            self.take_checkpoint();
        }
    }

    fn gap(&mut self, gap: &Gap) {
        if self.is_skipping {
            return;
        }
        self.has_gap = true;
        if gap.table.is_none() {
            self.refused_until = Some(gap.at.offset.saturating_add(gap.bytes));
            self.names.lost(&gap.cause, &gap.at);
        }
        self.continuity.gap();
        self.record(gap);
        self.engine.gap(gap, &mut self.produced.alerts);
    }
}

fn no_transactions(like: &Gtid) -> GtidState {
    match like {
        Gtid::MySql { .. } => GtidState::MySql(GtidSet::default()),
        Gtid::MariaDb { .. } => GtidState::MariaDb(MariaGtidState::default()),
    }
}

/// Kind of a row change, for totals: create, update, delete.
pub(crate) fn op_name(op: Op) -> &'static str {
    match op {
        Op::Create => "c",
        Op::Update => "u",
        Op::Delete => "d",
    }
}

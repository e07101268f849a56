//! `phiwatch decode`: every row change as JSON lines.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, StdoutLock, Write},
    process::ExitCode,
    sync::Arc,
};

use phiwatch_binlog::{
    BinlogPosition, Decoder, End, Gap, Limits, Plan, Projection, RowChange, Statement, Table,
    TableName, Transaction, Visitor, write_gap_json, write_row_json,
};
use phiwatch_source::{Ahead, Batch, FileSource, Item, Source};

use super::{GAP, say};
use crate::{
    cli::DecodeArgs,
    config::{Config, Overrides},
    live,
    names::Names,
    pipeline::op_name,
};

/// Every column is printed, so all of an event is kept: event and line together stay far below
/// 256 MB.
const EVENT_BYTES_MAX: u32 = 64 << 20;

pub(super) fn run(args: DecodeArgs) -> anyhow::Result<ExitCode> {
    let mut printer = Printer::new(args.count);
    let mut decoder = Decoder::new(Limits { event_bytes_max: EVENT_BYTES_MAX });
    if let Some(url) = args.source {
        let overrides = Overrides { source: Some(url), ..Overrides::default() };
        let config = Config::load(args.config.as_deref(), overrides)?;
        let mut live = live::for_decode(&config)?;
        printer.names = std::mem::take(&mut live.names);
        printer.read(&mut decoder, &mut live.source)?;
    } else {
        printer.read(&mut decoder, &mut Ahead::new(FileSource::new(args.files)))?;
    }
    decoder.finish(&mut printer);
    printer.finish()
}

/// Database, table and kind of change.
type Counted = (Arc<str>, Arc<str>, &'static str);

/// Prints rows (or counts them), and gaps on stderr.
struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    line: Vec<u8>,
    file: Arc<str>,
    names: Names,
    /// With `--count`.
    counts: Option<BTreeMap<Counted, u64>>,
    gaps: u64,
    /// Event whose row did not decode: reported once.
    refused_event: Option<u64>,
    failure: Option<io::Error>,
}

impl Printer {
    fn new(is_count: bool) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 18, io::stdout().lock()),
            line: Vec::new(),
            file: Arc::from(""),
            names: Names::default(),
            counts: is_count.then(BTreeMap::new),
            gaps: 0,
            refused_event: None,
            failure: None,
        }
    }

    fn read(&mut self, decoder: &mut Decoder, source: &mut impl Source) -> anyhow::Result<()> {
        while let Some(batch) = source.next_batch()? {
            self.feed(decoder, &batch)?;
            source.recycle(batch);
        }
        Ok(())
    }

    fn feed(&mut self, decoder: &mut Decoder, batch: &Batch) -> io::Result<()> {
        decoder.set_verified(batch.is_verified);
        for item in &batch.items {
            match item {
                Item::File { name, .. } => {
                    self.file = name.clone();
                    decoder.start_file(name);
                }
                Item::Event { offset, range } => {
                    let Some(raw) = batch.bytes.get(range.clone()) else { continue };
                    decoder.event(*offset, raw, self);
                }
                Item::Inflated { offset, range, events } => {
                    let (Some(raw), Some(events)) =
                        (batch.bytes.get(range.clone()), batch.bytes.get(events.clone()))
                    else {
                        continue;
                    };
                    decoder.inflated(*offset, raw, events, self);
                }
                Item::Part { offset, range, left } => {
                    let Some(part) = batch.bytes.get(range.clone()) else { continue };
                    decoder.part(*offset, part, *left, self);
                }
                Item::Damage { offset, bytes, cause } => {
                    decoder.damaged(*offset, *bytes, cause.clone(), self);
                }
                Item::Purged { missing } => {
                    self.gaps += 1;
                    say(&format!("purged on the server before it was read: {missing}"));
                }
                Item::Server { .. } | Item::Executed { .. } | Item::CaughtUp => {}
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<ExitCode> {
        for ((database, table, op), rows) in self.counts.iter().flatten() {
            let line =
                serde_json::json!({"db": &**database, "table": &**table, "op": op, "rows": rows});
            writeln!(self.out, "{line}")?;
        }
        self.out.flush()?;
        if self.gaps > 0 {
            return Ok(ExitCode::from(GAP));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Visitor for Printer {
    fn table(&mut self, _table: &Table) -> Plan {
        let projection =
            if self.counts.is_some() { Projection::Columns(Vec::new()) } else { Projection::All };
        Plan { projection, handle: 0 }
    }

    fn column_names(&mut self, table: &Table) -> Option<Vec<Arc<str>>> {
        self.names.of(table)
    }

    fn names_revision(&self) -> u64 {
        self.names.revision()
    }

    fn begin(&mut self, _transaction: &Transaction) {}

    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        if let Some(counts) = &mut self.counts {
            let key =
                (change.table.database.clone(), change.table.name.clone(), op_name(change.op));
            *counts.entry(key).or_default() += 1;
            return;
        }
        self.line.clear();
        match write_row_json(&mut self.line, &self.file, transaction, change) {
            Ok(()) => {
                if let Err(failure) = self.out.write_all(&self.line) {
                    self.failure.get_or_insert(failure);
                }
            }
            Err(cause) if self.refused_event != Some(change.offset) => {
                self.refused_event = Some(change.offset);
                let table = TableName {
                    database: change.table.database.clone(),
                    table: change.table.name.clone(),
                };
                let at = BinlogPosition { file: self.file.clone(), offset: change.offset };
                let gtid = transaction.gtid.clone();
                self.gap(&Gap { at, bytes: 0, gtid, table: Some(table), cause });
            }
            Err(_) => {}
        }
    }

    fn statement(&mut self, transaction: &Transaction, statement: &Statement<'_>) {
        // After a DDL the names are another table's.
        let file = transaction.start.file.clone();
        self.names.statement(statement, &BinlogPosition { file, offset: statement.offset });
    }

    fn end(&mut self, _transaction: &Transaction, _end: &End, _next: &BinlogPosition) {}

    fn gap(&mut self, gap: &Gap) {
        self.gaps += 1;
        if gap.table.is_none() {
            self.names.lost(&gap.cause, &gap.at);
        }
        let mut line = Vec::new();
        write_gap_json(&mut line, gap);
        say(String::from_utf8_lossy(&line).trim_end());
    }
}

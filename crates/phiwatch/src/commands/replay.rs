//! `phiwatch replay`: the same engine over binlog files; alerts as JSON lines.

use std::{
    io::{self, BufWriter, StdoutLock, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use phiwatch_sink::wire::{self, WireContext};
use phiwatch_source::{Ahead, FileSource, Source};

use super::{GAP, say};
use crate::{
    cli::ReplayArgs,
    config::{Config, Overrides},
    output,
    pipeline::{Pipeline, Produced},
    progress::Progress,
    setup,
    store::{self, Checkpoint, DirectoryLock, Store},
};

/// Time between checkpoints of a replay with `--state`.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

pub(super) fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.as_deref(), Overrides::default())?;
    let kept = args.state.as_deref().map(Kept::open).transpose()?;
    let checkpoint = match &kept {
        Some(kept) => kept.store.checkpoint()?,
        None => None,
    };
    let key = match args.state.as_deref() {
        Some(dir) => setup::token_key(&config, dir)?,
        None => setup::passing_key()?,
    };
    let pipeline = setup::pipeline(&config, &key, checkpoint.as_ref())?;
    let source = open_files(args.files, checkpoint.as_ref());
    let mut replay = Replay {
        pipeline,
        kept,
        out: BufWriter::new(io::stdout().lock()),
        context: WireContext::default(),
        alerts: 0,
        gaps: 0,
    };
    let started = Instant::now();
    replay.read(source)?;
    replay.summary(started.elapsed(), args.bench);
    Ok(if replay.gaps > 0 { ExitCode::from(GAP) } else { ExitCode::SUCCESS })
}

/// The files that are left after a checkpoint: from its file on, at its offset. Files without
/// its name are read whole; the transactions of them that it covers are passed over.
pub(super) fn open_files(files: Vec<PathBuf>, checkpoint: Option<&Checkpoint>) -> FileSource {
    let is_checkpoints = |path: &PathBuf, checkpoint: &Checkpoint| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes() == checkpoint.file.as_bytes())
    };
    let found = checkpoint.and_then(|checkpoint| {
        let at = files.iter().position(|path| is_checkpoints(path, checkpoint))?;
        Some((at, checkpoint.offset))
    });
    match found {
        Some((at, offset)) => {
            FileSource::new(files.into_iter().skip(at).collect()).with_start(offset)
        }
        None => FileSource::new(files),
    }
}

/// The state directory of a replay that goes on later.
struct Kept {
    store: Store,
    last: Instant,
    _lock: DirectoryLock,
}

impl Kept {
    fn open(dir: &Path) -> anyhow::Result<Self> {
        let lock = store::lock_directory(dir)?;
        Ok(Self { store: Store::open(dir)?, last: Instant::now(), _lock: lock })
    }
}

struct Replay {
    pipeline: Pipeline,
    kept: Option<Kept>,
    out: BufWriter<StdoutLock<'static>>,
    context: WireContext,
    alerts: u64,
    gaps: u64,
}

impl Replay {
    fn read(&mut self, source: FileSource) -> anyhow::Result<()> {
        let read = source.progress();
        let mut progress = Progress::new(read.total_bytes());
        let mut source = Ahead::new(source);
        while let Some(batch) = source.next_batch()? {
            if let Some(kept) = &mut self.kept
                && kept.last.elapsed() >= CHECKPOINT_EVERY
            {
                kept.last = Instant::now();
                self.pipeline.want_checkpoint();
            }
            self.pipeline.feed(&batch);
            source.recycle(batch);
            self.print()?;
            progress.set(read.read_bytes());
        }
        progress.finish();
        self.pipeline.finish();
        // After the findings' last word, so that a further replay numbers their states on.
        self.pipeline.checkpoint_now();
        self.print()
    }

    fn print(&mut self) -> anyhow::Result<()> {
        let produced: Produced = self.pipeline.take();
        self.gaps += produced.gaps.len() as u64;
        for alert in &produced.alerts {
            self.alerts += 1;
            writeln!(self.out, "{}", wire::ocsf(alert, &self.context))?;
        }
        if !produced.alerts.is_empty() || produced.checkpoint.is_some() {
            self.out.flush()?;
        }
        let Some(kept) = &mut self.kept else { return Ok(()) };
        let batch = output::batch(&produced, &self.context);
        if !batch.is_empty() {
            kept.store.commit(&batch)?;
        }
        Ok(())
    }

    fn summary(&self, took: Duration, is_bench: bool) {
        let totals = self.pipeline.totals();
        say(&format!(
            "examined {} transactions, {} row changes of watched tables, {} statements; {} alerts, {} gaps",
            totals.transactions, totals.rows, totals.statements, self.alerts, self.gaps
        ));
        if totals.transactions_skipped > 0 {
            let skipped = totals.transactions_skipped;
            say(&format!("passed over {skipped} transactions that were examined before"));
        }
        super::say_expected(&self.pipeline);
        for (cause, count) in &totals.gaps {
            say(&format!("gap: {cause}: {count}"));
        }
        if is_bench {
            let secs = took.as_secs_f64();
            say(&format!(
                "bench: rows={} bytes={} events={} seconds={secs:.3}",
                totals.rows, totals.bytes, totals.events
            ));
        }
    }
}

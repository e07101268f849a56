//! `phiwatch run`: follows a server until it is stopped.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use phiwatch_sink::{AnySink, Sink};
use phiwatch_source::{Item, LiveHandle, LiveSource, Source};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{GAP, decisions, say};
use crate::{
    cli::RunArgs,
    config::{Config, Overrides},
    delivery::Delivery,
    http, live,
    metrics::Metrics,
    notices,
    output::Output,
    pipeline::{Pipeline, Produced},
    reload::{Reloader, Reloads},
    setup, sinks,
    store::{self, Store},
};

/// Time and bytes between checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
const CHECKPOINT_BYTES: u64 = 32 << 20;
/// Time between two looks at the source for the metrics.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// How long a stop waits for the sinks; what they have not taken by then waits in the store.
const GRACE: Duration = Duration::from_secs(3);
/// The same for `--once`, which is meant to deliver.
const GRACE_ONCE: Duration = Duration::from_secs(30);

pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let overrides = Overrides {
        source: args.source,
        kafka: args.kafka,
        state: args.state,
        listen: args.listen,
    };
    let config = Config::load(args.config.as_deref(), overrides.clone())?;
    // What is wrong on the command line is said before anything is made or opened.
    live::login(&config)?;
    for words in config.ended_exceptions(jiff::Timestamp::now()) {
        tracing::warn!("{words}");
    }
    let dir = &config.file.state.dir;
    let _lock = store::lock_directory(dir)?;
    let store = Store::open(dir)?;
    let loaded = decisions::loaded(args.config.as_deref())?;
    // A store that cannot be written just now delays no start: the next write brings it.
    let audits = if store.audit_at_once(&loaded)? { Vec::new() } else { vec![loaded] };
    let checkpoint = store.checkpoint()?;
    let key = setup::token_key(&config, dir)?;
    let pipeline = setup::pipeline(&config, &key, checkpoint.as_ref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let metrics = Arc::new(Metrics::new()?);
    let reloader = Reloader { path: args.config, overrides, started: config.clone(), key };
    let reloads = reloader.listen(&runtime, metrics.clone())?;
    let sinks = sinks::open(&config)?;
    let names: Vec<String> = sinks.iter().map(|sink| sink.name().to_owned()).collect();
    serve(&runtime, &config, &metrics, &names)?;
    let stopping = Arc::new(AtomicBool::new(false));
    let (stop, stopped) = watch::channel(false);
    let (bell, rung) = watch::channel(0);
    let grace = if args.once { GRACE_ONCE } else { GRACE };
    let deliveries = deliver(sinks, &config, &rung, &stopped, &metrics, grace)?;
    let signals = Signals { stopping: stopping.clone() };
    let handle = signals.listen(&runtime)?;
    // Whatever the server holds after a reset, its tables tell.
    let is_first = checkpoint.as_ref().is_none_or(|checkpoint| !checkpoint.has_place());
    let resets = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.resets);
    let context = phiwatch_sink::wire::WireContext::default();
    let output = Output { store, context, metrics: metrics.clone(), audits, bell };
    let connected =
        live::connect(&runtime, &config, checkpoint.as_ref(), args.once, &stopping).transpose();
    let Some(connected) = connected else { return Ok(ExitCode::SUCCESS) };
    let server = checkpoint.map(|checkpoint| checkpoint.server).unwrap_or_default();
    let (is_once, hidden) = (args.once, BTreeSet::new());
    let mut follow =
        Follow { pipeline, output, stopping, is_once, gaps: 0, server, resets, hidden, reloads };
    let outcome = connected.and_then(|source| {
        handle.send_replace(Some(source.handle()));
        runtime.spawn(watch_source(source.handle(), metrics));
        live::prepare(&runtime, &config, &mut follow.pipeline, is_first)?;
        follow.follow(source)
    });
    if let Err(error) = &outcome {
        follow.ended(error)?;
    }
    let written = follow.end();
    stop.send_replace(true);
    end(deliveries, grace + GRACE);
    outcome?;
    written?;
    Ok(if args.once && follow.gaps > 0 { ExitCode::from(GAP) } else { ExitCode::SUCCESS })
}

/// Shows how the source does also while its consumer waits.
async fn watch_source(handle: LiveHandle, metrics: Arc<Metrics>) {
    loop {
        show(&handle, &metrics);
        tokio::time::sleep(SHOW_EVERY).await;
    }
}

fn show(handle: &LiveHandle, metrics: &Metrics) {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    metrics.observe_source(&handle.status(), now.unwrap_or_default().as_secs_f64());
}

/// Waits for the delivery threads, but not for ever: a sink may hang in a call that nobody can end.
fn end(deliveries: Vec<JoinHandle<()>>, patience: Duration) {
    let until = Instant::now() + patience;
    for delivery in deliveries {
        while !delivery.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !delivery.is_finished() {
            tracing::warn!("a sink does not answer; its alerts wait in the store");
        } else if delivery.join().is_err() {
            tracing::error!("a delivery thread ended badly; its alerts wait in the store");
        }
    }
}

/// SIGTERM and SIGINT stop the source; what it has handed out is still examined.
struct Signals {
    stopping: Arc<AtomicBool>,
}

impl Signals {
    /// The returned channel takes the source to stop, once there is one.
    fn listen(self, runtime: &Runtime) -> anyhow::Result<watch::Sender<Option<LiveHandle>>> {
        let (sender, receiver) = watch::channel(None::<LiveHandle>);
        let _guard = runtime.enter();
        let mut terminate = signal(SignalKind::terminate()).context("cannot take SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot take SIGINT")?;
        runtime.spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            self.stopping.store(true, Ordering::Relaxed);
            tracing::info!("stopping");
            // The source may come up between the signal and its registration.
            loop {
                if let Some(handle) = &*receiver.borrow() {
                    handle.stop();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Ok(sender)
    }
}

fn serve(
    runtime: &Runtime,
    config: &Config,
    metrics: &Arc<Metrics>,
    sinks: &[String],
) -> anyhow::Result<()> {
    let listen = &config.file.http.listen;
    if listen.is_empty() {
        return Ok(());
    }
    let listener = runtime.block_on(http::bind(listen))?;
    tracing::info!(address = %http::address(&listener)?, "listening");
    let shared = Arc::new(http::Shared {
        state_dir: config.file.state.dir.clone(),
        metrics: metrics.clone(),
        sinks: sinks.to_vec(),
    });
    runtime.spawn(async move {
        if let Err(error) = http::serve(listener, shared).await {
            tracing::error!(error = %error, "the page and the metrics are not served any more");
        }
    });
    Ok(())
}

fn deliver(
    sinks: Vec<AnySink>,
    config: &Config,
    bell: &watch::Receiver<u64>,
    stop: &watch::Receiver<bool>,
    metrics: &Arc<Metrics>,
    grace: Duration,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    sinks
        .into_iter()
        .map(|sink| {
            let delivery = Delivery {
                state_dir: config.file.state.dir.clone(),
                sink,
                bell: bell.clone(),
                stop: stop.clone(),
                metrics: metrics.clone(),
                grace,
            };
            // A thread of its own: SQLite blocks, and a slow sink must not slow the reader.
            std::thread::Builder::new()
                .name("deliver".into())
                .spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build();
                    match runtime {
                        Ok(runtime) => runtime.block_on(delivery.run()),
                        Err(error) => tracing::error!(error = %error, "no delivery"),
                    }
                })
                .context("cannot start a delivery thread")
        })
        .collect()
}

struct Follow {
    pipeline: Pipeline,
    output: Output,
    stopping: Arc<AtomicBool>,
    is_once: bool,
    gaps: u64,
    /// The server that was read last.
    server: String,
    /// How often its log began anew.
    resets: u32,
    /// What the account may not ask, as far as told.
    hidden: BTreeSet<String>,
    /// Changed files, once they were read.
    reloads: Reloads,
}

impl Follow {
    fn follow(&mut self, mut source: LiveSource) -> anyhow::Result<()> {
        let handle = source.handle();
        let mut due = Instant::now() + CHECKPOINT_EVERY;
        let mut due_bytes = CHECKPOINT_BYTES;
        self.show(&handle)?;
        let mut is_first = true;
        loop {
            let batch = match source.next_batch() {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(()),
                Err(error) => return Err(live::with_hint(error, "cannot follow the server")),
            };
            let bytes = self.pipeline.totals().bytes;
            if Instant::now() >= due || bytes >= due_bytes {
                due = Instant::now() + CHECKPOINT_EVERY;
                due_bytes = bytes + CHECKPOINT_BYTES;
                self.pipeline.want_checkpoint();
            }
            let is_idle = batch.items.last() == Some(&Item::CaughtUp);
            self.names_told(&handle)?;
            self.reloads.hand(&mut self.pipeline);
            self.pipeline.feed(&batch);
            source.recycle(batch);
            if let Some(audit) = self.reloads.tell(&mut self.pipeline) {
                self.output.audits.push(audit);
            }
            let wanted = self.pipeline.names_mut().take_wanted();
            if !wanted.is_empty() {
                handle.describe(wanted);
            }
            if is_idle || is_first {
                // Nothing more comes at once: the position is worth keeping now. The first one is
                // what a restart goes on from, even if nothing ever came.
                self.pipeline.checkpoint_now();
                is_first = false;
            }
            let is_caught_up = self.write(Some(&handle))?;
            self.show(&handle)?;
            if is_caught_up {
                self.output.metrics.set_caught_up();
                if self.is_once {
                    return Ok(());
                }
            }
        }
    }

    /// Stores what came out; tells whether the source has caught up.
    fn write(&mut self, handle: Option<&LiveHandle>) -> anyhow::Result<bool> {
        let produced = self.pipeline.take();
        let kept = produced.checkpoint.as_ref().map(|checkpoint| checkpoint.file.clone());
        self.gaps += produced.gaps.len() as u64;
        for gap in &produced.gaps {
            tracing::warn!(
                file = gap.file,
                pos = gap.offset,
                cause = gap.cause,
                detail = gap.detail,
                "coverage gap"
            );
        }
        self.store(&produced)?;
        if let (Some(file), Some(handle)) = (kept, handle) {
            handle.keep(&file);
        }
        self.output.metrics.observe(&self.pipeline);
        Ok(produced.caught_up)
    }

    /// What the server said of tables whose rows have no column names.
    fn names_told(&mut self, handle: &LiveHandle) -> anyhow::Result<()> {
        for description in handle.take_descriptions() {
            let alert = notices::of_hidden(&description);
            self.pipeline.told(description);
            if let Some((fact, alert)) = alert
                && self.hidden.insert(fact)
            {
                self.store(&Produced { alerts: vec![alert], ..Produced::default() })?;
            }
        }
        Ok(())
    }

    /// What is to be known beside the stream.
    fn show(&mut self, handle: &LiveHandle) -> anyhow::Result<()> {
        show(handle, &self.output.metrics);
        let alerts = handle.take_notices();
        let alerts = alerts.iter().map(|notice| notices::of_notice(notice, self.resets)).collect();
        self.server = handle.status().server_name;
        self.store(&Produced { alerts, ..Produced::default() })
    }

    /// Reading ended with an error: what it means for the coverage is told and on record.
    fn ended(&mut self, error: &anyhow::Error) -> anyhow::Result<()> {
        match notices::of_end(error, &self.server, self.resets) {
            Some(produced) => self.store(&produced),
            None => Ok(()),
        }
    }

    fn store(&mut self, produced: &Produced) -> anyhow::Result<()> {
        let stopping = self.stopping.clone();
        Ok(self.output.write(produced, &move || stopping.load(Ordering::Relaxed))?)
    }

    /// The last checkpoint. Within a transaction there is none: the previous one stands.
    fn end(&mut self) -> anyhow::Result<()> {
        self.pipeline.checkpoint_now();
        self.write(None)?;
        let totals = self.pipeline.totals();
        say(&format!(
            "examined {} transactions, {} row changes of watched tables, {} gaps",
            totals.transactions, totals.rows, self.gaps
        ));
        super::say_expected(&self.pipeline);
        Ok(())
    }
}

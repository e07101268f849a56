//! `phiwatch demo`: a recorded shop with incidents through the same pipeline, without a server.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use phiwatch_sink::wire::{self, WireContext};
use phiwatch_source::{FileSource, Source};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::say;
use crate::{
    cli::DemoArgs,
    config::{Config, Overrides},
    http,
    metrics::Metrics,
    output::Output,
    page, setup,
    store::Store,
};

/// Four weeks of a shop with two tenants, recorded from a real server (fixtures/README.md).
const BINLOGS: [(&str, &[u8]); 4] = [
    ("binlog.000001", include_bytes!("../../../../fixtures/demo/binlog.000001")),
    ("binlog.000002", include_bytes!("../../../../fixtures/demo/binlog.000002")),
    ("binlog.000003", include_bytes!("../../../../fixtures/demo/binlog.000003")),
    ("binlog.000004", include_bytes!("../../../../fixtures/demo/binlog.000004")),
];

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let dir = tempfile::tempdir().context("cannot make a folder for the demo")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let listener = if args.exit { None } else { Some(runtime.block_on(http::bind(&args.listen))?) };
    let metrics = Arc::new(Metrics::new()?);
    replay(args, dir.path(), &metrics)?;
    let Some(listener) = listener else { return Ok(ExitCode::SUCCESS) };
    let address = http::address(&listener)?;
    say(&format!(
        "\nThe findings are at http://{address}/, metrics at http://{address}/metrics. Ctrl-C ends it."
    ));
    let shared =
        Arc::new(http::Shared { state_dir: dir.path().to_owned(), metrics, sinks: Vec::new() });
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot take SIGTERM")?;
        tokio::select! {
            served = http::serve(listener, shared) => served.context("cannot serve the page"),
            _ = terminate.recv() => Ok(()),
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn replay(args: &DemoArgs, dir: &Path, metrics: &Arc<Metrics>) -> anyhow::Result<()> {
    say("Replaying four weeks of a recorded shop with two tenants (MySQL 9.7 binlogs):");
    let started = Instant::now();
    let config = Config::load(None, Overrides::default())?;
    let mut pipeline = setup::pipeline(&config, &setup::passing_key()?, None)?;
    let mut output = Output {
        store: Store::open(dir)?,
        context: WireContext::default(),
        metrics: metrics.clone(),
        audits: Vec::new(),
        bell: watch::channel(0).0,
    };
    let mut source = FileSource::new(unpack(dir)?);
    let mut findings = 0;
    let mut is_last = false;
    while !is_last {
        match source.next_batch()? {
            Some(batch) => pipeline.feed(&batch),
            None => {
                pipeline.finish();
                is_last = true;
            }
        }
        let produced = pipeline.take();
        output.write(&produced, &|| false)?;
        for alert in &produced.alerts {
            let line = wire::ocsf(alert, &output.context);
            findings += u64::from(alert.revision == 0);
            print(args, &line)?;
        }
    }
    metrics.observe(&pipeline);
    metrics.set_connected(true);
    metrics.set_caught_up();
    let totals = pipeline.totals();
    say(&format!(
        "{findings} findings in {} transactions with {} row changes of watched tables, {:.1} s.",
        totals.transactions,
        totals.rows,
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn unpack(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    BINLOGS
        .iter()
        .map(|(name, bytes)| {
            let path = dir.join(name);
            std::fs::write(&path, bytes).context("cannot unpack the recorded binlogs")?;
            Ok(path)
        })
        .collect()
}

fn print(args: &DemoArgs, line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{line}")?;
        return Ok(());
    }
    let alert: serde_json::Value = serde_json::from_str(line)?;
    let state = match page::field(&alert, "/activity_name") {
        "Create" => "",
        "Update" => "  (update)",
        // That a finding has become quiet is news for a SOC, not for a look at the demo.
        _ => return Ok(()),
    };
    writeln!(
        out,
        "{}  {:<13} {:<19} {:<10} {}{state}",
        page::time(&alert, "/time"),
        page::field(&alert, "/severity"),
        page::field(&alert, "/finding_info/analytic/uid"),
        page::field(&alert, "/metadata/tenant_uid"),
        page::field(&alert, "/message"),
    )?;
    Ok(())
}

//! `phiwatch doctor`: what would lose data, and the statement that mends it.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use phiwatch_sink::Sink;
use tokio::runtime::Runtime;

use crate::{
    cli::DoctorArgs,
    config::{Config, Overrides},
    live, sinks,
    store::{self, Store},
};

/// Free space below which a busy shop's alerts and checkpoints may not fit, bytes.
const DISK_BYTES_MIN: u64 = 200 << 20;

pub(super) fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let overrides = Overrides {
        source: args.source,
        kafka: args.kafka,
        state: args.state,
        ..Overrides::default()
    };
    let config = Config::load(args.config.as_deref(), overrides)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let mut report = Report::default();
    report.add(Level::Ok, "configuration", "every key is known and in its range", None);
    check_servers(&runtime, &config, &mut report);
    check_sinks(&runtime, &config, &mut report);
    check_state(&config.file.state.dir, &mut report);
    report.print()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

struct Line {
    level: Level,
    name: String,
    what: String,
    fix: Option<String>,
}

#[derive(Default)]
struct Report {
    lines: Vec<Line>,
}

impl Report {
    fn add(&mut self, level: Level, name: &str, what: impl Into<String>, fix: Option<String>) {
        self.lines.push(Line { level, name: name.to_owned(), what: what.into(), fix });
    }

    fn print(&self) -> anyhow::Result<ExitCode> {
        let mut out = io::stdout().lock();
        for line in &self.lines {
            let level = match line.level {
                Level::Ok => "ok  ",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            writeln!(out, "{level}  {}: {}", line.name, line.what)?;
            if let Some(fix) = &line.fix {
                writeln!(out, "      fix: {fix}")?;
            }
        }
        let fails = self.lines.iter().filter(|line| line.level == Level::Fail).count();
        if fails > 0 {
            writeln!(out, "{fails} of {} checks failed", self.lines.len())?;
            return Ok(ExitCode::from(super::FAILED));
        }
        let warnings = self.lines.iter().filter(|line| line.level == Level::Warn).count();
        writeln!(out, "all {} checks passed, {warnings} with a warning", self.lines.len())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn check_servers(runtime: &Runtime, config: &Config, report: &mut Report) {
    let addresses = match live::addresses(config) {
        Ok(addresses) => addresses,
        Err(error) => return failed(Level::Fail, "server", &error, report),
    };
    for (number, address) in addresses.iter().enumerate() {
        let at = |name: &str| match addresses.len() {
            1 => name.to_owned(),
            _ => format!("{address} {name}"),
        };
        match live::findings(runtime, config, address) {
            Ok(findings) => {
                for finding in findings {
                    let level = match finding.severity {
                        phiwatch_source::Severity::Ok => Level::Ok,
                        phiwatch_source::Severity::Warn => Level::Warn,
                        phiwatch_source::Severity::Fail => Level::Fail,
                    };
                    report.add(level, &at(finding.name), finding.what, finding.fix);
                }
            }
            // One that only a failover needs may be away today.
            Err(error) => {
                let level = if number == 0 { Level::Fail } else { Level::Warn };
                failed(level, &at("server"), &error, report);
            }
        }
    }
}

/// An error with its hint as what mends it.
fn failed(level: Level, name: &str, error: &anyhow::Error, report: &mut Report) {
    let mut text = format!("{error:#}");
    let fix = text.split_once("\nhint: ").map(|(_, hint)| hint.to_owned());
    if let Some((words, _)) = text.split_once('\n') {
        text = format!("{words}: {}", error.root_cause());
    }
    report.add(level, name, text, fix);
}

fn check_sinks(runtime: &Runtime, config: &Config, report: &mut Report) {
    let sinks = match sinks::open(config) {
        Ok(sinks) => sinks,
        Err(error) => return report.add(Level::Fail, "sinks", format!("{error:#}"), None),
    };
    if sinks.is_empty() {
        let what = "none configured: alerts stay in the store and on the page";
        report.add(Level::Warn, "sinks", what, Some("add a [[sink]] to the configuration".into()));
    }
    for sink in sinks {
        let name = format!("sink {}", sink.name());
        match runtime.block_on(sink.check()) {
            Ok(()) => report.add(Level::Ok, &name, "reachable", None),
            Err(error) => {
                report.add(Level::Fail, &name, error.message(), Some(error.next().to_owned()));
            }
        }
    }
}

fn check_state(dir: &Path, report: &mut Report) {
    let _lock = match store::lock_directory(dir) {
        Ok(lock) => lock,
        Err(error @ store::StoreError::InUse { .. }) => {
            return report.add(Level::Ok, "state directory", error.to_string(), None);
        }
        Err(error) => {
            let fix = format!("install -d -m 0700 {}", dir.display());
            let error = anyhow::Error::new(error);
            return report.add(Level::Fail, "state directory", format!("{error:#}"), Some(fix));
        }
    };
    match Store::open(dir).and_then(|store| store.gaps()) {
        Ok(0) => report.add(Level::Ok, "store", "usable, no gap on record", None),
        Ok(gaps) => report.add(Level::Warn, "store", format!("{gaps} gaps on record"), None),
        Err(error) => report.add(Level::Fail, "store", error.to_string(), None),
    }
    let free = fs4::available_space(dir).unwrap_or(0);
    let what = format!("{} MB free", free / 1_000_000);
    if free < DISK_BYTES_MIN {
        report.add(Level::Fail, "disk", what, Some("free at least 200 MB".into()));
    } else {
        report.add(Level::Ok, "disk", what, None);
    }
}

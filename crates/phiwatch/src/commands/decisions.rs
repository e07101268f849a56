//! `phiwatch decisions`: what was decided, by whom, and until when.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::decide;
use crate::{
    cli::DecisionsArgs,
    config::Config,
    store::{
        Store,
        decisions::{Audit, Snooze},
    },
};

/// The row of the audit log that a start or reload of `run` leaves: which configuration, not what is in it.
pub(crate) fn loaded(file: Option<&Path>) -> anyhow::Result<Audit> {
    let detail = match file {
        None => "no file: the defaults and the command line".to_owned(),
        Some(file) => {
            let bytes = std::fs::read(file)
                .with_context(|| format!("cannot read the configuration {}", file.display()))?;
            let mut detail = "sha256:".to_owned();
            for byte in Sha256::digest(bytes) {
                write!(detail, "{byte:02x}")?;
            }
            detail
        }
    };
    Ok(Audit {
        time_ms: Timestamp::now().as_millisecond(),
        who: "phiwatch run".into(),
        action: "configuration".into(),
        detail,
        ..Audit::default()
    })
}

/// The whole answer, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Answer {
    counts: BTreeMap<&'static str, u64>,
    /// The last one of each finding.
    verdicts: Vec<Audit>,
    snoozes: Vec<Snoozed>,
    exceptions: Vec<Expected>,
    maintenance: Vec<Expected>,
    /// All of it, oldest first.
    audit: Vec<Audit>,
}

#[derive(Debug, Serialize)]
struct Snoozed {
    running: bool,
    #[serde(flatten)]
    snooze: Snooze,
}

/// What the configuration expects.
#[derive(Debug, Serialize)]
struct Expected {
    name: String,
    /// Empty for maintenance.
    owner: String,
    reason: String,
    /// What it is about: rules, or tables.
    about: Vec<String>,
    expires: String,
    /// Whole days until then by the clock; negative if it has ended.
    days_left: i64,
}

pub(super) fn run(args: &DecisionsArgs) -> anyhow::Result<ExitCode> {
    let config = decide::config(&args.store)?;
    let store = Store::open_existing(&config.file.state.dir)?;
    let answer = Answer::new(&store, &config, Timestamp::now())?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
    } else {
        out.write_all(answer.text()?.as_bytes())?;
        if args.store.config.is_none() {
            super::say("hint: --config FILE shows its exceptions and maintenance windows, too");
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Answer {
    fn new(store: &Store, config: &Config, now: Timestamp) -> anyhow::Result<Self> {
        let audit = store.audits()?;
        let mut last: BTreeMap<&str, &Audit> = BTreeMap::new();
        for row in audit.iter().filter(|row| row.action == "verdict") {
            last.insert(&row.uid, row);
        }
        let mut verdicts: Vec<Audit> = last.into_values().cloned().collect();
        verdicts.sort_by_key(|row| row.time_ms);
        let is_running = |one: &Snooze| now.as_millisecond() < one.until_ms;
        let snoozes: Vec<Snoozed> = store
            .snoozes()?
            .into_iter()
            .map(|snooze| Snoozed { running: is_running(&snooze), snooze })
            .collect();
        let (held, waiting) = store.held()?;
        let (exceptions, maintenance) = expected(config, now);
        let count = |len: usize| len as u64;
        let of = |word: &str| count(verdicts.iter().filter(|row| row.detail == word).count());
        let counts = BTreeMap::from([
            ("verdicts_true", of("true")),
            ("verdicts_benign", of("benign")),
            ("verdicts_expected", of("expected")),
            ("snoozes_running", count(snoozes.iter().filter(|one| one.running).count())),
            ("snoozes_ended", count(snoozes.iter().filter(|one| !one.running).count())),
            ("alerts_held_back", held),
            ("alerts_held_back_now", waiting),
            ("exceptions", count(exceptions.len())),
            ("maintenance_windows", count(maintenance.len())),
            ("audit_rows", count(audit.len())),
        ]);
        Ok(Self { counts, verdicts, snoozes, exceptions, maintenance, audit })
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        for (name, count) in &self.counts {
            writeln!(out, "{name} {count}")?;
        }
        writeln!(out, "\nVerdicts")?;
        for Audit { time_ms, who, detail, reason, uid, rule, tenant, .. } in &self.verdicts {
            let time = time(*time_ms);
            writeln!(out, "  {time}  {detail}  {uid}  {rule} of {tenant}; {who}: {reason}")?;
        }
        writeln!(out, "\nSnoozes")?;
        for Snoozed { running, snooze } in &self.snoozes {
            let state = if *running { "until" } else { "ended" };
            let Snooze { until_ms, who, reason, uid, rule, severity_max, .. } = snooze;
            let until = time(*until_ms);
            writeln!(out, "  {state} {until}  {uid}{rule} up to {severity_max}; {who}: {reason}")?;
        }
        for (title, list) in [("Exceptions", &self.exceptions), ("Maintenance", &self.maintenance)]
        {
            writeln!(out, "\n{title}")?;
            for Expected { name, owner, reason, about, expires, days_left } in list {
                let about = about.join(", ");
                let left = if *days_left < 0 {
                    "ended".to_owned()
                } else {
                    format!("{days_left} days left")
                };
                write!(out, "  {name} until {expires} ({left}): {about}")?;
                let by =
                    if owner.is_empty() { String::new() } else { format!("; {owner}: {reason}") };
                writeln!(out, "{by}")?;
            }
        }
        writeln!(out, "\nAudit log")?;
        for Audit { time_ms, who, action, detail, reason, uid, .. } in &self.audit {
            let line = format!("  {}  {who}  {action}  {uid}  {detail}  {reason}", time(*time_ms));
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(out)
    }
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.0}"))
}

fn expected(config: &Config, now: Timestamp) -> (Vec<Expected>, Vec<Expected>) {
    const DAY_US: i64 = 86_400_000_000;
    let days = |expires_us: i64| (expires_us - now.as_microsecond()).div_euclid(DAY_US);
    let alerts = &config.file.alerts;
    let exceptions = config.exceptions.iter().zip(&alerts.exception);
    let exceptions = exceptions.map(|(one, file)| Expected {
        name: one.name.clone(),
        owner: one.owner.clone(),
        reason: file.reason.clone(),
        about: file.rules.clone(),
        expires: one.until.clone(),
        days_left: days(one.expires.0),
    });
    let windows = config.maintenance.iter().zip(&alerts.maintenance);
    let windows = windows.map(|(one, file)| Expected {
        name: one.name.clone(),
        owner: String::new(),
        reason: String::new(),
        about: one.tables.clone(),
        expires: file.expires.clone(),
        days_left: days(one.expires.0),
    });
    (exceptions.collect(), windows.collect())
}

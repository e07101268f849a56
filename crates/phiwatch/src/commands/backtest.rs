//! `phiwatch backtest`: what a configuration would have alerted over binlog files.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    process::ExitCode,
};

use phiwatch_detect::{Alert, Severity};
use serde::Serialize;

use super::{GAP, say};
use crate::{
    cli::BacktestArgs,
    config::{Config, Overrides},
    examination::{Examination, examine},
};

/// Findings of a rule.
#[derive(Debug, Default, Serialize)]
struct Count {
    findings: u64,
    per_week: f64,
    /// By severity: low, medium, high, critical.
    by_severity: [u64; 4],
}

/// The files under one budget.
#[derive(Debug, Serialize)]
struct Trial {
    false_alerts_per_week: f64,
    total: Count,
    rules: BTreeMap<String, Count>,
}

/// The whole answer, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Answer {
    from: String,
    until: String,
    weeks: f64,
    transactions: u64,
    gaps: u64,
    /// The configuration's budget first.
    trials: Vec<Trial>,
}

pub(super) fn run(args: &BacktestArgs) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(args.config.as_deref(), Overrides::default())?;
    let configured = config.file.alerts.false_alerts_per_week;
    let others = match args.budget.as_slice() {
        [] => vec![configured / 10.0, configured * 10.0],
        given => given.to_vec(),
    };
    let mut answer: Option<Answer> = None;
    for budget in std::iter::once(configured).chain(others) {
        config.file.alerts.false_alerts_per_week = budget;
        let examination = examine(&config, &args.files)?;
        let trial = Trial::of(&examination, budget);
        answer.get_or_insert_with(|| Answer::of(&examination)).trials.push(trial);
    }
    let Some(answer) = answer else { return Ok(ExitCode::SUCCESS) };
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
    } else {
        out.write_all(answer.text().as_bytes())?;
    }
    if answer.gaps > 0 {
        say(&format!("{} gaps: parts of the files were not examined", answer.gaps));
        return Ok(ExitCode::from(GAP));
    }
    Ok(ExitCode::SUCCESS)
}

impl Count {
    fn add(&mut self, alert: &Alert, weeks: f64) {
        self.findings += 1;
        #[allow(clippy::cast_precision_loss, reason = "shown as a figure")]
        let findings = self.findings as f64;
        self.per_week = findings / weeks;
        let index = (alert.severity as usize).saturating_sub(Severity::Low as usize);
        if let Some(count) = self.by_severity.get_mut(index) {
            *count += 1;
        }
    }

    fn line(&self, name: &str) -> String {
        let [low, medium, high, critical] = self.by_severity;
        format!(
            "{name:22} {:>8} {:>8.2} {low:>5} {medium:>7} {high:>5} {critical:>9}\n",
            self.findings, self.per_week,
        )
    }
}

impl Trial {
    fn of(examination: &Examination, budget: f64) -> Self {
        let weeks = examination.weeks();
        let (mut total, mut rules) = (Count::default(), BTreeMap::<String, Count>::new());
        let findings = examination.findings();
        for alert in findings.into_iter().filter(|alert| alert.severity > Severity::Informational) {
            total.add(alert, weeks);
            rules.entry(alert.rule_id().to_owned()).or_default().add(alert, weeks);
        }
        Self { false_alerts_per_week: budget, total, rules }
    }
}

impl Answer {
    fn of(examination: &Examination) -> Self {
        let time = |time: phiwatch_binlog::EventTime| {
            jiff::Timestamp::from_microsecond(time.0)
                .map_or_else(|_| time.0.to_string(), |time| time.to_string())
        };
        Self {
            from: time(examination.span.0),
            until: time(examination.span.1),
            weeks: examination.weeks(),
            transactions: examination.totals.transactions,
            gaps: examination.totals.gaps.values().sum(),
            trials: Vec::new(),
        }
    }

    fn text(&self) -> String {
        let mut out = format!(
            "{} to {}: {:.1} weeks, {} transactions\n",
            self.from, self.until, self.weeks, self.transactions
        );
        let heading = |name: &str| {
            format!(
                "{name:22} {:>8} {:>8} {:>5} {:>7} {:>5} {:>9}\n",
                "findings", "a week", "low", "medium", "high", "critical"
            )
        };
        if let Some(configured) = self.trials.first() {
            let budget = configured.false_alerts_per_week;
            out += &format!("\nAs configured (false_alerts_per_week = {budget}):\n");
            out += &heading("rule");
            for (rule, count) in &configured.rules {
                out += &count.line(rule);
            }
            out += &configured.total.line("all");
        }
        out += "\nWith another budget:\n";
        out += &heading("false_alerts_per_week");
        for trial in &self.trials {
            out += &trial.total.line(&trial.false_alerts_per_week.to_string());
        }
        out
    }
}

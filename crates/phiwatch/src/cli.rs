//! The command line. Data goes to stdout, words to stderr.
//!
//! Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 finished with a coverage gap.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// Watches the binlog of a Magento database for patient data that leaves or crosses tenants.
#[derive(Debug, Parser)]
#[command(name = "phiwatch", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 finished but with a coverage gap.
Start with:  phiwatch demo        a recorded shop with incidents; needs no server
             phiwatch doctor      what a real server still lacks, with the statement that mends it";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Follow a server's binlog until stopped; alerts go to the sinks
    Run(RunArgs),
    /// Replay a recorded shop with incidents: no server needed
    Demo(DemoArgs),
    /// Examine binlog files; alerts as JSON lines on stdout
    Replay(ReplayArgs),
    /// Say what the configuration would have alerted over binlog files, and under other budgets
    Backtest(BacktestArgs),
    /// Test the rules on recorded cases
    Rules(RulesArgs),
    /// Print every row change as JSON lines
    Decode(DecodeArgs),
    /// Say what was examined, per server and time, and what was not
    Coverage(CoverageArgs),
    /// Put a reset of the server on record as a gap, so that run goes on
    AcceptReset(AcceptResetArgs),
    /// Put on record what a finding turned out to be, and print the exception for it
    Verdict(VerdictArgs),
    /// Hold alerts of a finding or a rule back from the sinks for a while
    Snooze(SnoozeArgs),
    /// Say what was decided: verdicts, snoozes, exceptions, maintenance, and the audit log
    Decisions(DecisionsArgs),
    /// Check configuration, grants, server settings, retention, Kafka and disk
    Doctor(DoctorArgs),
    /// Print the JSON Schema of alerts, of the configuration or of coverage
    Schema(SchemaArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Configuration file (TOML); SIGHUP reads it and its catalogue files again
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Server to follow, mysql://user@host:port or mariadb://...; its password comes from
    /// PHIWATCH_SOURCE_PASSWORD or the configuration's password_file
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// Kafka bootstrap servers, host:port
    #[arg(long, value_name = "BOOTSTRAP")]
    pub kafka: Option<String>,
    /// Directory of the store (made if absent)
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Address of metrics, health and the review page
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Stop with a checkpoint as soon as it has caught up with the server
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Print alerts as JSON lines instead of readable lines
    #[arg(long)]
    pub json: bool,
    /// End after the replay instead of serving the page
    #[arg(long)]
    pub exit: bool,
    /// Address of metrics, health and the page
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9817")]
    pub listen: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep a checkpoint here (made if absent); a further replay goes on from it
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Print rows, bytes and seconds at the end
    #[arg(long)]
    pub bench: bool,
    /// Binlog files, oldest first
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = BACKTEST_HELP)]
pub(crate) struct BacktestArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Another false_alerts_per_week to try; may be given again [default: a tenth and ten times
    /// the configured one]
    #[arg(long, value_name = "N", value_parser = budget)]
    pub budget: Vec<f64>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Binlog files, oldest first
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

const BACKTEST_HELP: &str = "\
The files are examined once for each budget, from no state. Findings of severity 1 do not count.
Exit codes: 0 done, 3 done but part of the files could not be examined.";

fn budget(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.001..=1_000.0).contains(&number) {
        Ok(number)
    } else {
        Err("not in 0.001 to 1000".into())
    }
}

#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    pub command: RulesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Run the cases of a directory (files *.case.toml); exit code 1 if one fails
    Test {
        /// Configuration of the cases that name none
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Directory of the cases
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// Only totals per table and kind
    #[arg(long)]
    pub count: bool,
    /// Read from a server instead of files, up to its present end
    #[arg(long, value_name = "URL", conflicts_with = "files")]
    pub source: Option<String>,
    /// Configuration file (TOML): TLS and password of --source
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Binlog files, oldest first
    #[arg(required_unless_present = "source", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = COVERAGE_HELP)]
pub(crate) struct CoverageArgs {
    /// Directory of the store; it may be in use by a running phiwatch
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub state: Option<PathBuf>,
    /// Configuration file (TOML) that names it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One JSON object instead of text (phiwatch schema coverage)
    #[arg(long)]
    pub json: bool,
    /// Only what was committed at this time (UTC) or later: 2026-11-24 or 2026-11-24T10:00:00Z
    #[arg(long, value_name = "T")]
    pub from: Option<String>,
    /// Only what was committed before this time
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
}

const COVERAGE_HELP: &str = "\
Exit codes: 0 no gap, 3 something was not examined, 2 usage, 1 failed.";

#[derive(Debug, Args)]
#[command(after_help = ACCEPT_HELP)]
pub(crate) struct AcceptResetArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Server that was reset
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// Who accepts it, for the audit log [default: the account's USER]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Directory of the store; no phiwatch may be running with it
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

const ACCEPT_HELP: &str = "\
Looks at the server first: if it goes on where reading stopped, nothing is changed (exit 1).
Alerts, coverage, baselines and their state stay. What the old log held after the last
checkpoint is a gap on record, which `phiwatch coverage` tells. The next `phiwatch run` reads
the oldest binlog that the server has.";

/// Which store.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Directory of the store; it may be in use by a running phiwatch
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Configuration file (TOML) that names it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Who decides, and why.
#[derive(Debug, Args)]
pub(crate) struct ByArgs {
    /// Who decides
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Why; kept as given, for ever: no patient data belongs in it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Debug, Args)]
#[command(after_help = VERDICT_HELP)]
pub(crate) struct VerdictArgs {
    /// The finding: finding_info.uid of its alerts
    pub uid: String,
    /// What it turned out to be
    pub verdict: VerdictWord,
    #[command(flatten)]
    pub by: ByArgs,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// See [`VerdictArgs::verdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerdictWord {
    /// What the alert says happened, and was not wanted
    True,
    /// It happened, and was harmless
    Benign,
    /// It is a job that comes again
    Expected,
}

impl VerdictWord {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Benign => "benign",
            Self::Expected => "expected",
        }
    }
}

const VERDICT_HELP: &str = "\
A verdict is a row of the append-only audit log and changes no detection. For benign and expected
the [[alerts.exception]] that would have made the finding severity 1 is printed on stdout, ready
for a review and the configuration file.
Exit codes: 0 on record, 1 no such finding or store, 2 usage.";

#[derive(Debug, Args)]
#[command(after_help = SNOOZE_HELP, group = ArgGroup::new("what").required(true))]
pub(crate) struct SnoozeArgs {
    /// The finding: finding_info.uid of its alerts
    #[arg(group = "what")]
    pub uid: Option<String>,
    /// All findings of a rule
    #[arg(long, value_name = "RULE", group = "what")]
    pub rule: Option<String>,
    /// How long: 30m, 4h, 2d; 30 days at most
    #[arg(long = "for", value_name = "TIME")]
    pub length: String,
    #[command(flatten)]
    pub by: ByArgs,
    #[command(flatten)]
    pub store: StoreArgs,
}

const SNOOZE_HELP: &str = "\
Findings are made, stored and shown as ever; only the sinks wait. An alert of a higher severity than
the finding has now (for a rule: than its worst open finding, else 3) is delivered nevertheless. At
the end the newest state held back of each finding is delivered. Replays know no snooze.
Exit codes: 0 on record, 1 no such finding or store, 2 usage.";

#[derive(Debug, Args)]
pub(crate) struct DecisionsArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Server to check
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// Kafka bootstrap servers to check
    #[arg(long, value_name = "BOOTSTRAP")]
    pub kafka: Option<String>,
    /// Directory of the store
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Which schema
    pub of: SchemaOf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SchemaOf {
    /// The alert: Kafka value and JSON line
    Alert,
    /// The configuration file
    Config,
    /// The output of `coverage --json`
    Coverage,
}

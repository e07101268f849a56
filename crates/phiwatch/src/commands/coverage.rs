//! `phiwatch coverage`: what was examined, and what was not.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use jiff::Timestamp;

use super::GAP;
use crate::{
    cli::CoverageArgs,
    config::{Config, ConfigError, Overrides},
    coverage::{Coverage, Range, text},
    store,
};

pub(super) fn run(args: &CoverageArgs) -> anyhow::Result<ExitCode> {
    let range = Range {
        from_us: args.from.as_deref().map(|at| time("--from", at)).transpose()?,
        until_us: args.until.as_deref().map(|at| time("--until", at)).transpose()?,
    };
    let overrides = Overrides { state: args.state.clone(), ..Overrides::default() };
    let config = Config::load(args.config.as_deref(), overrides)?;
    let recorded = store::coverage::read(&config.file.state.dir)?;
    let coverage = Coverage::new(&recorded, &range);
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&coverage)?)?;
    } else {
        write!(out, "{}", text::of(&coverage))?;
    }
    Ok(if coverage.complete { ExitCode::SUCCESS } else { ExitCode::from(GAP) })
}

/// A date (its midnight) or a time, µs since 1970.
fn time(key: &'static str, text: &str) -> Result<i64, ConfigError> {
    let found: Option<Timestamp> =
        text.parse().ok().or_else(|| format!("{text}T00:00:00Z").parse().ok());
    found.map(Timestamp::as_microsecond).ok_or_else(|| ConfigError::Value {
        key,
        found: text.to_owned(),
        expected: "2026-11-24 or 2026-11-24T10:00:00Z".to_owned(),
    })
}

//! Count series of the Numenta Anomaly Benchmark, scored by its method (standard profile).
//!
//! Each row's count becomes that many persons changed one by one in the row's time; a finding that
//! begins is a detection at its row. The budget takes the place of NAB's threshold: the best of a
//! few is told, as NAB tells the best threshold. Source of data and method: numenta/NAB
//! (fixtures/nab).

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;
use jiff::civil::DateTime;
use phiwatch_detect::{Activity, Engine, Settings};
use phiwatch_testkit::{
    Random,
    months::people::{What, Write},
};

use crate::feed::Feeder;

/// Alerts a week that are tried.
const BUDGETS: [f64; 7] = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];
/// Share of a file that is learned from, and its most rows.
const PROBATION: (f64, usize) = (0.15, 750);
/// Weight of a false alert; a missed window weighs 1.
const FALSE_WEIGHT: f64 = 0.11;

struct Series {
    name: String,
    /// Second and count.
    rows: Vec<(i64, u64)>,
    /// First and last second of each labelled window.
    windows: Vec<(i64, i64)>,
}

/// Prints the score by budget.
pub(crate) fn run(folder: &Path) -> anyhow::Result<()> {
    let series = load(folder)?;
    let windows: usize = series.iter().map(|one| one.windows.len()).sum();
    for budget in BUDGETS {
        let raw: Vec<f64> = std::thread::scope(|scope| {
            let each = |one| scope.spawn(move || score(one, &detections(one, budget)));
            let running: Vec<_> = series.iter().map(each).collect();
            running.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        // From what finds nothing (0) to what finds every window at its first row (100).
        let windows = windows as f64;
        let score = 100.0 * (raw.iter().sum::<f64>() + windows) / (2.0 * windows);
        let each: Vec<String> = series
            .iter()
            .zip(&raw)
            .map(|(one, raw)| format!("{} {raw:.2}/{}", one.name, one.windows.len()))
            .collect();
        println!("budget {budget}: {score:.1} ({})", each.join(", "));
    }
    Ok(())
}

fn load(folder: &Path) -> anyhow::Result<Vec<Series>> {
    let place = || folder.display().to_string();
    let text = fs::read_to_string(folder.join("windows.json")).with_context(place)?;
    let labels: BTreeMap<String, Vec<(String, String)>> = serde_json::from_str(&text)?;
    let mut all = Vec::new();
    for (name, labels) in labels {
        let name = name.rsplit('/').next().unwrap_or(&name).to_owned();
        let text = fs::read_to_string(folder.join(&name)).with_context(|| name.clone())?;
        let rows = text.lines().skip(1).map(row).collect::<anyhow::Result<Vec<_>>>()?;
        let windows = labels
            .iter()
            .map(|(from, until)| Ok((second(from)?, second(until)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        all.push(Series { name, rows, windows });
    }
    Ok(all)
}

fn row(line: &str) -> anyhow::Result<(i64, u64)> {
    let (time, count) = line.split_once(',').context("a row without a comma")?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let count = count.trim().parse::<f64>()? as u64;
    // The taxi rides are counted in tens.
    Ok((second(time)?, if count > 5_000 { count / 10 } else { count }))
}

fn second(time: &str) -> anyhow::Result<i64> {
    let time: DateTime = time.split('.').next().unwrap_or(time).parse()?;
    Ok(jiff::tz::TimeZone::UTC.to_timestamp(time)?.as_second())
}

/// Rows at which an alert came.
fn detections(series: &Series, budget: f64) -> Vec<usize> {
    let settings = Settings { false_alerts_per_week: budget, ..Settings::default() };
    let (mut engine, mut feeder) = (Engine::new(settings), Feeder::new(1));
    let mut random = Random::new(1);
    let (mut alerts, mut found) = (Vec::new(), Vec::new());
    for (number, (secs, count)) in series.rows.iter().enumerate() {
        let next = series.rows.get(number + 1).map_or(secs + 300, |row| row.0);
        let length = (next - secs).clamp(1, 1_800);
        for n in 0..*count {
            let at = secs
                + i64::try_from(n).unwrap_or_default() * length
                    / i64::try_from(*count).unwrap_or(1);
            let what = What::Change(vec![random.between(0, 10_000_000) * 1_000]);
            feeder.feed(&mut engine, &Write { secs: at, thread: 1, what }, &mut alerts);
        }
        if alerts.drain(..).any(|alert| alert.activity == Activity::Create) {
            found.push(number);
        }
    }
    found
}

/// NAB's raw score of a file.
fn score(series: &Series, found: &[usize]) -> f64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a row number")]
    let probation = ((series.rows.len() as f64 * PROBATION.0) as usize).min(PROBATION.1);
    let at = |secs: i64| series.rows.partition_point(|row| row.0 < secs);
    let windows: Vec<(usize, usize)> =
        series.windows.iter().map(|(from, until)| (at(*from), at(*until))).collect();
    let mut raw = 0.0;
    for (from, until) in &windows {
        let first = found.iter().find(|row| (from..=until).contains(row));
        raw += first.map_or(-1.0, |row| {
            let position = -((until - row + 1) as f64) / (until - from + 1) as f64;
            sigmoid(position) / sigmoid(-1.0)
        });
    }
    for row in found.iter().filter(|row| **row >= probation) {
        if windows.iter().any(|(from, until)| (from..=until).contains(&row)) {
            continue;
        }
        let before = windows.iter().rev().find(|(_, until)| until < row);
        let weight = before.map_or(-1.0, |(from, until)| {
            sigmoid((row - until) as f64 / (until - from).max(1) as f64)
        });
        raw += FALSE_WEIGHT * weight;
    }
    raw
}

/// NAB's scaled sigmoid: positions -1 (a window's begin) to 0 (its end) and behind it.
fn sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

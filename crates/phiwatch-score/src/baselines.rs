//! Textbook detectors on the same counts, to compare with. For the benchmark only.
//!
//! Each sees one tenant's changed persons an hour (of a bin, where it says so) and gives a score to
//! every hour; its threshold is set so that it gives the budget's incidents on another seed. An
//! incident is a run of hours over the threshold with gaps of less than two hours.

use std::collections::VecDeque;

use phiwatch_testkit::months::{
    HOUR,
    attack::{Attack, Deed, KINDS},
    model::{Jobs, Tenant},
};
use statrs::distribution::{DiscreteCDF as _, NegativeBinomial};

use crate::trial::LEARNING_WEEKS;

/// Hours of a week and of a day.
const WEEK: usize = 168;
const DAY: usize = 24;

/// Counts by hour to scores by hour.
type Detector = fn(&[f64]) -> Vec<f64>;

/// Names and detectors.
const ALL: [(&str, Detector); 5] = [
    ("own past maximum", own_maximum),
    ("EARS C2, same hour", ears_c2),
    ("Holt-Winters", holt_winters),
    ("Farrington-like", farrington),
    ("DSPOT", dspot),
];

/// One detector's result: false incidents a tenant and week, and seconds to each attack's first
/// incident by tenant.
pub(crate) struct Scored {
    pub(crate) name: &'static str,
    pub(crate) false_alerts: f64,
    /// By attack kind, by tenant.
    pub(crate) delays: Vec<Vec<Option<i64>>>,
}

/// Scores all detectors on a world of tenants, calibrated on another.
pub(crate) fn score(world: &[Tenant], other: &[Tenant], budget: f64, jobs: Jobs) -> Vec<Scored> {
    ALL.iter()
        .map(|(name, detector)| {
            let scores = |tenants: &[Tenant]| -> Vec<Vec<f64>> {
                tenants.iter().map(|tenant| detector(&hours(tenant, jobs, None))).collect()
            };
            let threshold = calibrate(&scores(other), budget);
            let plain = scores(world);
            let delays = KINDS
                .iter()
                .map(|kind| {
                    let of = |(tenant, plain): (&Tenant, &Vec<f64>)| {
                        let attack = Attack::on(tenant, *kind);
                        delay(tenant, &attack, jobs, *detector, plain, threshold)
                    };
                    world.iter().zip(&plain).map(of).collect()
                })
                .collect();
            Scored { name, false_alerts: rate(&plain, threshold), delays }
        })
        .collect()
}

/// Changed persons an hour, with an attack's.
fn hours(tenant: &Tenant, jobs: Jobs, attack: Option<&Attack>) -> Vec<f64> {
    let mut hours = vec![0.0; tenant.bins.len() / HOUR];
    for (bin, counts) in tenant.bins.iter().enumerate() {
        let job = if jobs == Jobs::Announced { 0 } else { counts.job };
        let taken = attack.map_or(0, |attack| attack.count(bin));
        hours[bin / HOUR] += f64::from(counts.changed + counts.nightly + job + taken);
    }
    hours
}

fn delay(
    tenant: &Tenant,
    attack: &Attack,
    jobs: Jobs,
    detector: Detector,
    plain: &[f64],
    threshold: f64,
) -> Option<i64> {
    if attack.deed() == Deed::Delete {
        return None;
    }
    let scores = detector(&hours(tenant, jobs, Some(attack)));
    let last = (attack.until.div_ceil(HOUR) + 1).min(scores.len());
    let hour = (attack.from / HOUR..last)
        .find(|hour| scores[*hour] >= threshold && plain[*hour] < threshold)?;
    // An hour is judged when it is over.
    i64::try_from(((hour + 1) * HOUR).saturating_sub(attack.from) * 300).ok()
}

/// Incidents a tenant and week in the scored weeks.
fn rate(scores: &[Vec<f64>], threshold: f64) -> f64 {
    let (mut incidents, mut weeks) = (0, 0.0);
    for scores in scores {
        let scored = scores.get(LEARNING_WEEKS * WEEK..).unwrap_or_default();
        weeks += scored.len() as f64 / WEEK as f64;
        let mut quiet = 2;
        for score in scored {
            if *score >= threshold {
                incidents += i32::from(quiet >= 2);
                quiet = 0;
            } else {
                quiet += 1;
            }
        }
    }
    f64::from(incidents) / weeks
}

/// The least threshold with no more than the budget.
fn calibrate(scores: &[Vec<f64>], budget: f64) -> f64 {
    let mut all: Vec<f64> = scores.iter().flatten().copied().filter(|score| *score > 0.0).collect();
    all.sort_by(f64::total_cmp);
    let (mut low, mut high) = (0, all.len().saturating_sub(1));
    while low < high {
        let middle = (low + high) / 2;
        if rate(scores, all[middle]) <= budget { high = middle } else { low = middle + 1 }
    }
    all.get(high).copied().unwrap_or(f64::MAX)
}

fn own_maximum(hours: &[f64]) -> Vec<f64> {
    let mut most = 1.0_f64;
    let ratio = |x: &f64| {
        let ratio = x / most;
        most = most.max(*x);
        ratio
    };
    hours.iter().map(ratio).collect()
}

/// Seven earlier days at the same hour, after two that are left out.
fn ears_c2(hours: &[f64]) -> Vec<f64> {
    (0..hours.len())
        .map(|hour| {
            let past: Vec<f64> = (3..10)
                .filter_map(|day| hours.get(hour.checked_sub(day * DAY)?))
                .copied()
                .collect();
            let (mean, sd) = moments(&past);
            if past.len() < 7 { 0.0 } else { (hours[hour] - mean) / sd.max(1.0) }
        })
        .collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

/// Additive on log(1 + x), season of a week; residual over its exponential deviation.
fn holt_winters(hours: &[f64]) -> Vec<f64> {
    let mut season = vec![0.0; WEEK];
    let (mut level, mut variance) = (hours.first().copied().unwrap_or(0.0).ln_1p(), 1.0_f64);
    hours
        .iter()
        .enumerate()
        .map(|(hour, x)| {
            let of_week = hour % WEEK;
            let residual = x.ln_1p() - level - season[of_week];
            let score = residual / variance.sqrt().max(0.05);
            let rate = if hour < 2 * WEEK { 0.5 } else { 0.15 };
            level += 0.02 * residual;
            season[of_week] += rate * residual;
            variance += 0.01 * (residual * residual - variance);
            if hour < WEEK { 0.0 } else { score }
        })
        .collect()
}

/// The same hours of earlier weeks (an hour to either side), outliers weighted down, and a
/// negative-binomial tail.
fn farrington(hours: &[f64]) -> Vec<f64> {
    (0..hours.len())
        .map(|hour| {
            let near = |week: usize| {
                let at = hour.checked_sub(week * WEEK)?;
                hours.get(at.saturating_sub(1)..=at + 1)
            };
            let past: Vec<f64> = (1..=8).filter_map(near).flatten().copied().collect();
            if past.len() < 6 {
                return 0.0;
            }
            let (mean, sd) = moments(&past);
            let clipped: Vec<f64> = past.iter().map(|x| x.min(mean + 2.58 * sd)).collect();
            let (mean, sd) = moments(&clipped);
            tail(hours[hour], mean.max(0.05), sd * sd)
        })
        .collect()
}

/// -log10 of the tail of a negative binomial with these moments.
fn tail(x: f64, mean: f64, variance: f64) -> f64 {
    if x <= mean {
        return 0.0;
    }
    let excess = ((variance - mean) / (mean * mean)).clamp(0.02, 20.0);
    let size = 1.0 / excess;
    let of = NegativeBinomial::new(size, size / (size + mean));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let tail = of.map_or(1.0, |of| of.sf(x as u64 - 1));
    -tail.max(1e-300).log10()
}

/// Excess over the last day's mean; exponential tail over its 98th percentile.
fn dspot(hours: &[f64]) -> Vec<f64> {
    let mut window: VecDeque<f64> = VecDeque::new();
    let mut seen: Vec<f64> = Vec::new();
    hours
        .iter()
        .map(|x| {
            let mean = window.iter().sum::<f64>() / window.len().max(1) as f64;
            let residual = x - mean;
            let high = seen.get(seen.len() * 98 / 100).copied().unwrap_or(f64::MAX);
            let peaks = seen.len() - seen.len() * 98 / 100;
            let over: f64 = seen.iter().rev().take(peaks).map(|peak| peak - high).sum();
            let scale = (over / peaks.max(1) as f64).max(0.5);
            let score = if seen.len() < WEEK { 0.0 } else { (residual - high) / scale };
            window.push_back(*x);
            if window.len() > DAY {
                window.pop_front();
            }
            let at = seen.partition_point(|other| *other < residual);
            seen.insert(at, residual);
            score.max(0.0)
        })
        .collect()
}

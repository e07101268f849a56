//! Outcomes to figures.

use phiwatch_testkit::months::attack::KINDS;

use crate::trial::{LEARNING_WEEKS, Outcome, Setting};

pub(crate) fn print(outcomes: &[Outcome], setting: Setting, verbose: bool) {
    let weeks = (setting.weeks - LEARNING_WEEKS) as f64 * outcomes.len() as f64;
    let alerts: usize = outcomes.iter().map(|outcome| outcome.false_alerts.len()).sum();
    let largest = outcomes.iter().map(|outcome| outcome.false_alerts.len()).max().unwrap_or(0);
    println!(
        "{} tenants, budget {} a tenant and week, jobs {:?}: {:.3} false alerts a tenant and week \
         ({alerts} in {weeks}; worst tenant {:.2})",
        outcomes.len(),
        setting.budget,
        setting.jobs,
        alerts as f64 / weeks,
        largest as f64 / (setting.weeks - LEARNING_WEEKS) as f64,
    );
    for (index, kind) in KINDS.iter().enumerate() {
        let mut delays: Vec<i64> =
            outcomes.iter().filter_map(|outcome| outcome.delays.get(index).copied()?).collect();
        delays.sort_unstable();
        let median = delays.get(delays.len() / 2).copied().unwrap_or_default();
        println!(
            "{:40} {:.2}  median {}",
            kind.name,
            delays.len() as f64 / outcomes.len() as f64,
            span(median),
        );
    }
    if verbose {
        for (website, outcome) in (1..).zip(outcomes) {
            for alert in &outcome.false_alerts {
                println!("{website} size {} day {:.1}: {}", outcome.size, alert.day, alert.message);
            }
            let missed: Vec<&str> = KINDS
                .iter()
                .zip(&outcome.delays)
                .filter(|(_, delay)| delay.is_none())
                .map(|(kind, _)| kind.name)
                .collect();
            println!("{website} size {}: missed {missed:?}", outcome.size);
        }
    }
    let transactions: u64 = outcomes.iter().map(|outcome| outcome.transactions).sum();
    println!("{transactions} transactions");
}

fn span(secs: i64) -> String {
    match secs {
        ..120 => format!("{secs} s"),
        120..7_200 => format!("{:.1} min", secs as f64 / 60.0),
        _ => format!("{:.1} h", secs as f64 / 3_600.0),
    }
}

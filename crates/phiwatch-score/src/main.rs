//! Scores the detection on simulated months: recall, delay and false alerts (`make bench-detect`).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for developers")]

mod feed;
mod report;
mod trial;

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use clap::Parser;
use phiwatch_testkit::months::model::{Jobs, SIZES};

use crate::trial::{Outcome, Setting};

/// Recall, delay and false alerts of the detection on simulated months.
#[derive(Debug, Parser)]
struct Args {
    /// Seed of the world.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Weeks, the first four to learn from.
    #[arg(long, default_value_t = 11)]
    weeks: usize,
    /// Tenants of each size.
    #[arg(long, default_value_t = 12)]
    per_size: u32,
    /// Largest size, customer writes an hour.
    #[arg(long, default_value_t = 50_000.0)]
    size_max: f64,
    /// False alerts a week and tenant.
    #[arg(long, default_value_t = 1.0)]
    budget: f64,
    /// Imports and backfills come without announcing rows.
    #[arg(long)]
    unannounced: bool,
    /// No attacks: false alerts only.
    #[arg(long)]
    quiet: bool,
    /// Also print each false alert and each attack that was missed.
    #[arg(long)]
    verbose: bool,
}

fn main() {
    let args = Args::parse();
    let sizes: Vec<f64> = SIZES.iter().copied().filter(|size| *size <= args.size_max).collect();
    let tenants: Vec<(u32, f64)> = sizes
        .iter()
        .flat_map(|size| (0..args.per_size).map(|_| *size))
        .zip(1..)
        .map(|(size, website)| (website, size))
        .collect();
    let setting = Setting {
        seed: args.seed,
        weeks: args.weeks,
        tenants: tenants.len() as u64,
        budget: args.budget,
        jobs: if args.unannounced { Jobs::Unannounced } else { Jobs::Announced },
        attacks: !args.quiet,
    };
    let outcomes = run_all(&tenants, setting);
    report::print(&outcomes, setting, args.verbose);
}

/// All tenants, largest first, over the cores; in the order of the tenants.
fn run_all(tenants: &[(u32, f64)], setting: Setting) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(u32, Outcome)>> = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((website, size)) =
                    tenants.iter().rev().nth(next.fetch_add(1, Ordering::Relaxed))
                {
                    let outcome = trial::run(*website, *size, setting);
                    done.lock().expect("no thread panics").push((*website, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panics");
    done.sort_by_key(|(website, _)| *website);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

//! Scores the detection on simulated months: recall, delay and false alerts (`make bench-detect`).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for developers")]

mod baselines;
#[cfg(test)]
mod bytes;
mod feed;
mod nab;
mod report;
mod trial;
mod written;

use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use clap::{Args, Parser, Subcommand};
use phiwatch_testkit::months::model::{Jobs, SIZES, Tenant};

use crate::{
    report::Report,
    trial::{Outcome, Setting},
};

/// Recall, delay and false alerts of the detection on simulated months.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All budgets and baselines, into a document
    Bench {
        #[command(flatten)]
        world: World,
        /// Seed of the world that the baselines are calibrated on
        #[arg(long, default_value_t = 1)]
        calibration_seed: u64,
        /// Document whose generated part is written; else stdout
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
    },
    /// One budget
    Trial {
        #[command(flatten)]
        world: World,
        #[command(flatten)]
        way: Way,
        /// No attacks: false alerts only
        #[arg(long)]
        quiet: bool,
        /// Also print each false alert and each attack that was missed
        #[arg(long)]
        verbose: bool,
    },
    /// Count series of the Numenta Anomaly Benchmark
    Nab {
        /// Series and their windows
        #[arg(default_value = "fixtures/nab")]
        folder: PathBuf,
    },
    /// The months as a binlog file, for the program itself
    Write {
        #[command(flatten)]
        world: World,
        #[command(flatten)]
        way: Way,
        /// Attack on each tenant, by its place in the table (from 0); none if absent
        #[arg(long)]
        attack: Option<usize>,
        /// The file; what was attacked when goes beside it (.labels)
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Who lives in the months.
#[derive(Debug, Clone, Copy, Args)]
struct World {
    /// Seed of everything random
    #[arg(long, default_value_t = 101)]
    seed: u64,
    /// Weeks, the first four to learn from
    #[arg(long, default_value_t = 11)]
    weeks: usize,
    /// Tenants of each size
    #[arg(long, default_value_t = 12)]
    per_size: u32,
    /// Largest size, customer writes an hour
    #[arg(long, default_value_t = 50_000.0)]
    size_max: f64,
}

/// How they are watched.
#[derive(Debug, Clone, Copy, Args)]
struct Way {
    /// False alerts a week and tenant
    #[arg(long, default_value_t = 1.0)]
    budget: f64,
    /// Imports and backfills come without announcing rows
    #[arg(long)]
    unannounced: bool,
}

impl World {
    /// Websites and sizes.
    fn tenants(self) -> Vec<(u32, f64)> {
        let sizes = SIZES.iter().filter(|size| **size <= self.size_max);
        let each = sizes.flat_map(|size| (0..self.per_size).map(|_| *size));
        each.zip(1..).map(|(size, website)| (website, size)).collect()
    }

    fn draw(self, seed: u64) -> Vec<Tenant> {
        let of = |(website, size)| Tenant::new(seed, website, size, self.weeks);
        self.tenants().into_iter().map(of).collect()
    }

    fn setting(self, budget: f64, jobs: Jobs, attacks: bool) -> Setting {
        let tenants = self.tenants().len() as u64;
        Setting { seed: self.seed, weeks: self.weeks, tenants, budget, jobs, attacks }
    }
}

impl Way {
    fn jobs(self) -> Jobs {
        if self.unannounced { Jobs::Unannounced } else { Jobs::Announced }
    }
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Bench { world, calibration_seed, document } => {
            bench(world, calibration_seed).write(document.as_deref())
        }
        Command::Trial { world, way, quiet, verbose } => {
            let setting = world.setting(way.budget, way.jobs(), !quiet);
            report::print(&run_all(&world.tenants(), setting), setting, verbose);
            Ok(())
        }
        Command::Nab { folder } => nab::run(&folder),
        Command::Write { world, way, attack, out } => {
            let setting = world.setting(way.budget, way.jobs(), attack.is_some());
            written::write(&world.tenants(), setting, attack, &out)
        }
    }
}

fn bench(world: World, calibration_seed: u64) -> Report {
    let tenants = world.tenants();
    let ways = [
        (1.0, Jobs::Unannounced, true),
        (0.1, Jobs::Announced, true),
        (0.25, Jobs::Announced, false),
        (0.05, Jobs::Announced, false),
    ];
    let runs = ways.map(|(budget, jobs, attacks)| {
        let setting = world.setting(budget, jobs, attacks);
        eprintln!("budget {budget}, jobs {jobs:?}");
        (setting, run_all(&tenants, setting))
    });
    eprintln!("baselines");
    let (here, other) = (world.draw(world.seed), world.draw(calibration_seed));
    let compared = [(1.0, Jobs::Unannounced), (0.1, Jobs::Announced)]
        .map(|(budget, jobs)| baselines::score(&here, &other, budget, jobs));
    Report { runs: runs.into(), compared: compared.into() }
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

//! The daemon and command line of phiwatch. See ARCHITECTURE.md for the data path.

mod bootstrap;
mod cli;
mod commands;
mod config;
mod continuity;
mod coverage;
mod delivery;
mod examination;
mod gtid_ranges;
mod http;
mod ledger;
mod live;
mod metrics;
mod names;
mod notices;
mod output;
mod page;
mod pipeline;
mod progress;
mod reload;
mod setup;
mod sinks;
mod store;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    setup::logging();
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) => commands::report(&error),
    }
}

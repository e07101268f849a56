//! One module per command.

mod accept_reset;
mod backtest;
mod coverage;
mod decide;
pub(crate) mod decisions;
mod decode;
mod demo;
mod doctor;
mod replay;
mod rules;
mod run;
mod schema;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use crate::{cli::Command, config::ConfigError, pipeline::Pipeline};

/// Finished, but something was not examined.
pub(crate) const GAP: u8 = 3;
pub(crate) const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// Runs a command; `Err` is printed by [`report`].
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Replay(args) => replay::run(args),
        Command::Backtest(args) => backtest::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Decode(args) => decode::run(args),
        Command::Coverage(args) => coverage::run(&args),
        Command::AcceptReset(args) => accept_reset::run(args),
        Command::Verdict(args) => decide::verdict(&args),
        Command::Snooze(args) => decide::snooze(&args),
        Command::Decisions(args) => decisions::run(&args),
        Command::Doctor(args) => doctor::run(args),
        Command::Schema(args) => schema::run(&args),
    }
}

/// Prints an error's chain, one cause a line, and chooses the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader of our output has gone, as with `| head`: not a failure.
        return ExitCode::SUCCESS;
    }
    say(&format!("error: {error}"));
    for cause in error.chain().skip(1) {
        say(&format!("  because: {cause}"));
    }
    let is_configuration = error.chain().any(<dyn std::error::Error>::is::<ConfigError>);
    ExitCode::from(if is_configuration { USAGE } else { FAILED })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// A line on stderr; that stderr is gone is no reason to stop.
pub(crate) fn say(line: &str) {
    let _gone = writeln!(io::stderr().lock(), "{line}");
}

/// What was expected, of the findings and transactions of this run.
pub(crate) fn say_expected(pipeline: &Pipeline) {
    let stats = pipeline.engine().stats();
    for (name, count) in &stats.excepted {
        say(&format!("exception {name}: {count} findings expected"));
    }
    for (name, count) in &stats.maintained {
        say(&format!("maintenance window {name}: {count} transactions expected"));
    }
}

/// Whether stderr is a terminal that wants colours and bars.
pub(crate) fn is_interactive() -> bool {
    io::stderr().is_terminal()
}

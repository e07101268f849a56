//! `phiwatch schema`: JSON Schema of alerts, of the configuration, of coverage.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    cli::{SchemaArgs, SchemaOf},
    config, coverage,
};

pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let schema = match args.of {
        SchemaOf::Alert => phiwatch_sink::wire::alert_schema(),
        SchemaOf::Config => schemars::schema_for!(config::File).to_value(),
        SchemaOf::Coverage => schemars::schema_for!(coverage::Coverage).to_value(),
    };
    writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&schema)?)?;
    Ok(ExitCode::SUCCESS)
}

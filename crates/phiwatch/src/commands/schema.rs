//! `phiwatch schema`: JSON Schema of alerts or of the configuration.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    cli::{SchemaArgs, SchemaOf},
    config,
};

pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let schema = match args.of {
        SchemaOf::Alert => phiwatch_sink::wire::alert_schema(),
        SchemaOf::Config => config_schema(),
    };
    writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&schema)?)?;
    Ok(ExitCode::SUCCESS)
}

fn config_schema() -> serde_json::Value {
    schemars::schema_for!(config::File).to_value()
}

//! Generated files equal what the program says; `UPDATE=1` (make docs) writes them again.

use std::fs;

use phiwatch_testkit::repository;
use serde_json::Value;

use crate::program;

fn check(of: &str, file: &str) {
    let done = program().run(&["schema", of]).expect(0);
    let path = repository::path(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &done.stdout).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == done.text(), "{file} is not what `phiwatch schema {of}` says: make docs");
}

#[test]
fn drift_of_the_alert_schema() {
    check("alert", "schemas/alert-v1.schema.json");
}

#[test]
fn drift_of_the_configuration_schema() {
    check("config", "schemas/config-v1.schema.json");
}

#[test]
fn drift_of_the_coverage_schema() {
    check("coverage", "schemas/coverage-v1.schema.json");
}

/// Every key of the schema stands in the commented file, as a setting or behind a `#`.
#[test]
fn drift_of_the_commented_configuration() {
    let file = repository::path("deploy/phiwatch.toml");
    let text = fs::read_to_string(&file).unwrap();
    let binlog = repository::path("fixtures/types/mysql-9.7/xa.binlog");
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let args = ["replay", "--config", file.to_str().unwrap(), "--state", state];
    let _accepted = program().run_on(&args, &[binlog]).expect(0);

    let done = program().run(&["schema", "config"]).expect(0);
    let schema: Value = serde_json::from_slice(&done.stdout).unwrap();
    let mut keys = Vec::new();
    properties(&schema, &mut keys);
    assert!(keys.len() > 40, "the schema has lost its keys: {keys:?}");
    for key in keys {
        let stands = text.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            let is_setting =
                line.strip_prefix(&key).is_some_and(|rest| rest.trim_start().starts_with('='));
            is_setting || line.contains(&format!("[{key}]")) || line.contains(&key)
        });
        assert!(stands, "deploy/phiwatch.toml does not mention {key}");
    }
}

fn properties(schema: &Value, keys: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            for value in object.values() {
                properties(value, keys);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| properties(value, keys)),
        _ => {}
    }
}

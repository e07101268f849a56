//! Alerts against the published OCSF schema, and the fields that tests look at.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::repository;

/// Panics unless every line is a valid OCSF event by `schemas/validate_ocsf.py`.
pub fn validate(lines: &[String]) {
    assert!(!lines.is_empty(), "no event to validate");
    let mut child = Command::new("python3")
        .arg(repository::path("schemas/validate_ocsf.py"))
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python3 does not start: {error}"));
    let text = lines.join("\n") + "\n";
    let mut stdin = child.stdin.take().unwrap();
    // Written from a thread of its own: the child may fill its output before it has read all.
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "events that are not valid OCSF:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// One state of one finding, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    /// `finding_info.uid`.
    pub uid: String,
    /// `metadata.sequence`: 0, 1, 2, ...
    pub revision: u64,
    /// 1 create, 2 update, 3 close.
    pub activity: u64,
    /// `finding_info.analytic.uid`.
    pub rule: String,
    /// `metadata.tenant_uid`.
    pub tenant: String,
    /// `severity_id`.
    pub severity: u64,
    /// `time`, ms since 1970 UTC.
    pub time_ms: u64,
    /// `finding_info.first_seen_time`, ms.
    pub first_seen_ms: i64,
    /// `finding_info.last_seen_time`, ms.
    pub last_seen_ms: i64,
    /// `message`.
    pub message: String,
    /// GTIDs of the evidence.
    pub gtids: Vec<String>,
    /// The line.
    pub line: String,
}

impl State {
    /// Reads a line; panics when one of the contract's fields is missing.
    #[must_use]
    pub fn of(line: &str) -> Self {
        let event: Value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("an alert is not JSON ({error}): {line}"));
        let number = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_u64)
                .unwrap_or_else(|| panic!("no number at {pointer}: {line}"))
        };
        let text = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_else(|| panic!("no text at {pointer}: {line}"))
                .to_owned()
        };
        let evidences = event.pointer("/evidences").and_then(Value::as_array);
        let gtids = evidences
            .into_iter()
            .flatten()
            .filter_map(|evidence| Some(evidence.pointer("/data/gtid")?.as_str()?.to_owned()));
        assert_eq!(text("/metadata/uid"), text("/finding_info/uid"), "{line}");
        assert!(event.pointer("/remediation/references/0").is_some(), "no runbook: {line}");
        // Some rules map to no technique; the list is there all the same.
        assert!(event["finding_info"]["attacks"].is_array(), "no attacks: {line}");
        Self {
            uid: text("/finding_info/uid"),
            revision: number("/metadata/sequence"),
            activity: number("/activity_id"),
            rule: text("/finding_info/analytic/uid"),
            tenant: text("/metadata/tenant_uid"),
            severity: number("/severity_id"),
            time_ms: number("/time"),
            first_seen_ms: number("/finding_info/first_seen_time").cast_signed(),
            last_seen_ms: number("/finding_info/last_seen_time").cast_signed(),
            message: text("/message"),
            gtids: gtids.collect(),
            line: line.to_owned(),
        }
    }

    /// `uid/revision`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.uid, self.revision)
    }

    /// One line for a failure's text.
    #[must_use]
    pub fn brief(&self) -> String {
        format!(
            "{} {} severity {} activity {} {}: {}",
            self.rule,
            self.tenant,
            self.severity,
            self.activity,
            self.id(),
            self.message
        )
    }
}

/// All lines of a text.
#[must_use]
pub fn states(lines: &str) -> Vec<State> {
    lines.lines().map(State::of).collect()
}

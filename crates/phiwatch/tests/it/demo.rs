//! The recorded shop: every incident is found, nothing else is, and always in the same words.

use std::collections::BTreeMap;

use phiwatch_testkit::{
    ocsf::{self, State},
    repository,
};
use serde::Deserialize;

use crate::program;

/// What happens on purpose, from fixtures/demo/incidents.json.
#[derive(Debug, Deserialize)]
struct Planned {
    rule: String,
    tenant: String,
    from: String,
    until: String,
    what: String,
}

impl Planned {
    /// Whether a finding is this incident: its rule and tenant, its rows inside the incident's
    /// time. A minute of slack on both sides: commits come in whole seconds on some servers.
    fn is(&self, finding: &State) -> bool {
        const SLACK_MS: i64 = 60_000;
        self.rule == finding.rule
            && self.tenant == finding.tenant
            && finding.first_seen_ms >= millis(&self.from) - SLACK_MS
            && finding.last_seen_ms <= millis(&self.until) + SLACK_MS
    }
}

/// ms since 1970 of a time in RFC 3339.
fn millis(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn planned() -> Vec<Planned> {
    let text = repository::text("fixtures/demo/incidents.json").unwrap();
    serde_json::from_str(&text).unwrap()
}

fn replay(args: &[&str]) -> String {
    let args = [&["replay"], args].concat();
    let done = program().run_on(&args, &repository::demo_binlogs()).expect(0);
    done.text().to_owned()
}

/// The last state of each finding above severity 1, by uid.
fn findings(lines: &str) -> BTreeMap<String, State> {
    let mut out = BTreeMap::new();
    for state in ocsf::states(lines) {
        out.insert(state.uid.clone(), state);
    }
    out.retain(|_, state: &mut State| state.severity > 1);
    out
}

#[test]
fn every_incident_is_found_and_nothing_else() {
    let lines = replay(&[]);
    let mut found = findings(&lines);
    let mut missing = Vec::new();
    for planned in planned() {
        let uids: Vec<String> = found
            .iter()
            .filter(|(_, state)| planned.is(state))
            .map(|(uid, _)| uid.clone())
            .collect();
        if uids.is_empty() {
            missing.push(format!("{} {}: {}", planned.rule, planned.tenant, planned.what));
        }
        assert!(uids.len() < 2, "{} findings: {}", uids.len(), planned.what);
        for uid in uids {
            found.remove(&uid);
        }
    }
    let others: Vec<String> = found.values().map(State::brief).collect();
    assert!(
        missing.is_empty() && others.is_empty(),
        "missing:\n  {}\nfalse alarms:\n  {}",
        missing.join("\n  "),
        others.join("\n  ")
    );
}

#[test]
fn alerts_are_valid_ocsf() {
    let lines: Vec<String> = replay(&[]).lines().map(str::to_owned).collect();
    ocsf::validate(&lines);
}

#[test]
fn states_of_a_finding_are_numbered_from_zero() {
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for state in ocsf::states(&replay(&[])) {
        let expected = next.entry(state.uid.clone()).or_default();
        assert_eq!(state.revision, *expected, "{}", state.brief());
        assert_eq!(state.revision == 0, state.activity == 1, "{}", state.brief());
        *expected += 1;
    }
}

#[test]
fn replay_twice_is_byte_equal() {
    assert_eq!(replay(&[]), replay(&[]));
}

#[test]
fn replay_in_two_runs_goes_on_from_its_checkpoint() {
    let whole = replay(&[]);
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let args = ["replay", "--state", state.to_str().unwrap()];
    let files = repository::demo_binlogs();
    let first = program().run_on(&args, &files[..2]).expect(0);
    let second = program().run_on(&args, &files[2..]).expect(0);
    assert_eq!(whole, [first.text(), second.text()].concat());
    // All is examined now: the same files again say nothing new.
    let again = program().run_on(&args, &files).expect(0);
    assert_eq!(again.text(), "");
}

#[test]
fn demo_prints_a_line_for_each_incident() {
    let done = program().run(&["demo", "--exit", "--listen", "127.0.0.1:0"]).expect(0);
    for planned in planned() {
        assert!(done.text().contains(&planned.rule), "no {} in:\n{}", planned.rule, done.text());
    }
    let json = program().run(&["demo", "--exit", "--json", "--listen", "127.0.0.1:0"]).expect(0);
    let (demo, replay) = (findings(json.text()), findings(&replay(&[])));
    let uids = |of: &BTreeMap<String, State>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(uids(&demo), uids(&replay), "the demo's findings are those of a replay");
}

#[test]
fn bench_counts_what_was_read() {
    let done = program().run_on(&["replay", "--bench"], &repository::demo_binlogs()).expect(0);
    let bytes: u64 =
        repository::demo_binlogs().iter().map(|file| file.metadata().unwrap().len()).sum();
    // Each file begins with four bytes that are no event.
    let read = format!(" bytes={} ", bytes - 4 * repository::demo_binlogs().len() as u64);
    assert!(done.stderr.contains(&read) && done.stderr.contains(" seconds="), "{}", done.stderr);
}

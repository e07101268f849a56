//! What people decide about findings: exceptions, verdicts, snoozes and their record.

use std::fs;

use phiwatch_testkit::{
    Finished,
    ocsf::{self, State},
    repository,
};

use crate::program;

/// A replay of the recorded shop under a configuration.
fn replay(config: &str, args: &[&str]) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("phiwatch.toml");
    fs::write(&file, config).unwrap();
    let args = [&["replay", "--config", file.to_str().unwrap()], args].concat();
    program().run_on(&args, &repository::demo_binlogs()).expect(0)
}

/// The incident whose exception is tried.
fn is_merged(state: &State) -> bool {
    state.rule == "bulk-change" && state.tenant == "website-2"
}

const EXCEPTION: &str = "[[alerts.exception]]\nname = \"merge\"\nowner = \"shop team\"\n\
    reason = \"monthly merge\"\nexpires = \"2027-06-30\"\nrules = [\"bulk-change\"]\n\
    tenants = [\"website-2\"]\ntables = [\"customer_entity\"]\n";

#[test]
fn an_exception_lowers_its_finding_and_nothing_else() {
    let plain = ocsf::states(replay("", &[]).text());
    let done = replay(EXCEPTION, &[]);
    let found = ocsf::states(done.text());
    assert!(done.stderr.contains("exception merge: 1 findings expected"), "{}", done.stderr);
    let briefs = |of: &[State], merged| -> Vec<String> {
        of.iter().filter(|state| is_merged(state) == merged).map(State::brief).collect()
    };
    assert_eq!(briefs(&found, false), briefs(&plain, false));
    let count = plain.iter().filter(|state| is_merged(state)).count();
    let merged: Vec<&State> = found.iter().filter(|state| is_merged(state)).collect();
    assert!(count > 0 && merged.len() == count && merged.iter().all(|s| s.severity == 1));
    let said = "expected: exception merge of shop team until 2027-06-30";
    assert_eq!(done.text().matches(&format!("\"benign_cause\":\"{said}\"")).count(), count);

    // Ended before the incident, or too small for it: as without.
    for other in
        [EXCEPTION.replace("2027-06-30", "2026-10-01"), format!("{EXCEPTION}persons_max = 100\n")]
    {
        assert_eq!(briefs(&ocsf::states(replay(&other, &[]).text()), true), briefs(&plain, true));
    }
}

//! What people decide about findings: exceptions, verdicts, snoozes and their record.

use std::{fs, time::Duration};

use phiwatch_testkit::{
    Finished,
    ocsf::{self, State},
    program::free_address,
    repository,
};

use serde_json::Value;

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

    // Stopped after each file, and gone on: the same bytes.
    let dir = tempfile::tempdir().unwrap();
    let (file, state) = (dir.path().join("phiwatch.toml"), dir.path().join("state"));
    fs::write(&file, EXCEPTION).unwrap();
    let args = ["replay", "--config", file.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let pieces: Vec<String> = repository::demo_binlogs()
        .iter()
        .map(|file| program().run_on(&args, &[file]).expect(0).text().to_owned())
        .collect();
    assert_eq!(pieces.concat(), done.text());

    // Ended before the incident, or too small for it: as without.
    for other in
        [EXCEPTION.replace("2027-06-30", "2026-10-01"), format!("{EXCEPTION}persons_max = 100\n")]
    {
        assert_eq!(briefs(&ocsf::states(replay(&other, &[]).text()), true), briefs(&plain, true));
    }
}

/// A store with the recorded shop's findings.
struct Decided {
    dir: tempfile::TempDir,
    states: Vec<State>,
}

impl Decided {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let done = replay("", &["--state", dir.path().to_str().unwrap()]);
        Self { states: ocsf::states(done.text()), dir }
    }

    fn run(&self, args: &[&str]) -> Finished {
        program().run(&[args, &["--state", self.dir.path().to_str().unwrap()]].concat())
    }

    fn decisions(&self) -> Value {
        let done = self.run(&["decisions", "--json"]).expect(0);
        serde_json::from_str(done.text()).unwrap()
    }

    /// The uids above severity 1.
    fn uids(&self) -> Vec<&str> {
        let raised = self.states.iter().filter(|state| state.severity > 1);
        let mut uids: Vec<&str> = raised.map(|state| state.uid.as_str()).collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    }
}

const WHO: [&str; 4] = ["--by", "ann \"o\" b", "--reason", "known job"];

/// What a verdict prints makes its finding severity 1, and no other.
#[test]
fn a_verdict_feeds_the_exception_of_its_finding() {
    let decided = Decided::new();
    let mut config = String::new();
    for uid in decided.uids() {
        let done = decided.run(&[&["verdict", uid, "expected"], &WHO[..]].concat()).expect(0);
        assert!(done.stderr.contains("nothing has changed yet"), "{}", done.stderr);
        config += done.text();
    }
    let one = decided.states.iter().find(|state| is_merged(state)).unwrap().uid.clone();
    let only = decided.run(&[&["verdict", &one, "benign"], &WHO[..]].concat()).expect(0);
    let lowered = |config: &str| -> Vec<String> {
        let states = ocsf::states(replay(config, &[]).text());
        let still = states.iter().filter(|state| state.severity > 1);
        let mut still: Vec<String> = still.map(|state| state.uid.clone()).collect();
        still.dedup();
        let mut uids: Vec<String> = decided.uids().iter().map(|uid| (*uid).to_owned()).collect();
        uids.retain(|uid| !still.contains(uid));
        uids
    };
    assert_eq!(lowered(only.text()), std::slice::from_ref(&one));
    assert_eq!(lowered(&config), decided.uids());

    let done = decided.run(&[&["verdict", &one, "true"], &WHO[..]].concat()).expect(0);
    assert_eq!(done.text(), "", "what was not wanted is no exception");
    let found = decided.decisions();
    let verdicts = decided.uids().len() as u64;
    assert_eq!(found["counts"]["verdicts_expected"], verdicts - 1);
    assert_eq!(found["counts"]["verdicts_true"], 1, "the last word on a finding counts");
    assert_eq!(found["counts"]["audit_rows"], verdicts + 2, "and every word is on record");
    let last = found["audit"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["who"], &last["reason"]), (&Value::from(WHO[1]), &Value::from(WHO[3])));
    assert_eq!((&last["rule"], &last["uid"]), (&Value::from("bulk-change"), &Value::from(one)));
    assert_eq!(last["tenant"], "website-2");
    let text = decided.run(&["decisions"]).expect(0);
    assert!(text.text().contains("verdicts_true 1\n"), "{}", text.text());
}

#[test]
fn a_snooze_is_on_record_and_changes_no_replay() {
    let plain = replay("", &[]);
    let decided = Decided::new();
    let uid = decided.uids()[0].to_owned();
    let args = ["snooze", &uid, "--for", "4h"];
    let done = decided.run(&[&args[..], &WHO[..]].concat()).expect(0);
    assert!(done.stderr.contains("severity"), "{}", done.stderr);
    let args = ["snooze", "--rule", "bulk-change", "--for", "2d"];
    let _done = decided.run(&[&args[..], &WHO[..]].concat()).expect(0);
    let found = decided.decisions();
    assert_eq!(found["counts"]["snoozes_running"], 2);
    assert_eq!(found["snoozes"][0]["uid"], uid.as_str());
    assert_eq!(found["snoozes"][1]["severity_max"], 3, "no finding of it is open");
    assert_eq!(found["counts"]["audit_rows"], 2);
    // A replay into the same store starts from nothing new, and one without says what it said.
    let dir = decided.dir.path().to_str().unwrap();
    assert_eq!(replay("", &["--state", dir]).text(), "");
    assert_eq!(replay("", &[]).text(), plain.text());
}

#[test]
fn decisions_that_cannot_be_made_say_why() {
    let decided = Decided::new();
    let uid = decided.uids()[0].to_owned();
    let check = |args: &[&str], code: i32, says: &str| {
        let done = decided.run(args).expect(code);
        assert!(done.stderr.contains(says), "{args:?}: {}", done.stderr);
        assert_eq!(done.text(), "");
    };
    check(&[&["verdict", "no-such", "true"], &WHO[..]].concat(), 1, "no finding \"no-such\"");
    check(&[&["verdict", &uid, "maybe"], &WHO[..]].concat(), 2, "expected");
    check(&["verdict", &uid, "true", "--by", "ann"], 2, "--reason");
    check(&["verdict", &uid, "true", "--by", "ann", "--reason", " "], 2, "some words");
    check(&[&["snooze", "no-such", "--for", "1h"], &WHO[..]].concat(), 1, "no finding");
    check(&[&["snooze", "--rule", "bulk", "--for", "1h"], &WHO[..]].concat(), 2, "bulk-change");
    check(&[&["snooze", &uid, "--for", "40d"], &WHO[..]].concat(), 2, "[[alerts.exception]]");
    check(&[&["snooze", "--for", "4h"], &WHO[..]].concat(), 2, "--rule");
    assert_eq!(decided.decisions()["counts"]["audit_rows"], 0);
    for args in [&["decisions"][..], &[&["verdict", &uid, "true"], &WHO[..]].concat()] {
        let done = program().run(&[args, &["--state", "/nowhere"]].concat()).expect(1);
        assert!(done.stderr.contains("no store in /nowhere"), "{}", done.stderr);
    }
}

/// While `run` holds the store: it records its configuration, and decisions are taken beside it.
#[test]
fn decisions_are_taken_beside_a_running_phiwatch() {
    let decided = Decided::new();
    let listen = free_address();
    let (source, here) = (free_address(), tempfile::tempdir().unwrap());
    let config = format!(
        "{}[source]\nurl = \"mysql://phi_repl@{source}\"\n[http]\nlisten = \"{listen}\"\n\
         [state]\ndir = {:?}\n",
        EXCEPTION.replace("2027-06-30", "2026-06-30"),
        decided.dir.path(),
    );
    let mut running = program().follow(here.path(), &config, &listen, &[]);
    running.wait_for("its configuration on record", Duration::from_secs(60), |_| {
        decided.decisions()["counts"]["audit_rows"] == 1
    });
    let uid = decided.uids()[0].to_owned();
    let _done = decided.run(&[&["verdict", &uid, "true"], &WHO[..]].concat()).expect(0);
    let args = ["snooze", &uid, "--for", "30m"];
    let _done = decided.run(&[&args[..], &WHO[..]].concat()).expect(0);
    assert!(running.is_running());
    assert!(
        running.log().contains("the exception \"merge\" of shop team ended"),
        "{}",
        running.log()
    );
    running.kill();
    let found = decided.decisions();
    let audit = found["audit"].as_array().unwrap();
    let actions: Vec<&str> = audit.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["configuration", "verdict", "snooze"]);
    let hash = audit[0]["detail"].as_str().unwrap();
    assert!(hash.starts_with("sha256:") && hash.len() == 7 + 64, "{hash}");
}

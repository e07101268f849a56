//! `phiwatch backtest` and `phiwatch rules test` over the recorded shop.

use std::fs;

use phiwatch_testkit::repository;
use serde_json::Value;

use crate::program;

#[test]
fn backtest_says_what_replay_says() {
    let files = repository::demo_binlogs();
    let replayed = program().run_on(&["replay"], &files).expect(0);
    let mut uids: Vec<String> = replayed
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|alert| alert["finding_info"]["uid"].as_str().unwrap().to_owned())
        .collect();
    uids.sort();
    uids.dedup();
    let args = ["backtest", "--json", "--budget", "0.01", "--budget", "100"];
    let done = program().run_on(&args, &files).expect(0);
    let answer: Value = serde_json::from_str(done.text()).unwrap();
    let trials = answer["trials"].as_array().unwrap();
    let budgets: Vec<f64> =
        trials.iter().map(|trial| trial["false_alerts_per_week"].as_f64().unwrap()).collect();
    assert_eq!(budgets, [1.0, 0.01, 100.0]);
    let findings: Vec<u64> =
        trials.iter().map(|trial| trial["total"]["findings"].as_u64().unwrap()).collect();
    assert_eq!(findings[0], uids.len() as u64);
    assert!(findings[1] <= findings[0] && findings[0] <= findings[2], "{findings:?}");
    assert!((4.0..5.0).contains(&answer["weeks"].as_f64().unwrap()));
    let text = program().run_on(&["backtest", "--budget", "1"], &files).expect(0);
    assert!(text.text().contains("\nbulk-export "), "{}", text.text());
}

#[test]
fn cases_of_the_recorded_shop_hold() {
    let dir = repository::path("fixtures/demo");
    let done = program().run(&["rules", "test", dir.to_str().unwrap()]).expect(0);
    assert_eq!(done.text(), "ok      demo.case.toml\n1 cases, 0 failed\n");
}

#[test]
fn cases_of_an_operators_own_rules_hold() {
    let dir = repository::path("fixtures/operator");
    let done = program().run(&["rules", "test", dir.to_str().unwrap()]).expect(0);
    assert_eq!(done.text(), "ok      rules.case.toml\n1 cases, 0 failed\n");
    for part in ["x-column-that-is-not-there", "patient_number", "x-column-of-another-type"] {
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
}

#[test]
fn ids_that_no_file_defines_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rules = repository::path("fixtures/operator/rules.toml");
    let case =
        format!("files = []\ncatalog_files = [{rules:?}]\n[[forbid]]\nrule = \"x-grup-moved\"\n");
    fs::write(dir.path().join("one.case.toml"), case).unwrap();
    let done = program().run(&["rules", "test", dir.path().to_str().unwrap()]).expect(2);
    for part in ["x-grup-moved", "no [[rule]]", "x-group-moved, "] {
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
    let config = dir.path().join("phiwatch.toml");
    let binlog = repository::path("fixtures/demo/binlog.000001");
    let replay = ["replay", "--config", config.to_str().unwrap(), binlog.to_str().unwrap()];
    fs::write(&config, "[alerts]\nrules_off = [\"x-group-moved\"]").unwrap();
    let done = program().run(&replay).expect(2);
    assert!(done.stderr.contains("none is defined there"), "{}", done.stderr);
    let text = format!(
        "[alerts]\nrules_off = [\"x-session-lifetime\"]\n[magento]\ncatalog_files = [{rules:?}]"
    );
    fs::write(&config, text).unwrap();
    let done = program().run(&replay).expect(0);
    assert!(!done.text().contains("x-session-lifetime"), "{}", done.text());
}

#[test]
fn a_case_that_does_not_hold_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = repository::path("fixtures/demo/binlog.000001");
    let case = format!(
        "files = [{file:?}]\n[[expect]]\nrule = \"canary-touched\"\n[[forbid]]\nrule = \"bulk-export\"\n"
    );
    fs::write(dir.path().join("one.case.toml"), case).unwrap();
    let done = program().run(&["rules", "test", dir.path().to_str().unwrap()]).expect(1);
    let said = "FAILED  one.case.toml\n        canary-touched: at least 1 wanted, 0 came\n";
    assert!(done.text().starts_with(said), "{}", done.text());
    fs::write(dir.path().join("two.case.toml"), "files = []\n[[expect]]\nrule = \"no-such\"\n")
        .unwrap();
    let done = program().run(&["rules", "test", dir.path().to_str().unwrap()]).expect(1);
    assert!(done.stderr.contains("no rule has the id \"no-such\""), "{}", done.stderr);
}

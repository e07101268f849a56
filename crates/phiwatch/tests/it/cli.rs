//! The command line: help, mistakes and their exit codes.

use std::fs;

use phiwatch_testkit::repository;

use crate::program;

#[test]
fn help_is_as_documented() {
    let commands = [
        "",
        "run",
        "demo",
        "replay",
        "decode",
        "coverage",
        "accept-reset",
        "verdict",
        "snooze",
        "decisions",
        "doctor",
        "schema",
    ];
    for command in commands {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        let done = program().run(&args).expect(0);
        let name = if command.is_empty() { "help" } else { command };
        insta::assert_snapshot!(format!("help_{name}"), done.text());
    }
}

/// Exit code, and what stderr must say.
#[track_caller]
fn check(args: &[&str], code: i32, says: &[&str]) {
    let done = program().run(args).expect(code);
    for part in says {
        assert!(done.stderr.contains(part), "{args:?} says:\n{}\nnot {part:?}", done.stderr);
    }
    assert_eq!(done.text(), "", "words go to stderr");
}

#[test]
fn mistakes_name_the_next_step() {
    check(&[], 2, &["Usage"]);
    check(&["reply"], 2, &["replay"]);
    check(&["replay"], 2, &["FILE"]);
    check(&["decode"], 2, &["FILE"]);
    check(&["decode", "--source", "mysql://a@127.0.0.1:1", "x"], 2, &["--source"]);
    check(&["schema", "page"], 2, &["alert", "config"]);
    check(&["replay", "/nowhere/binlog.000001"], 1, &["/nowhere/binlog.000001"]);
    check(&["run"], 2, &["--source"]);
    check(&["coverage", "--state", "/nowhere"], 1, &["/nowhere", "--state"]);
    check(&["coverage", "--state", "/nowhere", "--from", "noon"], 2, &["--from", "2026-"]);
}

#[test]
fn configuration_mistakes_name_key_and_range() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("phiwatch.toml");
    let file = file.to_str().unwrap();
    let binlog = repository::path("fixtures/types/mysql-9.7/xa.binlog");
    let binlog = binlog.to_str().unwrap();
    for (text, says) in [
        ("[sorce]", "sorce"),
        ("[source]\nurl = 5", "line 2"),
        ("[alerts]\nfalse_alerts_per_week = -1", "0.001 to 1000"),
        ("[alerts]\nrules_off = [\"no-such-rule\"]", "no-such-rule"),
        ("[magento]\ncatalog_files = [\"/nowhere/catalog.toml\"]", "/nowhere/catalog.toml"),
    ] {
        fs::write(file, text).unwrap();
        check(&["replay", "--config", file, binlog], 2, &[says]);
    }
    check(&["replay", "--config", "/nowhere.toml", binlog], 2, &["/nowhere.toml"]);
}

#[test]
fn no_server_is_no_hang() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let away = "mysql://phi_repl@127.0.0.1:1";
    let done = program()
        .env("PHIWATCH_SOURCE_PASSWORD", "TEST-SECRET")
        .run(&["doctor", "--source", away, "--state", state])
        .expect(1);
    let said = [done.text(), &done.stderr].concat();
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert!(!said.contains("TEST-SECRET"), "{said}");
}

#[test]
fn a_second_phiwatch_does_not_get_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let lock = fs::File::create(dir.path().join("lock")).unwrap();
    lock.try_lock().unwrap();
    let binlog = repository::path("fixtures/types/mysql-9.7/xa.binlog");
    let state = dir.path().to_str().unwrap();
    check(&["replay", "--state", state, binlog.to_str().unwrap()], 1, &["in use", state]);
}

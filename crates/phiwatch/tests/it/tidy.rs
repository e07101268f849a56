//! Rules of the repository that a compiler does not know.

use std::{collections::BTreeSet, process::Command};

use phiwatch_detect::RuleId;
use phiwatch_testkit::{identifiers, repository};

const LINES_MAX: usize = 1_000;

#[test]
fn pure_crates_touch_no_network_and_no_runtime() {
    for crate_name in ["phiwatch-binlog", "phiwatch-magento", "phiwatch-detect"] {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "-e", "normal", "--prefix", "none", "-p", crate_name])
            .current_dir(repository::root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        assert!(tree.starts_with(crate_name), "{tree}");
        for impure in ["tokio", "mio", "mysql_async", "rdkafka", "rusqlite", "tracing", "rand"] {
            let is_there = tree.lines().any(|line| line.split(' ').next() == Some(impure));
            assert!(!is_there, "{crate_name} depends on {impure}");
        }
    }
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for file in repository::tracked() {
        let is_ours = [".rs", ".py", ".sh", ".md"].iter().any(|ending| file.ends_with(ending));
        let Some(text) = repository::text(&file).filter(|_| is_ours) else { continue };
        let lines = text.lines().count();
        if lines > LINES_MAX {
            long.push(format!("{file}: {lines} lines"));
        }
    }
    assert!(long.is_empty(), "over {LINES_MAX} lines: {long:?}");
}

#[test]
fn no_machine_is_named() {
    // Put together here, so that this file does not hold them.
    let homes = [["/ho", "me/"].concat(), ["/ro", "ot/"].concat(), ["/wo", "rk/"].concat()];
    let mut found = Vec::new();
    for file in repository::tracked() {
        let Some(text) = repository::text(&file) else { continue };
        for (index, line) in text.lines().enumerate() {
            let is_path = |home: &String| {
                line.match_indices(home.as_str()).any(|(at, _)| {
                    // A part of a longer path, as below a variable, is no machine's place.
                    let before = line.get(..at).and_then(|text| text.chars().next_back());
                    !before
                        .is_some_and(|letter| letter.is_alphanumeric() || "}_-./".contains(letter))
                })
            };
            if homes.iter().any(is_path) {
                found.push(format!("{file}:{}", index + 1));
            }
        }
    }
    assert!(found.is_empty(), "absolute paths of somebody's machine: {found:?}");
}

#[test]
fn values_that_look_real_are_on_the_list() {
    let list = repository::text("fixtures/README.md").unwrap();
    let mut found = Vec::new();
    for file in repository::tracked() {
        let Some(text) = repository::text(&file) else { continue };
        for suspect in identifiers::suspects(&text) {
            if !list.contains(&format!("`{}`", suspect.value)) {
                found.push(format!("{file}:{}", suspect.line));
            }
        }
    }
    assert!(found.is_empty(), "like a person's number, not in fixtures/README.md: {found:?}");
}

#[test]
fn suspects_are_recognised() {
    let list = repository::text("fixtures/README.md").unwrap();
    let values: Vec<String> =
        identifiers::suspects(&list).into_iter().map(|suspect| suspect.value).collect();
    // Three social security and five card numbers stand there.
    assert_eq!(values.len(), 8, "{values:?}");
    // A wrong check digit, a telephone number and a time in microseconds are nothing.
    assert_eq!(identifiers::suspects("4111111111111112 303-555-0100 1795543619729059"), []);
}

#[test]
fn the_decoder_has_no_way_to_panic_or_overflow() {
    // No crate has unsafe code: the workspace forbids it, and every crate takes its lints.
    let workspace = repository::text("Cargo.toml").unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    let tracked = repository::tracked();
    let manifests =
        tracked.iter().filter(|file| file.starts_with("crates/") && file.ends_with("Cargo.toml"));
    for manifest in manifests {
        let text = repository::text(manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest} takes no lints");
    }
    let denied = ["indexing_slicing", "arithmetic_side_effects", "expect_used"];
    let root = "crates/phiwatch-binlog/src/lib.rs";
    let text = repository::text(root).unwrap();
    let list = denied.map(|lint| format!("clippy::{lint}")).join(", ");
    assert!(text.contains(&format!("#![deny({list})]")), "{root} denies {list}");
    // Tests may; `lib.rs` says so once, for them alone. Nothing else takes the lints back.
    assert_eq!(text.matches("allow(").count(), 1, "{root}");
    assert!(text.contains("#![cfg_attr(\n    test,\n    allow("), "{root}");
    let more = [&denied[..], &["unwrap_used", "panic", "string_slice", "unsafe_code"]].concat();
    let is_source = |file: &&String| file.starts_with("crates/phiwatch-binlog/src/");
    for file in tracked.iter().filter(is_source).filter(|file| *file != root) {
        let text = repository::text(file).unwrap();
        for attribute in text.split("#[").chain(text.split("#![")).skip(1) {
            let attribute = attribute.split(']').next().unwrap();
            let takes_back = attribute.contains("allow(") || attribute.contains("expect(");
            let is_denied = more.iter().any(|lint| attribute.contains(lint));
            assert!(!(takes_back && is_denied), "{file}: {attribute}");
        }
    }
}

/// Names of functions that begin with `field_`, in all crates.
fn tests_of_field_failures() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_code = |file: &String| file.starts_with("crates/") && file.ends_with(".rs");
    for file in repository::tracked().into_iter().filter(is_code) {
        for line in repository::text(&file).unwrap_or_default().lines() {
            let line = line.trim_start();
            let line = line.strip_prefix("async ").unwrap_or(line);
            let Some(name) = line.strip_prefix("fn field_") else { continue };
            let name = name.split(['(', '<']).next().unwrap();
            found.insert(format!("field_{name}"));
        }
    }
    found
}

#[test]
fn every_field_failure_has_its_test() {
    let tests = tests_of_field_failures();
    let page = repository::text("docs/field-failures.md").unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| #"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let numbers: Vec<u32> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>(), "one line for each, in order");
    for row in rows {
        let [_, digits, failed, does, named, _] = row[..] else { panic!("{row:?}: four cells") };
        assert!(failed.contains('#') || failed.contains("source of"), "{digits}: no source");
        assert!(!does.is_empty(), "{digits}: what phiwatch does");
        let prefix = format!("field_{digits}_");
        let named: BTreeSet<String> =
            named.split('`').filter(|name| name.starts_with("field_")).map(String::from).collect();
        let there: BTreeSet<String> =
            tests.iter().filter(|name| name.starts_with(&prefix)).cloned().collect();
        let gone: Vec<_> = named.difference(&there).collect();
        assert!(gone.is_empty(), "docs/field-failures.md names {gone:?}, which do not exist");
        assert!(!there.is_empty(), "{digits} has no test");
        assert!(!named.is_empty(), "{digits}: name its test in the table");
    }
    let strays: Vec<_> = tests
        .iter()
        .filter(|name| {
            let digits = name.get(6..8).and_then(|digits| digits.parse::<u32>().ok());
            !digits.is_some_and(|number| (1..=40).contains(&number))
        })
        .collect();
    assert!(strays.is_empty(), "no line of the table: {strays:?}");
}

#[test]
fn every_rule_has_a_page() {
    for rule in RuleId::ALL {
        let page = repository::text(&format!("docs/rules/{rule}.md"))
            .unwrap_or_else(|| panic!("docs/rules/{rule}.md is missing"));
        assert!(page.starts_with(&format!("# {rule}")), "docs/rules/{rule}.md: title");
        for part in ["What", "Why", "Evidence", "False positives", "What to do"] {
            let has = page.lines().any(|line| line.starts_with("## ") && line.contains(part));
            assert!(has, "docs/rules/{rule}.md has no section {part:?}");
        }
    }
}

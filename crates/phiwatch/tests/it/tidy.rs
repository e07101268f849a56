//! Rules of the repository that a compiler does not know.

use std::process::Command;

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

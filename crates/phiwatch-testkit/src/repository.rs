//! Where things are in the repository.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The repository's folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// A path inside it.
#[must_use]
pub fn path(inside: &str) -> PathBuf {
    root().join(inside)
}

/// Files of a folder whose names end so, sorted; panics if there is none.
#[must_use]
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(path(folder))
        .unwrap_or_else(|error| panic!("cannot list {folder}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no *{ending} in {folder}");
    found
}

/// Binlogs of the demo shop, oldest first.
#[must_use]
pub fn demo_binlogs() -> Vec<PathBuf> {
    let mut found = files("fixtures/demo", "");
    found.retain(|path| path.file_stem().is_some_and(|stem| stem == "binlog"));
    assert!(!found.is_empty(), "no fixtures/demo/binlog.*; make fixtures records them");
    found
}

/// Binlogs of every column type, one server after the other.
#[must_use]
pub fn type_binlogs() -> Vec<PathBuf> {
    ["mysql-9.7", "mariadb-10.11", "mariadb-11.8"]
        .iter()
        .flat_map(|server| files(&format!("fixtures/types/{server}"), ".binlog"))
        .collect()
}

/// Files that git tracks or would track, as paths inside the repository. Without a work tree of
/// git (an unpacked archive) every file outside `target`.
#[must_use]
pub fn tracked() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files = match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
        }
        _ => walk(&root()),
    };
    files.retain(|file| path(file).is_file());
    files
}

fn walk(folder: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != ".git" {
                folders.push(path);
            } else if path.is_file() {
                let inside = path.strip_prefix(folder).unwrap();
                out.push(inside.to_string_lossy().into_owned());
            }
        }
    }
    out
}

/// A file's text, if it is text.
#[must_use]
pub fn text(inside: &str) -> Option<String> {
    String::from_utf8(std::fs::read(path(inside)).ok()?).ok()
}

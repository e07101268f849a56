//! A fresh shop on a server, a fresh topic, and a configuration that joins them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use phiwatch_testkit::{
    Daemon, Finished, Program, Server,
    ocsf::State,
    program::free_address,
    servers::{self, Schema},
};
use tempfile::TempDir;

use crate::{program, topic::Topic};

/// How long the program may take to be connected and caught up.
pub(crate) const READY: Duration = Duration::from_secs(30);

/// Server ids of replicas must differ; tests that run at the same time are in other processes.
static NEXT_SERVER_ID: AtomicU32 = AtomicU32::new(0);

/// A schema, the binlog file where its life begins, and places for one installation.
pub(crate) struct Shop {
    pub server: Server,
    pub schema: Schema,
    pub first_binlog: String,
    pub bootstrap: String,
    pub listen: String,
    dir: TempDir,
}

impl Shop {
    /// Begins a binlog file; the schema does not exist yet.
    pub(crate) fn new(server: Server, what: &str) -> Self {
        Self::with_kafka(server, what, &servers::kafka())
    }

    pub(crate) fn with_kafka(server: Server, what: &str, bootstrap: &str) -> Self {
        let name = server.fresh_name(what);
        Self {
            server,
            schema: Schema { server, name },
            first_binlog: server.new_binlog(),
            bootstrap: bootstrap.to_owned(),
            listen: free_address(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn database(&self) -> &str {
        &self.schema.name
    }

    /// A topic of the shop's name.
    pub(crate) fn topic(&self) -> Topic {
        Topic::create(&self.bootstrap, &self.schema.name)
    }

    /// A folder of the shop's own, made if absent.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The configuration of an installation in `folder`; `sink` is the text of its sinks.
    pub(crate) fn config(&self, folder: &Path, sink: &str) -> String {
        let start = format!("start = \"{}:4\"", self.first_binlog);
        let databases = format!("databases = [{:?}]", self.schema.name);
        let source = format!("{start}\n{databases}");
        installation(folder, &self.server.url("phi_repl"), &source, &self.listen, sink)
    }

    /// The text of a Kafka sink to the topic of the shop's name.
    pub(crate) fn kafka_sink(&self) -> String {
        kafka_sink(&self.bootstrap, &self.schema.name)
    }

    /// Starts following, with Kafka, in the folder `run`.
    pub(crate) fn follow(&self, args: &[&str]) -> Daemon {
        self.follow_as(&program(), args)
    }

    pub(crate) fn follow_as(&self, program: &Program, args: &[&str]) -> Daemon {
        let folder = self.folder("run");
        let config = self.config(&folder, &self.kafka_sink());
        program.follow(&folder, &config, &self.listen, args)
    }

    /// What an installation that was never interrupted says of the same binlog.
    pub(crate) fn uninterrupted(&self, name: &str) -> Vec<State> {
        let folder = self.folder(name);
        let lines = folder.join("alerts.jsonl");
        let sink = format!("[[sink]]\ntype = \"jsonl\"\npath = {lines:?}\n");
        let config = self.config(&folder, &sink);
        let mut daemon = program().follow(&folder, &config, &self.listen, &["--once"]);
        assert_eq!(daemon.wait_end(Duration::from_secs(60)), Some(0), "{}", daemon.log());
        fs::read_to_string(lines).unwrap_or_default().lines().map(State::of).collect()
    }

    /// `replay` of binlog files with this shop's configuration.
    pub(crate) fn replay(&self, files: &[PathBuf]) -> Finished {
        let folder = self.folder("replay");
        let config = folder.join("phiwatch.toml");
        fs::write(&config, self.config(&folder, "")).unwrap();
        program().run_on(&["replay", "--config", config.to_str().unwrap()], files)
    }
}

/// The configuration of an installation in `folder`; `source` is the rest of that section.
pub(crate) fn installation(
    folder: &Path,
    url: &str,
    source: &str,
    listen: &str,
    sink: &str,
) -> String {
    let password = folder.join("password");
    fs::write(&password, "phi_repl\n").unwrap();
    let number = NEXT_SERVER_ID.fetch_add(1, Ordering::Relaxed);
    let server_id = 4_100_000 + std::process::id() % 100_000 * 100 + number;
    format!(
        "[source]\nurl = {url:?}\npassword_file = {password:?}\nserver_id = {server_id}\n\
         {source}\n[http]\nlisten = {listen:?}\n[state]\ndir = {:?}\n{sink}",
        folder.join("state"),
    )
}

/// The text of a Kafka sink.
pub(crate) fn kafka_sink(bootstrap: &str, topic: &str) -> String {
    format!("[[sink]]\ntype = \"kafka\"\nbootstrap = {bootstrap:?}\ntopic = {topic:?}\n")
}

/// States by `uid/revision`; panics if one is there twice.
#[track_caller]
pub(crate) fn by_id(states: Vec<State>) -> BTreeMap<String, State> {
    let mut out = BTreeMap::new();
    for state in states {
        let brief = state.brief();
        assert!(out.insert(state.id(), state).is_none(), "there twice: {brief}");
    }
    out
}

/// Panics with the difference unless both hold the same states in the same words.
#[track_caller]
pub(crate) fn assert_same(got: Vec<State>, want: Vec<State>) {
    let (got, want) = (by_id(got), by_id(want));
    let briefs = |of: &BTreeMap<String, State>, other: &BTreeMap<String, State>| -> Vec<String> {
        of.iter()
            .filter(|(id, state)| other.get(*id).is_none_or(|same| same.line != state.line))
            .map(|(_, state)| state.line.clone())
            .collect()
    };
    let (extra, missing) = (briefs(&got, &want), briefs(&want, &got));
    assert!(
        extra.is_empty() && missing.is_empty(),
        "not in the other or not the same:\n  {}\nwanted:\n  {}",
        extra.join("\n  "),
        missing.join("\n  ")
    );
}

//! An installation beside servers of a test's own, with a topic.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use phiwatch_testkit::{Daemon, Finished, ocsf::State, program::free_address, servers};
use tempfile::TempDir;

use crate::{
    program,
    shop::{installation, kafka_sink},
    topic::Topic,
};

/// Long for a machine that is busy with other things.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// State directory, configuration and topic.
pub(crate) struct Installation {
    pub topic: Topic,
    listen: String,
    bootstrap: String,
    dir: TempDir,
}

impl Installation {
    pub(crate) fn new(topic: &str) -> Self {
        let bootstrap = servers::kafka();
        Self {
            topic: Topic::create(&bootstrap, topic),
            listen: free_address(),
            bootstrap,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Follows `url`; `source` is more of that section.
    pub(crate) fn follow(&self, url: &str, source: &str, args: &[&str]) -> Daemon {
        let sink = kafka_sink(&self.bootstrap, &self.topic.name);
        let config = installation(self.folder(), url, source, &self.listen, &sink);
        program().follow(self.folder(), &config, &self.listen, args)
    }

    /// The same with `--once`, to its end.
    #[track_caller]
    pub(crate) fn once(&self, url: &str, source: &str, code: i32) {
        let mut daemon = self.follow(url, source, &["--once"]);
        assert_eq!(daemon.wait_end(LONG), Some(code), "{}", daemon.log());
    }

    /// Another command with the configuration that was followed last.
    pub(crate) fn command(&self, name: &str) -> Finished {
        let config = self.folder().join("phiwatch.toml");
        program().run(&[name, "--config", config.to_str().unwrap()])
    }

    /// All alerts of a rule that have come so far, and come until there are `count`.
    #[track_caller]
    pub(crate) fn alerts(&mut self, rule: &str, count: usize) -> Vec<State> {
        let of = |states: Vec<State>| -> Vec<State> {
            states.into_iter().filter(|state| state.rule == rule).collect()
        };
        self.topic.read_until(LONG, |messages| {
            of(messages.iter().map(|message| message.state()).collect()).len() >= count
        });
        // One too many would come about now.
        self.topic.read_for(Duration::from_secs(1));
        let found = of(self.topic.states());
        assert_eq!(found.len(), count, "{:#?}", self.topic.states());
        found
    }
}

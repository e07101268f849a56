//! SIGHUP: a running process reads its configuration and catalogue files again.
//!
//! Input: the same files and command line as at the start. Output: parts for the pipeline, which
//! takes them over between two transactions, or an error on stderr, and the old ones stay.
//!
//! # Invariants
//! - A file that is refused changes nothing.
//! - What cannot change in a running process keeps its old value, and is said by its section.
//! - No contents of a file are in a metric: only a hash, keyed with the installation's key.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use phiwatch_magento::TokenKey;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    commands::decisions,
    config::{Config, File, Overrides},
    metrics::Metrics,
    pipeline::Pipeline,
    setup::{self, Parts},
    store::decisions::Audit,
};

/// What a signal made ready for the pipeline.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) parts: Parts,
    pub(crate) hash: String,
    /// What the store's audit log says once it counts.
    pub(crate) audit: Audit,
}

type Slot = Arc<Mutex<Option<Next>>>;

fn locked(slot: &Slot) -> MutexGuard<'_, Option<Next>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pipeline's side of it.
pub(crate) struct Reloads {
    ready: Slot,
    /// Hash and audit of the files that the pipeline has, and does not use yet.
    applying: Option<(String, Audit)>,
    metrics: Arc<Metrics>,
}

impl Reloads {
    /// Hands changed files to the pipeline.
    pub(crate) fn hand(&mut self, pipeline: &mut Pipeline) {
        let next = locked(&self.ready).take();
        if let Some(next) = next {
            self.applying = Some((next.hash, next.audit));
            pipeline.reload(next.parts);
        }
    }

    /// Says what the pipeline made of them; a row for the audit log if they count now.
    pub(crate) fn tell(&mut self, pipeline: &mut Pipeline) -> Option<Audit> {
        let outcome = pipeline.take_reloaded()?;
        let (hash, audit) = self.applying.take()?;
        match outcome {
            Ok(()) => {
                self.metrics.reload_applied(&hash);
                tracing::info!("the changed configuration counts from here on");
                Some(audit)
            }
            Err(error) => {
                refused(&error, &self.metrics);
                None
            }
        }
    }
}

/// Reads the files again.
pub(crate) struct Reloader {
    pub(crate) path: Option<PathBuf>,
    pub(crate) overrides: Overrides,
    /// As the process was started.
    pub(crate) started: Config,
    pub(crate) key: TokenKey,
}

impl Reloader {
    /// The parts of the files as they are now, and the sections that need a restart.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn read(&self) -> anyhow::Result<(Next, Vec<&'static str>)> {
        let mut config = Config::load(self.path.as_deref(), self.overrides.clone())?;
        let kept = keep(&mut config.file, &self.started.file);
        let parts = setup::parts(&config, &self.key)?;
        let hash = hash(self.path.as_deref(), &config, &self.key);
        let audit = decisions::loaded(self.path.as_deref())?;
        for words in config.ended_exceptions(jiff::Timestamp::now()) {
            tracing::warn!("{words}");
        }
        Ok((Next { parts, hash, audit }, kept))
    }

    /// Takes SIGHUP from now on.
    pub(crate) fn listen(
        self,
        runtime: &Runtime,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Reloads> {
        metrics.config_loaded(&hash(self.path.as_deref(), &self.started, &self.key));
        let slot = Slot::default();
        let reloads = Reloads { ready: slot.clone(), applying: None, metrics: metrics.clone() };
        let _guard = runtime.enter();
        let mut hangup = signal(SignalKind::hangup()).context("cannot take SIGHUP")?;
        runtime.spawn(async move {
            while hangup.recv().await.is_some() {
                match self.read() {
                    Ok((next, kept)) => {
                        for section in kept {
                            tracing::warn!(
                                section,
                                "the section has changed, and counts from the next start on"
                            );
                        }
                        *locked(&slot) = Some(next);
                        tracing::info!(
                            "the files were read; they count from the next transaction on"
                        );
                    }
                    Err(error) => refused(&error, &metrics),
                }
            }
        });
        Ok(reloads)
    }
}

/// Says that the old configuration stays.
fn refused(error: &anyhow::Error, metrics: &Metrics) {
    metrics.reload_refused();
    tracing::error!(
        error = format!("{error:#}"),
        "the changed configuration was refused, the old one stays\n\
         hint: correct the file and send SIGHUP again"
    );
}

/// Puts the old value in place of what cannot change; gives the sections in which it differs.
fn keep(new: &mut File, old: &File) -> Vec<&'static str> {
    let mut kept = Vec::new();
    fn one<T: PartialEq + Clone>(
        kept: &mut Vec<&'static str>,
        name: &'static str,
        new: &mut T,
        old: &T,
    ) {
        if new != old {
            kept.push(name);
            new.clone_from(old);
        }
    }
    one(&mut kept, "[source]", &mut new.source, &old.source);
    one(&mut kept, "[privacy]", &mut new.privacy, &old.privacy);
    one(&mut kept, "[state]", &mut new.state, &old.state);
    one(&mut kept, "[http]", &mut new.http, &old.http);
    one(&mut kept, "[[sink]]", &mut new.sink, &old.sink);
    kept
}

/// Tells whether two processes of one installation run the same files.
fn hash(path: Option<&Path>, config: &Config, key: &TokenKey) -> String {
    let files =
        path.into_iter().chain(config.file.magento.catalog_files.iter().map(PathBuf::as_path));
    let texts: Vec<Vec<u8>> = files.map(|file| fs::read(file).unwrap_or_default()).collect();
    format!("{:016x}", key.fingerprint(texts.iter().map(Vec::as_slice)))
}

#[cfg(test)]
mod tests {
    use phiwatch_detect::Alert;
    use phiwatch_source::{FileSource, Source as _};

    use super::*;
    use crate::store::Checkpoint;

    fn repository(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
    }

    fn demo() -> Vec<PathBuf> {
        (1..=4).map(|n| repository(&format!("fixtures/demo/binlog.00000{n}"))).collect()
    }

    fn with_rules() -> Config {
        let rules = repository("fixtures/operator/rules.toml");
        let text = format!("[magento]\ncatalog_files = [{rules:?}]\n[alerts]\nseverity_min = 1");
        Config::read(&text, "new.toml", Overrides::default()).unwrap()
    }

    fn key() -> TokenKey {
        TokenKey([7; 32])
    }

    /// All alerts of the recorded shop, with other settings from a batch on; and the checkpoint at
    /// which they came to count.
    fn run(
        mut pipeline: Pipeline,
        change: Option<(usize, &Config)>,
    ) -> (Vec<Alert>, Vec<Checkpoint>) {
        let mut source = FileSource::new(demo());
        let (mut alerts, mut checkpoints, mut number) = (Vec::new(), Vec::new(), 0);
        while let Some(batch) = source.next_batch().unwrap() {
            if let Some((_, config)) = change.filter(|(at, _)| *at == number) {
                pipeline.reload(setup::parts(config, &key()).unwrap());
            }
            number += 1;
            pipeline.feed(&batch);
            let reloaded = pipeline.take_reloaded();
            let produced = pipeline.take();
            if let Some(outcome) = reloaded {
                outcome.unwrap();
                checkpoints.extend(produced.checkpoint);
            }
            alerts.extend(produced.alerts);
        }
        assert!(number > 10, "the batches are too large for this test");
        pipeline.finish();
        alerts.extend(pipeline.take().alerts);
        (alerts, checkpoints)
    }

    #[test]
    fn a_reload_equals_a_restart_at_the_same_transaction() {
        let (old, new) = (Config::read("", "", Overrides::default()).unwrap(), with_rules());
        let start = || setup::pipeline(&old, &key(), None).unwrap();
        let (unchanged, none) = run(start(), None);
        assert!(none.is_empty());
        let (reloaded, checkpoints) = run(start(), Some((5, &new)));
        assert_eq!(checkpoints.len(), 1);
        let restarted = setup::pipeline(&new, &key(), Some(&checkpoints[0])).unwrap();
        let (after, _) = run(restarted, None);
        let before = reloaded.len() - after.len();
        assert_eq!(reloaded[before..], after);
        assert_eq!(reloaded[..before], unchanged[..before]);
        assert!(after.iter().any(|alert| alert.rule_id() == "x-group-moved"));
        assert!(!unchanged.iter().any(|alert| alert.rule_id().starts_with("x-")));
    }

    #[test]
    fn a_bad_file_is_refused_and_what_needs_a_restart_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rules) = (dir.path().join("phiwatch.toml"), dir.path().join("rules.toml"));
        let write = |text: &str| fs::write(&path, text).unwrap();
        let text = format!("[magento]\ncatalog_files = [{rules:?}]\n[alerts]\nseverity_min = 3\n");
        fs::write(&rules, "").unwrap();
        write(&text);
        let started = Config::load(Some(&path), Overrides::default()).unwrap();
        let reloader = Reloader {
            path: Some(path.clone()),
            overrides: Overrides::default(),
            started,
            key: key(),
        };
        let (first, kept) = reloader.read().unwrap();
        assert!(kept.is_empty());
        fs::write(&rules, "[[rule]]\nid = \"moved\"\n").unwrap();
        let error = format!("{:#}", reloader.read().unwrap_err());
        assert!(error.contains("rules.toml, line "), "{error}");
        fs::write(&rules, "noise = [\"acme\"]\n").unwrap();
        write(&format!("{text}[http]\nlisten = \"\"\n[[sink]]\ntype = \"jsonl\"\npath = \"/x\"\n"));
        let (second, kept) = reloader.read().unwrap();
        assert_eq!(kept, ["[http]", "[[sink]]"]);
        assert_ne!(first.hash, second.hash);
        write("[alerts]\nseverity_min = 9\n");
        assert!(format!("{:#}", reloader.read().unwrap_err()).contains("alerts.severity_min"));
    }
}

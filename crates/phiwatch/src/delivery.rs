//! From the store to the sinks: one thread per sink, in order, at least once.
//!
//! # Invariants
//! - Only what a sink reports as durable is marked delivered.
//! - Before something is sent the store knows that it may be under way, so that after a crash the
//!   sink is asked for it instead of getting it twice. (Not so for what a snooze held back: after a
//!   crash at its end it may come twice, with the same id.)
//! - What is snoozed leaves the queue, and its newest state is sent at the snooze's end.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use phiwatch_sink::{AnySink, ErrorKind, Outgoing, Sink, SinkError};
use tokio::sync::watch;

use crate::{
    metrics::Metrics,
    store::{Store, StoreError},
};

const BATCH_MAX: usize = 100;
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// How far back a topic is searched for alerts that were under way at a crash.
const RECONCILE_MESSAGES_MAX: u64 = 10_000;

/// What a delivery thread needs.
pub(crate) struct Delivery {
    pub state_dir: PathBuf,
    pub sink: AnySink,
    /// Changes when the store has something new; a change while a batch is under way is kept.
    pub bell: watch::Receiver<u64>,
    /// Turns true when the process ends: deliver what is there, then stop.
    pub stop: watch::Receiver<bool>,
    pub metrics: Arc<Metrics>,
    /// How long to go on trying after `stop`.
    pub grace: Duration,
}

impl Delivery {
    /// Runs until stopped. Errors of the sink are retried for ever; those of the store too.
    pub(crate) async fn run(mut self) {
        let mut store = self.open().await;
        let name = self.sink.name().to_owned();
        self.reconcile(&mut store, &name).await;
        let mut retry = RETRY_FIRST;
        let mut deadline = None;
        let mut next_check = Instant::now();
        loop {
            if Instant::now() >= next_check {
                next_check = Instant::now() + CHECK_EVERY;
                self.check(&name).await;
            }
            if *self.stop.borrow() && deadline.is_none() {
                deadline = Some(Instant::now() + self.grace);
            }
            // Before the look: what is stored after it rings again.
            self.bell.mark_unchanged();
            let now_ms = jiff::Timestamp::now().as_millisecond();
            let outcome = self.step(&mut store, &name, now_ms).await;
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            match outcome {
                Ok(0) if deadline.is_some() => return,
                Ok(0) => {
                    retry = RETRY_FIRST;
                    tokio::select! {
                        // The sender lives as long as the pipeline; then `stop` comes, too.
                        Ok(()) = self.bell.changed() => {}
                        _ = self.stop.changed() => {}
                        () = tokio::time::sleep_until(next_check.into()) => {}
                    }
                }
                Ok(_) => retry = RETRY_FIRST,
                Err(_) if is_over => return,
                Err(Wait) => {
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Whether the sink could be reached, also while there is nothing to deliver.
    async fn check(&self, name: &str) {
        let checked = self.sink.check().await;
        if let Err(error) = &checked {
            tracing::warn!(sink = name, error = %error, "the sink is not reachable");
        }
        self.metrics.set_sink_up(name, checked.is_ok());
    }

    async fn open(&self) -> Store {
        loop {
            match Store::open(&self.state_dir) {
                Ok(store) => return store,
                Err(error) => {
                    tracing::error!(error = %error, "delivery cannot open the store, retrying");
                    tokio::time::sleep(RETRY_MAX).await;
                }
            }
        }
    }

    /// After a crash: alerts that were under way may be in the sink already.
    async fn reconcile(&self, store: &mut Store, name: &str) {
        let Ok(in_flight) = store.in_flight(name) else { return };
        if in_flight.is_empty() {
            return;
        }
        let ids: Vec<(String, u32)> =
            in_flight.iter().map(|(_, uid, revision)| (uid.clone(), *revision)).collect();
        match self.sink.already_delivered(&ids, RECONCILE_MESSAGES_MAX).await {
            Ok(found) => {
                let seqs: Vec<i64> = in_flight
                    .iter()
                    .filter(|(_, uid, revision)| found.contains(&(uid.clone(), *revision)))
                    .map(|(seq, _, _)| *seq)
                    .collect();
                if let Err(error) = store.mark_delivered(name, &seqs) {
                    tracing::warn!(error = %error, "cannot note alerts found in the sink");
                }
            }
            Err(error) => tracing::warn!(
                error = %error,
                alerts = in_flight.len(),
                "cannot ask the sink what it has; alerts under way at the last stop are sent again"
            ),
        }
    }

    /// Sends one batch. `Ok(n)`: n alerts were settled; `Err`: wait and try again.
    async fn step(&self, store: &mut Store, name: &str, now_ms: i64) -> Result<usize, Wait> {
        let held = store.hold(name, now_ms)?;
        self.metrics.snoozed(name, held as u64);
        let mut batch = store.undelivered(name, BATCH_MAX)?;
        if batch.is_empty() {
            batch = store.released(name, now_ms, BATCH_MAX)?;
        }
        let Some(last) = batch.last() else { return Ok(0) };
        store.mark_in_flight(name, last.seq)?;
        let results = self.sink.deliver(&batch).await;
        self.settle(store, name, &batch, results)
    }

    fn settle(
        &self,
        store: &mut Store,
        name: &str,
        batch: &[Outgoing],
        results: Vec<Result<phiwatch_sink::Ack, SinkError>>,
    ) -> Result<usize, Wait> {
        let mut done = Vec::new();
        let mut failure = None;
        for (alert, result) in batch.iter().zip(results) {
            match result {
                Ok(_) => done.push(alert.seq),
                Err(error) if error.kind() == ErrorKind::TooLarge => {
                    tracing::error!(sink = name, error = %error, uid = alert.uid, "alert put aside");
                    self.metrics.dead_letters(name);
                    store.dead_letter(name, alert.seq, &error.to_string())?;
                    store.mark_released(name, &[alert.seq])?;
                }
                Err(error) => failure = Some(error),
            }
        }
        store.mark_delivered(name, &done)?;
        store.mark_released(name, &done)?;
        self.metrics.delivered(name, done.len() as u64);
        let Some(error) = failure else {
            self.metrics.set_sink_up(name, true);
            return Ok(batch.len());
        };
        self.metrics.set_sink_up(name, false);
        tracing::warn!(sink = name, error = %error, "alerts wait in the store");
        Err(Wait)
    }
}

/// Something failed, was logged, and is worth another try later.
struct Wait;

impl From<StoreError> for Wait {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "delivery cannot use the store, retrying");
        Self
    }
}

#[cfg(test)]
mod tests {
    use phiwatch_sink::JsonLinesSink;

    use super::*;
    use crate::store::{
        Batch,
        decisions::{Audit, Snooze},
        sample,
    };

    fn add(store: &mut Store, uid: &str, revision: u32) {
        let alerts = vec![sample(uid, revision)];
        let batch = Batch { alerts, severities: vec![3], ..Batch::default() };
        store.commit(&batch).unwrap();
    }

    /// What is snoozed reaches the sink at the end only, in its newest state, once, and is counted.
    #[tokio::test]
    async fn a_snooze_keeps_alerts_from_the_sink_until_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alerts.jsonl");
        let mut store = Store::open(dir.path()).unwrap();
        let (_bell, bell) = watch::channel(0);
        let (_stop, stop) = watch::channel(false);
        let delivery = Delivery {
            state_dir: dir.path().to_owned(),
            sink: AnySink::JsonLines(JsonLinesSink::file(&file)),
            bell,
            stop,
            metrics: Arc::new(Metrics::new().unwrap()),
            grace: Duration::ZERO,
        };
        let snooze = Snooze {
            from_ms: 100,
            until_ms: 200,
            who: "ann".into(),
            reason: "known".into(),
            uid: "a".into(),
            rule: String::new(),
            severity_max: 3,
        };
        store.snooze(&snooze, &Audit::default()).unwrap();
        add(&mut store, "a", 0);
        add(&mut store, "b", 0);
        add(&mut store, "a", 1);
        let mut sent = Vec::new();
        for now_ms in [150, 199, 200, 201] {
            assert!(delivery.step(&mut store, "jsonl", now_ms).await.is_ok());
            sent.push(std::fs::read_to_string(&file).unwrap().replace('\n', " "));
        }
        assert_eq!(sent, ["b0 ", "b0 ", "b0 a1 ", "b0 a1 "]);
        let metrics = delivery.metrics.render().unwrap();
        assert!(metrics.contains("phiwatch_alerts_snoozed_total{sink=\"jsonl\"} 2"), "{metrics}");
        assert_eq!(store.held().unwrap(), (2, 0));
    }
}

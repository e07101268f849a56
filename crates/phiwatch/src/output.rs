//! What the pipeline produced, made durable: rendered once, stored, rung for delivery.

use std::{sync::Arc, time::Duration};

use phiwatch_detect::Alert;
use phiwatch_sink::{Outgoing, wire};
use tokio::sync::watch;

use crate::{
    metrics::Metrics,
    pipeline::Produced,
    store::{Batch, Store, StoreError, decisions::Audit},
};

/// Pause between two tries to write while the disk is full or busy.
const RETRY: Duration = Duration::from_secs(1);

/// Writes to the store.
pub(crate) struct Output {
    pub store: Store,
    pub context: wire::WireContext,
    pub metrics: Arc<Metrics>,
    /// Rows of the audit log for the next write.
    pub audits: Vec<Audit>,
    /// Counts the writes that brought alerts.
    pub bell: watch::Sender<u64>,
}

/// An alert as it is stored and delivered.
pub(crate) fn outgoing(alert: &Alert, context: &wire::WireContext) -> Outgoing {
    Outgoing {
        seq: 0,
        uid: alert.uid.to_string(),
        revision: alert.revision,
        activity: alert.activity as u8,
        tenant: alert.tenant.to_string(),
        rule: alert.rule_id().to_owned(),
        time_ms: alert.time.millis(),
        value: wire::ocsf(alert, context).into_bytes(),
    }
}

/// What is to be written of it.
pub(crate) fn batch(produced: &Produced, context: &wire::WireContext) -> Batch {
    Batch {
        alerts: produced.alerts.iter().map(|alert| outgoing(alert, context)).collect(),
        severities: produced.alerts.iter().map(|alert| alert.severity as u8).collect(),
        gaps: produced.gaps.clone(),
        checkpoint: produced.checkpoint.clone(),
        audits: Vec::new(),
    }
}

impl Output {
    /// Makes alerts, gaps and checkpoint durable in one transaction. While the disk is full this
    /// waits and tries again (`should_stop` ends that): nothing that was examined is lost, and
    /// the full queue stops the reading.
    ///
    /// # Errors
    /// The store cannot be used at all, or waiting was ended.
    pub(crate) fn write(
        &mut self,
        produced: &Produced,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), StoreError> {
        let mut batch = batch(produced, &self.context);
        batch.audits.clone_from(&self.audits);
        if batch.is_empty() {
            return Ok(());
        }
        while let Err(error) = self.store.commit(&batch) {
            if !error.is_transient() || should_stop() {
                return Err(error);
            }
            self.metrics.store_error();
            tracing::error!(error = %error, "the store cannot be written, trying again; reading waits");
            std::thread::sleep(RETRY);
        }
        self.audits.clear();
        for alert in &produced.alerts {
            self.metrics.alert(alert.rule_id(), alert.severity as u8);
        }
        if batch.checkpoint.is_some() {
            self.metrics.checkpoint_written(jiff::Timestamp::now().as_second());
        }
        if !batch.alerts.is_empty() {
            self.bell.send_modify(|writes| *writes += 1);
        }
        Ok(())
    }
}

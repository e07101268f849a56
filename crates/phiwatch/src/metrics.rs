//! All metrics, with their help texts. Labels are closed sets.

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::{AtomicU64, GenericCounter},
};

use crate::pipeline::Pipeline;

/// The registry and its handles.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    events: IntCounter,
    bytes: IntCounter,
    transactions: IntCounter,
    skipped: IntCounter,
    rows: IntCounter,
    statements: IntCounter,
    gaps: IntCounterVec,
    alerts: IntCounterVec,
    last_commit: IntGauge,
    checkpoint: IntGauge,
    store_errors: IntCounter,
    connected: IntGauge,
    caught_up: IntGauge,
    reconnects: IntCounter,
    delivered: IntCounterVec,
    dead: IntCounterVec,
    waiting: IntGaugeVec,
    sink_up: IntGaugeVec,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// Only for a name used twice: our own bug.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let metrics = Self {
            events: counter("phiwatch_binlog_events_total", "Binlog events read.")?,
            bytes: counter("phiwatch_binlog_bytes_total", "Bytes of binlog events read.")?,
            transactions: counter("phiwatch_transactions_total", "Transactions examined.")?,
            skipped: counter(
                "phiwatch_transactions_skipped_total",
                "Transactions passed over because an earlier run examined them.",
            )?,
            rows: counter(
                "phiwatch_row_changes_total",
                "Row changes handed to the classifier (tables without any rule left out).",
            )?,
            statements: counter(
                "phiwatch_statements_total",
                "Statements in the log that are not transaction control.",
            )?,
            gaps: counters(
                "phiwatch_coverage_gaps_total",
                "Events, statements or transactions that were not examined, by cause.",
                &["cause"],
            )?,
            alerts: counters(
                "phiwatch_alerts_total",
                "States of findings stored for delivery, by rule and severity (1-5).",
                &["rule", "severity"],
            )?,
            last_commit: gauge(
                "phiwatch_last_commit_timestamp_seconds",
                "Commit time of the last transaction examined, seconds since 1970; time() minus \
                 it is the lag of a source that is being written to.",
            )?,
            checkpoint: gauge(
                "phiwatch_checkpoint_timestamp_seconds",
                "When the last checkpoint was written, seconds since 1970.",
            )?,
            store_errors: counter(
                "phiwatch_store_errors_total",
                "Writes to the store that failed and were retried.",
            )?,
            connected: gauge("phiwatch_source_connected", "1 while the source is connected.")?,
            caught_up: gauge(
                "phiwatch_source_caught_up",
                "1 once everything that the server had was examined.",
            )?,
            reconnects: counter(
                "phiwatch_source_reconnects_total",
                "Connections to the source that were lost and made again.",
            )?,
            delivered: counters(
                "phiwatch_alerts_delivered_total",
                "Alerts that a sink has acknowledged as durable.",
                &["sink"],
            )?,
            dead: counters(
                "phiwatch_alerts_dead_total",
                "Alerts that a sink can never take; they stay in the store.",
                &["sink"],
            )?,
            waiting: gauges("phiwatch_outbox_alerts", "Alerts that wait for a sink.", &["sink"])?,
            sink_up: gauges(
                "phiwatch_sink_up",
                "1 if the last delivery or check of the sink succeeded.",
                &["sink"],
            )?,
            registry,
        };
        metrics.info()?;
        Ok(metrics)
    }

    fn info(&self) -> Result<(), prometheus::Error> {
        let info =
            IntGaugeVec::new(Opts::new("phiwatch_build_info", "1; what runs."), &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.registry.register(Box::new(info))
    }

    /// Text exposition (format 0.0.4).
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Takes over the pipeline's running totals.
    pub(crate) fn observe(&self, pipeline: &Pipeline) {
        let totals = pipeline.totals();
        raise(&self.events, totals.events);
        raise(&self.bytes, totals.bytes);
        raise(&self.transactions, totals.transactions);
        raise(&self.skipped, totals.transactions_skipped);
        raise(&self.rows, totals.rows);
        raise(&self.statements, totals.statements);
        for (cause, count) in &totals.gaps {
            raise(&self.gaps.with_label_values(&[*cause]), *count);
        }
        self.last_commit.set(totals.last_commit_us / 1_000_000);
    }

    pub(crate) fn alert(&self, rule: &str, severity: u8) {
        self.alerts.with_label_values(&[rule, &severity.to_string()]).inc();
    }

    pub(crate) fn checkpoint_written(&self, unix_secs: i64) {
        self.checkpoint.set(unix_secs);
    }

    pub(crate) fn store_error(&self) {
        self.store_errors.inc();
    }

    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.connected.set(i64::from(is_connected));
    }

    pub(crate) fn set_caught_up(&self) {
        self.caught_up.set(1);
    }

    pub(crate) fn set_reconnects(&self, count: u64) {
        raise(&self.reconnects, count);
    }

    pub(crate) fn delivered(&self, sink: &str, count: u64) {
        self.delivered.with_label_values(&[sink]).inc_by(count);
    }

    pub(crate) fn dead_letters(&self, sink: &str) {
        self.dead.with_label_values(&[sink]).inc();
    }

    pub(crate) fn set_waiting(&self, sink: &str, count: u64) {
        self.waiting.with_label_values(&[sink]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn set_sink_up(&self, sink: &str, is_up: bool) {
        self.sink_up.with_label_values(&[sink]).set(i64::from(is_up));
    }

    /// Connected, caught up, sinks reachable.
    pub(crate) fn is_ready(&self, sinks: &[String]) -> Result<(), &'static str> {
        if self.connected.get() == 0 {
            return Err("the source is not connected");
        }
        if self.caught_up.get() == 0 {
            return Err("not caught up with the source");
        }
        if sinks.iter().any(|sink| self.sink_up.with_label_values(&[sink.as_str()]).get() == 0) {
            return Err("a sink is not reachable");
        }
        Ok(())
    }
}

/// Brings a counter up to a running total.
fn raise(counter: &GenericCounter<AtomicU64>, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

//! All metrics, with their help texts. Labels are closed sets.

use std::sync::atomic::{AtomicI64, Ordering};

use prometheus::{
    Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::{AtomicU64, Collector, GenericCounter},
};

use phiwatch_detect::Stats;
use phiwatch_source::{LiveStatus, PurgeMargin};

use crate::pipeline::Pipeline;

/// The registry and its handles.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pipeline: PipelineMetrics,
    quiet: QuietMetrics,
    source: SourceMetrics,
    store: StoreMetrics,
    sinks: SinkMetrics,
}

#[derive(Debug)]
struct PipelineMetrics {
    events: IntCounter,
    bytes: IntCounter,
    transactions: IntCounter,
    skipped: IntCounter,
    rows: IntCounter,
    statements: IntCounter,
    tenant_unknown: IntCounter,
    unverified: IntCounter,
    columns_lacking: IntCounter,
    ids_dropped: IntCounter,
    columns_absent: IntGauge,
    reloads: IntCounterVec,
    loaded: IntGaugeVec,
    late: IntCounter,
    findings_open: IntGauge,
    gaps: IntCounterVec,
    last_commit: IntGauge,
    lag: Gauge,
    /// Commit time of the last transaction while more is to come, µs since 1970; else 0.
    behind_us: AtomicI64,
}

/// What was found and is told lower, later or not.
#[derive(Debug)]
struct QuietMetrics {
    withheld: IntCounter,
    put_off: IntCounterVec,
    excepted: IntCounterVec,
    maintained: IntCounterVec,
}

#[derive(Debug)]
struct SourceMetrics {
    connected: IntGauge,
    caught_up: IntGauge,
    reconnects: IntCounter,
    purge_margin: Gauge,
    lag: Gauge,
}

#[derive(Debug)]
struct StoreMetrics {
    alerts: IntCounterVec,
    checkpoint: IntGauge,
    errors: IntCounter,
}

#[derive(Debug)]
struct SinkMetrics {
    delivered: IntCounterVec,
    dead: IntCounterVec,
    snoozed: IntCounterVec,
    waiting: IntGaugeVec,
    oldest: GaugeVec,
    up: IntGaugeVec,
}

/// Makes metrics and registers them.
struct Registrar<'a>(&'a Registry);

type Made<T> = Result<T, prometheus::Error>;

impl Registrar<'_> {
    fn keep<T: Collector + Clone + 'static>(&self, metric: T) -> Made<T> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
    fn counter(&self, name: &str, help: &str) -> Made<IntCounter> {
        self.keep(IntCounter::new(name, help)?)
    }
    fn gauge(&self, name: &str, help: &str) -> Made<IntGauge> {
        self.keep(IntGauge::new(name, help)?)
    }
    fn real(&self, name: &str, help: &str) -> Made<Gauge> {
        self.keep(Gauge::new(name, help)?)
    }
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntCounterVec> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels)?)
    }
    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntGaugeVec> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }
}

impl PipelineMetrics {
    fn new(make: &Registrar<'_>) -> Made<Self> {
        Ok(Self {
            events: make.counter("phiwatch_binlog_events_total", "Binlog events read.")?,
            bytes: make.counter("phiwatch_binlog_bytes_total", "Bytes of binlog events read.")?,
            transactions: make.counter("phiwatch_transactions_total", "Transactions examined.")?,
            skipped: make.counter(
                "phiwatch_transactions_skipped_total",
                "Transactions passed over because an earlier run examined them.",
            )?,
            rows: make.counter(
                "phiwatch_row_changes_total",
                "Row changes handed to the classifier (tables without any rule left out).",
            )?,
            statements: make.counter(
                "phiwatch_statements_total",
                "Statements in the log that are not transaction control.",
            )?,
            tenant_unknown: make.counter(
                "phiwatch_tenant_unknown_rows_total",
                "Row changes whose tenant is not known (yet): no verdict on them.",
            )?,
            unverified: make.counter(
                "phiwatch_unverified_rows_total",
                "Row changes on which a tenancy invariant could not be judged.",
            )?,
            columns_lacking: make.counter(
                "phiwatch_lacking_columns_rows_total",
                "Rows of settings, roles and permissions not judged, because their row image lacks \
                 a column that the rule needs.",
            )?,
            ids_dropped: make.counter(
                "phiwatch_tenant_ids_dropped_total",
                "Ids of customers, addresses, orders and quotes that the tenant maps had no room for: \
                 rows that name them have no tenant, and give no verdict.",
            )?,
            columns_absent: make.gauge("phiwatch_columns_absent", "Wanted columns that tables lack.")?,
            reloads: make.counters(
                "phiwatch_config_reloads_total",
                "Signals to read the configuration again, by what came of it.",
                &["result"],
            )?,
            loaded: make.gauges(
                "phiwatch_config_loaded_info",
                "1, with a keyed hash of the configuration and catalogue files that count.",
                &["hash"],
            )?,
            late: make.counter(
                "phiwatch_late_transactions_total",
                "Transactions whose commit time lies before that of an earlier one; counted as now.",
            )?,
            findings_open: make.gauge("phiwatch_findings_open", "Findings that are not quiet yet.")?,
            gaps: make.counters(
                "phiwatch_coverage_gaps_total",
                "Events, statements or transactions that were not examined, by cause.",
                &["cause"],
            )?,
            behind_us: AtomicI64::new(0),
            lag: make.keep(Gauge::new(
                "phiwatch_detect_lag_seconds",
                "Age of the last transaction examined while more is to come; 0 when everything \
                 that the source had is examined. All detectors share this pass; what each sink \
                 adds is phiwatch_outbox_oldest_age_seconds.",
            )?)?,
            last_commit: make.gauge(
                "phiwatch_last_commit_timestamp_seconds",
                "Commit time of the last transaction examined, seconds since 1970; time() minus \
                 it is the lag of a source that is being written to.",
            )?,
        })
    }
}

impl QuietMetrics {
    fn new(make: &Registrar<'_>) -> Made<Self> {
        Ok(Self {
            withheld: make.counter(
                "phiwatch_findings_withheld_total",
                "States of findings not told, because the rule is off or the severity is below \
                 severity_min.",
            )?,
            put_off: make.counters(
                "phiwatch_updates_suppressed_total",
                "Acts of an open finding that were not told at once, because it had been told less \
                 than ten minutes before; the next update tells them.",
                &["rule"],
            )?,
            excepted: make.counters(
                "phiwatch_findings_excepted_total",
                "Findings told with severity 1, because an exception of the configuration expects \
                 them.",
                &["exception"],
            )?,
            maintained: make.counters(
                "phiwatch_maintenance_transactions_total",
                "Transactions that a maintenance window of the configuration explained.",
                &["window"],
            )?,
        })
    }

    fn observe(&self, stats: &Stats) {
        raise(&self.withheld, stats.withheld);
        for (rule, count) in &stats.put_off {
            raise(&self.put_off.with_label_values(&[rule.as_str()]), *count);
        }
        for (name, count) in &stats.excepted {
            raise(&self.excepted.with_label_values(&[name]), *count);
        }
        for (name, count) in &stats.maintained {
            raise(&self.maintained.with_label_values(&[name]), *count);
        }
    }
}

impl SourceMetrics {
    fn new(make: &Registrar<'_>) -> Made<Self> {
        Ok(Self {
            connected: make
                .gauge("phiwatch_source_connected", "1 while the source is connected.")?,
            caught_up: make.gauge(
                "phiwatch_source_caught_up",
                "1 once everything that the server had was examined.",
            )?,
            reconnects: make.counter(
                "phiwatch_source_reconnects_total",
                "Connections to the source that were lost and made again.",
            )?,
            purge_margin: make.real(
                "phiwatch_source_purge_margin_seconds",
                "Time until the server may purge the binlog file that a restart would need; +Inf \
                 if it never does, 0 if that cannot be told.",
            )?,
            lag: make.real(
                "phiwatch_source_lag_seconds",
                "Time from a commit where it was made to its examination: while reading is behind, \
                 the age of the last transaction examined, else the lag of the server that is read \
                 behind its own source.",
            )?,
        })
    }
}

impl StoreMetrics {
    fn new(make: &Registrar<'_>) -> Made<Self> {
        Ok(Self {
            alerts: make.counters(
                "phiwatch_alerts_total",
                "States of findings stored for delivery, by rule and severity (1-5).",
                &["rule", "severity"],
            )?,
            checkpoint: make.gauge(
                "phiwatch_checkpoint_timestamp_seconds",
                "When the last checkpoint was written, seconds since 1970.",
            )?,
            errors: make.counter(
                "phiwatch_store_errors_total",
                "Writes to the store that failed and were retried.",
            )?,
        })
    }
}

impl SinkMetrics {
    fn new(make: &Registrar<'_>) -> Made<Self> {
        Ok(Self {
            delivered: make.counters(
                "phiwatch_alerts_delivered_total",
                "Alerts that a sink has acknowledged as durable.",
                &["sink"],
            )?,
            dead: make.counters(
                "phiwatch_alerts_dead_total",
                "Alerts that a sink can never take; they stay in the store.",
                &["sink"],
            )?,
            snoozed: make.counters(
                "phiwatch_alerts_snoozed_total",
                "Alerts that a snooze held back from a sink; the newest state of each finding is \
                 delivered at its end.",
                &["sink"],
            )?,
            waiting: make.gauges(
                "phiwatch_outbox_alerts",
                "Alerts that wait for a sink.",
                &["sink"],
            )?,
            oldest: make.keep(GaugeVec::new(
                Opts::new(
                    "phiwatch_outbox_oldest_age_seconds",
                    "How long the oldest alert has waited for a sink: its lag; 0 if none waits.",
                ),
                &["sink"],
            )?)?,
            up: make.gauges(
                "phiwatch_sink_up",
                "1 if the last delivery or check of the sink succeeded.",
                &["sink"],
            )?,
        })
    }
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// Only for a name used twice: our own bug.
    pub(crate) fn new() -> Made<Self> {
        let registry = Registry::new();
        let make = Registrar(&registry);
        let info = make.gauges("phiwatch_build_info", "1; what runs.", &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            pipeline: PipelineMetrics::new(&make)?,
            quiet: QuietMetrics::new(&make)?,
            source: SourceMetrics::new(&make)?,
            store: StoreMetrics::new(&make)?,
            sinks: SinkMetrics::new(&make)?,
            registry,
        })
    }

    /// Text exposition (format 0.0.4).
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Takes over the pipeline's running totals.
    pub(crate) fn observe(&self, pipeline: &Pipeline) {
        let totals = pipeline.totals();
        raise(&self.pipeline.events, totals.events);
        raise(&self.pipeline.bytes, totals.bytes);
        raise(&self.pipeline.transactions, totals.transactions);
        raise(&self.pipeline.skipped, totals.transactions_skipped);
        raise(&self.pipeline.rows, totals.rows);
        raise(&self.pipeline.statements, totals.statements);
        let counters = pipeline.classifier().counters();
        raise(&self.pipeline.tenant_unknown, counters.tenant_unknown_rows);
        raise(&self.pipeline.unverified, counters.unverified.iter().sum());
        raise(&self.pipeline.columns_lacking, counters.columns_lacking);
        raise(&self.pipeline.ids_dropped, counters.ids_dropped);
        let absent = pipeline.classifier().absent_columns().count();
        self.pipeline.columns_absent.set(i64::try_from(absent).unwrap_or(i64::MAX));
        let stats = pipeline.engine().stats();
        raise(&self.pipeline.late, stats.late);
        self.pipeline.findings_open.set(i64::try_from(stats.findings_open).unwrap_or(i64::MAX));
        self.quiet.observe(stats);
        for (cause, count) in &totals.gaps {
            raise(&self.pipeline.gaps.with_label_values(&[*cause]), *count);
        }
        self.pipeline.last_commit.set(totals.last_commit_us / 1_000_000);
        let behind_us = if pipeline.is_caught_up() { 0 } else { totals.last_commit_us };
        self.pipeline.behind_us.store(behind_us, Ordering::Relaxed);
    }

    /// The files with this hash count from now on.
    pub(crate) fn config_loaded(&self, hash: &str) {
        for result in ["applied", "refused"] {
            self.pipeline.reloads.with_label_values(&[result]);
        }
        self.pipeline.loaded.reset();
        self.pipeline.loaded.with_label_values(&[hash]).set(1);
    }

    pub(crate) fn reload_applied(&self, hash: &str) {
        self.pipeline.reloads.with_label_values(&["applied"]).inc();
        self.config_loaded(hash);
    }

    pub(crate) fn reload_refused(&self) {
        self.pipeline.reloads.with_label_values(&["refused"]).inc();
    }

    pub(crate) fn alert(&self, rule: &str, severity: u8) {
        self.store.alerts.with_label_values(&[rule, &severity.to_string()]).inc();
    }

    pub(crate) fn checkpoint_written(&self, unix_secs: i64) {
        self.store.checkpoint.set(unix_secs);
    }

    pub(crate) fn store_error(&self) {
        self.store.errors.inc();
    }

    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.source.connected.set(i64::from(is_connected));
    }

    /// Takes over how the source does; `now_secs` since 1970.
    pub(crate) fn observe_source(&self, status: &LiveStatus, now_secs: f64) {
        self.set_connected(status.is_connected);
        raise(&self.source.reconnects, status.reconnects);
        if let Some(margin) = status.purge_margin {
            self.source.purge_margin.set(match margin {
                PurgeMargin::Unknown => 0.0,
                PurgeMargin::Never => f64::INFINITY,
                PurgeMargin::Within(margin) => margin.as_secs_f64(),
            });
        }
        let mut lag = status.source_lag.unwrap_or_default().as_secs_f64();
        let last = self.pipeline.last_commit.get();
        if !status.is_caught_up && last > 0 {
            lag = lag.max(now_secs - last as f64);
        }
        self.source.lag.set(lag);
    }

    pub(crate) fn set_caught_up(&self) {
        self.source.caught_up.set(1);
    }

    pub(crate) fn delivered(&self, sink: &str, count: u64) {
        self.sinks.delivered.with_label_values(&[sink]).inc_by(count);
    }

    pub(crate) fn snoozed(&self, sink: &str, count: u64) {
        self.sinks.snoozed.with_label_values(&[sink]).inc_by(count);
    }

    pub(crate) fn dead_letters(&self, sink: &str) {
        self.sinks.dead.with_label_values(&[sink]).inc();
    }

    /// How many alerts wait for a sink, and since when; asked of the store, because a sink that
    /// hangs tells nothing. Times in ms since 1970.
    pub(crate) fn set_waiting(&self, sink: &str, count: u64, oldest_ms: i64, now_ms: i64) {
        self.sinks.waiting.with_label_values(&[sink]).set(i64::try_from(count).unwrap_or(i64::MAX));
        let age = if count == 0 { 0.0 } else { seconds(now_ms.saturating_sub(oldest_ms)) };
        self.sinks.oldest.with_label_values(&[sink]).set(age);
    }

    /// Brings the ages up to now (ms since 1970).
    pub(crate) fn age(&self, now_ms: i64) {
        let behind_ms = self.pipeline.behind_us.load(Ordering::Relaxed) / 1_000;
        let lag = if behind_ms == 0 { 0.0 } else { seconds(now_ms.saturating_sub(behind_ms)) };
        self.pipeline.lag.set(lag);
    }

    pub(crate) fn set_sink_up(&self, sink: &str, is_up: bool) {
        self.sinks.up.with_label_values(&[sink]).set(i64::from(is_up));
    }

    /// Connected, caught up, sinks reachable.
    pub(crate) fn is_ready(&self, sinks: &[String]) -> Result<(), &'static str> {
        if self.source.connected.get() == 0 {
            return Err("the source is not connected");
        }
        if self.source.caught_up.get() == 0 {
            return Err("not caught up with the source");
        }
        if sinks.iter().any(|sink| self.sinks.up.with_label_values(&[sink.as_str()]).get() == 0) {
            return Err("a sink is not reachable");
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a double")]
fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1e3
}

/// Brings a counter up to a running total.
fn raise(counter: &GenericCounter<AtomicU64>, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

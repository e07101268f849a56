//! What every sink is: alerts in, acknowledgements out.

use std::{fmt, future::Future};

use crate::jsonl::JsonLinesSink;
#[cfg(feature = "kafka")]
use crate::kafka::KafkaSink;

/// One alert on its way out, as the store holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The store's order; alerts are handed over in it.
    pub seq: i64,
    /// `finding_info.uid`.
    pub uid: String,
    /// State of the finding: 0, 1, 2, ... `(uid, revision)` is unique.
    pub revision: u32,
    /// 1 create, 2 update, 3 close.
    pub activity: u8,
    /// `website-2`, or `global`: order is kept within it.
    pub tenant: String,
    /// Rule id.
    pub rule: String,
    /// `time` of the alert, ms since 1970 UTC.
    pub time_ms: i64,
    /// The line of [`crate::wire::ocsf`], without a newline.
    pub value: Vec<u8>,
}

impl Outgoing {
    /// `<uid>/<revision>`: the id of this state, the same on every replay.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.uid, self.revision)
    }
}

/// Without the value: logs may hold it.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("seq", &self.seq)
            .field("id", &self.id())
            .field("rule", &self.rule)
            .field("value_bytes", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// A sink's word that it has an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// It survives the end of this process, and of the sink as far as the sink promises (Kafka:
    /// all in-sync replicas have it; a file: it is on disk).
    Durable,
}

/// Why an alert was not delivered. Names, sizes and the client's own words; never contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sink}: {message}; {next}")]
pub struct SinkError {
    kind: ErrorKind,
    sink: String,
    message: String,
    next: String,
}

impl SinkError {
    pub(crate) fn new(
        kind: ErrorKind,
        sink: &str,
        message: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { kind, sink: sink.to_owned(), message: message.into(), next: next.into() }
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The next step, for whoever operates it.
    #[must_use]
    pub fn next(&self) -> &str {
        &self.next
    }
}

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Hand the alert over again, later.
    Transient,
    /// The same until somebody changes the configuration or the sink (authorisation, unknown
    /// topic, no such folder): keep the alert, say it loudly, go on trying slowly.
    Definite,
    /// The sink refuses this one alert for its size: put it aside, go on with the others.
    TooLarge,
    /// The sink lost its footing and has rebuilt itself: hand the alert over again. It may
    /// arrive twice, under the same id.
    Fatal,
}

/// Takes alerts to a place outside. One `deliver` at a time; a second one waits.
pub trait Sink: Send + Sync {
    /// For logs and metrics: `kafka`, `jsonl`.
    fn name(&self) -> &str;

    /// Delivers in the given order; one result per alert, in the same order. An alert that ends
    /// in an error may still arrive later, but handing it over again is safe: see the sink.
    fn deliver(
        &self,
        alerts: &[Outgoing],
    ) -> impl Future<Output = Vec<Result<Ack, SinkError>>> + Send;

    /// Whether alerts could be delivered now.
    fn check(&self) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Which of these `(uid, revision)` are in the sink already, as far as its last `newest_max`
    /// alerts tell: to ask after a crash about alerts that were under way. An error means that it
    /// is not known; delivering them again is then right (at least once).
    fn already_delivered(
        &self,
        candidates: &[(String, u32)],
        newest_max: u64,
    ) -> impl Future<Output = Result<Vec<(String, u32)>, SinkError>> + Send;
}

/// Any of the sinks, chosen by configuration.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one per configured sink, never moved about")]
pub enum AnySink {
    /// A Kafka topic.
    #[cfg(feature = "kafka")]
    Kafka(KafkaSink),
    /// A file, or standard output.
    JsonLines(JsonLinesSink),
}

impl Sink for AnySink {
    fn name(&self) -> &str {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(sink) => sink.name(),
            Self::JsonLines(sink) => sink.name(),
        }
    }

    async fn deliver(&self, alerts: &[Outgoing]) -> Vec<Result<Ack, SinkError>> {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(sink) => sink.deliver(alerts).await,
            Self::JsonLines(sink) => sink.deliver(alerts).await,
        }
    }

    async fn check(&self) -> Result<(), SinkError> {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(sink) => sink.check().await,
            Self::JsonLines(sink) => sink.check().await,
        }
    }

    async fn already_delivered(
        &self,
        candidates: &[(String, u32)],
        newest_max: u64,
    ) -> Result<Vec<(String, u32)>, SinkError> {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(sink) => sink.already_delivered(candidates, newest_max).await,
            Self::JsonLines(sink) => sink.already_delivered(candidates, newest_max).await,
        }
    }
}

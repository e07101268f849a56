//! Alerts to a Kafka topic: key = tenant, value = the alert's JSON, CloudEvents binary headers.
//!
//! Input: [`Outgoing`]s in the store's order. Output: one record each, acknowledged by all in-sync
//! replicas.
//!
//! # Invariants
//! - Idempotent producer, `acks=all`, no expiry in the client: `options` cannot change that.
//! - An alert that was handed over and not settled stays in the client, however long [`deliver`]
//!   is willing to wait. Handing it over again finds it there instead of sending a second copy,
//!   and takes the acknowledgement that came in between. So a broker that is away for an hour
//!   causes neither doubles nor another order; memory is bounded by `IN_FLIGHT_MAX` alerts.
//! - Order per tenant: retries inside the client keep it, and nothing is handed to the client
//!   after an alert that it would not take. Alerts of one call are pipelined, though: where Kafka
//!   refuses one (authorisation) and takes a later one of the same call, that one is first.
//! - After a fatal error the producer is made anew. What was on the wire then, or at the end of
//!   the process, may be in the topic: it is sent again under the same `ce_id`, unless
//!   [`already_delivered`] finds it.
//! - Record time stamps are those of sending, not of the event: retention counts from them, and a
//!   replay of last year must not expire at once. The event time is `ce_time`.
//!
//! Purging the client's queue at a timeout would be the other way; it was not taken because a
//! purged record that is on the wire may still be written, so that its resend doubles it.
//!
//! [`deliver`]: Sink::deliver
//! [`already_delivered`]: Sink::already_delivered

mod config;
mod in_flight;
mod reconcile;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ThreadedProducer},
};

pub use self::config::{KafkaConfig, KafkaConfigError};
use self::{
    config::words,
    in_flight::{Context, InFlight, Slot},
};
use crate::{
    sink::{Ack, ErrorKind, Outgoing, Sink, SinkError},
    wire,
};

const NAME: &str = "kafka";
/// Alerts in the client at one time; the rest waits in the store.
const IN_FLIGHT_MAX: usize = 1_000;
/// An acknowledgement this fresh proves that the topic can be written.
const ACK_FRESH: Duration = Duration::from_secs(10);
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes alerts to a topic.
pub struct KafkaSink {
    config: KafkaConfig,
    client: RwLock<Arc<Client>>,
    /// One `deliver` at a time: order.
    turn: tokio::sync::Mutex<()>,
    /// The last call met a definite error.
    is_refused: AtomicBool,
}

/// A producer and what it was given.
struct Client {
    producer: ThreadedProducer<Context>,
    in_flight: Arc<InFlight>,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSink").field("config", &self.config).finish_non_exhaustive()
    }
}

impl KafkaSink {
    /// Makes the client; it connects by itself, now and after outages.
    ///
    /// # Errors
    /// The configuration cannot work. Brokers that do not answer are no error here.
    pub fn new(config: KafkaConfig) -> Result<Self, KafkaConfigError> {
        let client = Client::new(&config, InFlight::default())?;
        Ok(Self {
            config,
            client: RwLock::new(Arc::new(client)),
            turn: tokio::sync::Mutex::new(()),
            is_refused: AtomicBool::new(false),
        })
    }

    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a new producer in the place of one that had a fatal error.
    async fn rebuild(&self, broken: Arc<Client>) {
        let Ok(fresh) = Client::new(&self.config, InFlight::inherit(&broken.in_flight)) else {
            // The same configuration worked before; the next call tries again.
            return;
        };
        tracing::warn!("kafka producer had a fatal error and was made anew");
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        // Joins the client's threads.
        let ended = tokio::task::spawn_blocking(move || drop(broken)).await;
        if ended.is_err() {
            tracing::warn!("the old kafka producer did not end cleanly");
        }
    }

    async fn deliver_chunk(
        &self,
        client: &Client,
        alerts: &[Outgoing],
        deadline: Instant,
    ) -> Vec<Result<Ack, SinkError>> {
        let ids: Vec<String> = alerts.iter().map(Outgoing::id).collect();
        let mut unsent = None;
        for (alert, id) in alerts.iter().zip(&ids) {
            // Under way or settled since the last call: do not send it again.
            if client.in_flight.get(id).is_some() {
                continue;
            }
            if let Err(code) = client.send(&self.config, alert, id)
                && !is_too_large(code)
            {
                // Nothing after it may overtake it.
                unsent = Some(code);
                break;
            }
        }
        client.in_flight.settled(&ids, deadline).await;
        self.retry_too_large(client, alerts, &ids, deadline).await;
        alerts
            .iter()
            .zip(&ids)
            .map(|(alert, id)| self.outcome(client, alert, client.in_flight.claim(id), unsent))
            .collect()
    }

    /// A broker refuses a whole batch for its size. Sent one by one, only those that are too
    /// large by themselves fail again.
    async fn retry_too_large(
        &self,
        client: &Client,
        alerts: &[Outgoing],
        ids: &[String],
        deadline: Instant,
    ) {
        for (alert, id) in alerts.iter().zip(ids) {
            let Some(Slot::Refused(code)) = client.in_flight.get(id) else { continue };
            if !is_too_large(code) || client.is_larger_than_client_allows(alert, &self.config) {
                continue;
            }
            client.in_flight.remove(id);
            if client.send(&self.config, alert, id).is_ok() {
                client.in_flight.settled(std::slice::from_ref(id), deadline).await;
            }
        }
    }

    fn outcome(
        &self,
        client: &Client,
        alert: &Outgoing,
        slot: Option<Slot>,
        unsent: Option<RDKafkaErrorCode>,
    ) -> Result<Ack, SinkError> {
        if client.is_fatal() && slot != Some(Slot::Acknowledged) {
            // Without WRITE on any topic the broker gives no id for an idempotent producer.
            let code = client.producer.client().fatal_error().map(|(code, _)| code);
            if code == Some(RDKafkaErrorCode::ClusterAuthorizationFailed) {
                return Err(self.refused(RDKafkaErrorCode::ClusterAuthorizationFailed, None));
            }
            return Err(SinkError::new(
                ErrorKind::Fatal,
                NAME,
                format!("fatal producer error{}", client.why()),
                "the producer is made anew and the alert sent again; it may arrive twice",
            ));
        }
        match slot {
            Some(Slot::Acknowledged) => Ok(Ack::Durable),
            Some(Slot::Refused(code)) => Err(self.refused(code, Some(alert.value.len()))),
            Some(Slot::UnderWay) => Err(self.not_yet(client)),
            None => Err(match unsent {
                Some(code) => self.refused(code, None),
                None => self.not_yet(client),
            }),
        }
    }

    /// Not acknowledged in time.
    fn not_yet(&self, client: &Client) -> SinkError {
        let kind = match client.in_flight.last_error() {
            Some((RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL, _)) => {
                ErrorKind::Definite
            }
            _ => ErrorKind::Transient,
        };
        SinkError::new(
            kind,
            NAME,
            format!(
                "no acknowledgement within {} s{}",
                self.config.deliver_timeout.as_secs_f32(),
                client.why()
            ),
            format!(
                "it waits in the client and is tried again; check that {} is up, and its user, \
                 password and CA file",
                self.config.bootstrap
            ),
        )
    }

    fn refused(&self, code: RDKafkaErrorCode, bytes: Option<usize>) -> SinkError {
        use RDKafkaErrorCode as Code;
        let topic = &self.config.topic;
        let bootstrap = &self.config.bootstrap;
        let user = self.config.sasl_username.as_deref().unwrap_or("NAME");
        let (kind, next) = match code {
            code if is_too_large(code) => (
                ErrorKind::TooLarge,
                format!("raise max.message.bytes of {topic}, and message.max.bytes under options"),
            ),
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed => (
                ErrorKind::Definite,
                format!(
                    "kafka-acls --bootstrap-server {bootstrap} --add --allow-principal User:{user} \
                     --operation Write --operation Describe --topic {topic}"
                ),
            ),
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => (
                ErrorKind::Definite,
                format!(
                    "kafka-topics --bootstrap-server {bootstrap} --create --topic {topic} \
                     --partitions 3"
                ),
            ),
            Code::InvalidTopic | Code::UnsupportedForMessageFormat | Code::InvalidRequiredAcks => {
                (ErrorKind::Definite, format!("check the name and the settings of {topic}"))
            }
            Code::Authentication | Code::SSL | Code::SaslAuthenticationFailed => {
                (ErrorKind::Definite, "check the account, its password and the CA file".to_owned())
            }
            _ => (ErrorKind::Transient, "it is sent again".to_owned()),
        };
        let size = bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
        let error = KafkaError::MessageProduction(code);
        SinkError::new(kind, NAME, format!("topic {topic}: {}{size}", words(&error)), next)
    }

    /// Asks for the topic's metadata.
    async fn ask_metadata(&self, client: Arc<Client>) -> Result<(), SinkError> {
        let topic = self.config.topic.clone();
        let asked = Arc::clone(&client);
        let answer = tokio::task::spawn_blocking(move || {
            let metadata =
                asked.producer.client().fetch_metadata(Some(&topic), METADATA_TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            Ok::<_, KafkaError>(found.map_or(
                Some(RDKafkaErrorCode::UnknownTopicOrPartition),
                |found| match found.error() {
                    Some(error) => Some(error.into()),
                    None if found.partitions().is_empty() => {
                        Some(RDKafkaErrorCode::UnknownTopicOrPartition)
                    }
                    None => None,
                },
            ))
        })
        .await;
        match answer {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(code))) => Err(self.refused(code, None)),
            Ok(Err(error)) => {
                let mut unreachable = self.not_yet(&client);
                if let Some(code) = error.rdkafka_error_code()
                    && self.refused(code, None).kind() == ErrorKind::Definite
                {
                    unreachable = self.refused(code, None);
                }
                Err(unreachable)
            }
            Err(_) => Err(SinkError::new(
                ErrorKind::Transient,
                NAME,
                "the metadata call was stopped",
                "retrying",
            )),
        }
    }
}

impl Sink for KafkaSink {
    fn name(&self) -> &str {
        NAME
    }

    /// Waits at most `deliver_timeout` for the acknowledgements.
    async fn deliver(&self, alerts: &[Outgoing]) -> Vec<Result<Ack, SinkError>> {
        let _turn = self.turn.lock().await;
        let client = self.client();
        client.in_flight.shed();
        if self.is_refused.load(Ordering::Relaxed) {
            // The client remembers that it may not write, or that there is no such topic, until
            // it reads the metadata again: every five minutes by itself.
            let known = self.ask_metadata(Arc::clone(&client)).await;
            tracing::debug!(is_ok = known.is_ok(), "asked kafka again after a refusal");
        }
        let deadline = Instant::now() + self.config.deliver_timeout;
        let mut results = Vec::with_capacity(alerts.len());
        for chunk in alerts.chunks(IN_FLIGHT_MAX) {
            let is_held = results.iter().any(holds_back);
            if is_held {
                results.extend(chunk.iter().map(|_| {
                    Err(SinkError::new(
                        ErrorKind::Transient,
                        NAME,
                        "not sent, an earlier alert waits",
                        "it is sent after that one",
                    ))
                }));
            } else {
                results.extend(self.deliver_chunk(&client, chunk, deadline).await);
            }
        }
        let is_definite = |error: &SinkError| matches!(error.kind(), ErrorKind::Definite);
        let is_refused = results.iter().any(|result| result.as_ref().is_err_and(is_definite));
        self.is_refused.store(is_refused, Ordering::Relaxed);
        if client.is_fatal() {
            self.rebuild(client).await;
        }
        results
    }

    /// A recent acknowledgement, else the topic's metadata.
    async fn check(&self) -> Result<(), SinkError> {
        let client = self.client();
        if client.in_flight.last_ack().is_some_and(|ack| ack.elapsed() < ACK_FRESH) {
            return Ok(());
        }
        self.ask_metadata(client).await
    }

    /// Reads the newest records of every partition, at most 5 s long; needs READ on the topic.
    async fn already_delivered(
        &self,
        candidates: &[(String, u32)],
        newest_max: u64,
    ) -> Result<Vec<(String, u32)>, SinkError> {
        let config = self.config.clone();
        let wanted = candidates.to_vec();
        let found =
            tokio::task::spawn_blocking(move || reconcile::find(&config, &wanted, newest_max))
                .await;
        let reason = match found {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(reason)) => reason,
            Err(_) => "the reading task was stopped".to_owned(),
        };
        Err(SinkError::new(
            ErrorKind::Transient,
            NAME,
            format!("cannot read topic {} back: {reason}", self.config.topic),
            "alerts under way at the last stop are sent again, under the same ids",
        ))
    }
}

impl Client {
    fn new(config: &KafkaConfig, in_flight: InFlight) -> Result<Self, KafkaConfigError> {
        let in_flight = Arc::new(in_flight);
        let context = Context(Arc::clone(&in_flight));
        let producer = config.producer()?.create_with_context(context)?;
        Ok(Self { producer, in_flight })
    }

    /// A report with the cause can come before the error event that calls it fatal.
    fn is_fatal(&self) -> bool {
        self.in_flight.is_fatal() || self.producer.client().fatal_error().is_some()
    }

    /// Enqueues; the outcome comes to `in_flight`, for a refusal at once too.
    fn send(
        &self,
        config: &KafkaConfig,
        alert: &Outgoing,
        id: &str,
    ) -> Result<(), RDKafkaErrorCode> {
        let record = BaseRecord::with_opaque_to(&config.topic, Box::new(id.to_owned()))
            .key(alert.tenant.as_bytes())
            .payload(alert.value.as_slice())
            .headers(headers(config, alert, id));
        // Before the send: the report may come before it returns.
        self.in_flight.set(id.to_owned(), Slot::UnderWay);
        self.producer.send(record).map_err(|(error, _)| {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            if is_too_large(code) {
                self.in_flight.set(id.to_owned(), Slot::Refused(code));
            } else {
                self.in_flight.remove(id);
            }
            code
        })
    }

    /// Over the client's own limit: sending it alone gives the same answer.
    fn is_larger_than_client_allows(&self, alert: &Outgoing, config: &KafkaConfig) -> bool {
        const DEFAULT: usize = 1_000_000;
        let max = config.options.get("message.max.bytes").and_then(|text| text.parse().ok());
        alert.value.len() > max.unwrap_or(DEFAULT)
    }

    /// ": <what the client last said>", or nothing.
    fn why(&self) -> String {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return format!(": {reason} ({code:?})");
        }
        self.in_flight
            .last_error()
            .map_or_else(String::new, |(code, reason)| format!(": {reason} ({code:?})"))
    }
}

fn headers(config: &KafkaConfig, alert: &Outgoing, id: &str) -> OwnedHeaders {
    let kind = format!("phiwatch.finding.{}", wire::activity_word(alert.activity));
    let time = wire::rfc3339(alert.time_ms);
    let fields = [
        ("ce_id", id),
        ("ce_source", &config.source),
        ("ce_specversion", "1.0"),
        ("ce_type", &kind),
        ("ce_time", &time),
        ("ce_subject", &alert.tenant),
        ("content-type", "application/json"),
    ];
    let mut headers = OwnedHeaders::new_with_capacity(fields.len());
    for (key, value) in fields {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    headers
}

fn is_too_large(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
    )
}

/// Whether later alerts have to wait for this one.
fn holds_back(result: &Result<Ack, SinkError>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() != ErrorKind::TooLarge)
}

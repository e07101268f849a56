//! What the client has been given and not yet been asked about again.
//!
//! Input: ids of alerts (`<uid>/<revision>`) as they are enqueued, and librdkafka's delivery
//! reports. Output: per id whether it is under way, acknowledged, or refused and why.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
};
use tokio::sync::Notify;

/// Settled entries that nobody asks for are dropped above this number.
const UNCLAIMED_MAX: usize = 10_000;

/// State of one alert in the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Enqueued or on the wire.
    UnderWay,
    /// Acknowledged by all in-sync replicas.
    Acknowledged,
    /// The client gave it up.
    Refused(RDKafkaErrorCode),
}

/// All of them, and what the client last said about its connections.
#[derive(Default)]
pub(super) struct InFlight {
    slots: Mutex<BTreeMap<String, Slot>>,
    changed: Notify,
    last_ack: Mutex<Option<Instant>>,
    last_error: Mutex<Option<(RDKafkaErrorCode, String)>>,
    is_fatal: AtomicBool,
}

impl InFlight {
    /// Starts with what an earlier producer was told, so that it is not sent again.
    pub(super) fn inherit(earlier: &Self) -> Self {
        let slots = lock(&earlier.slots)
            .iter()
            .filter(|(_, slot)| **slot == Slot::Acknowledged)
            .map(|(id, slot)| (id.clone(), *slot))
            .collect();
        Self { slots: Mutex::new(slots), ..Self::default() }
    }

    pub(super) fn get(&self, id: &str) -> Option<Slot> {
        lock(&self.slots).get(id).copied()
    }

    pub(super) fn set(&self, id: String, slot: Slot) {
        lock(&self.slots).insert(id, slot);
    }

    /// Takes the outcome, if there is one; what is under way stays.
    pub(super) fn claim(&self, id: &str) -> Option<Slot> {
        let mut slots = lock(&self.slots);
        match slots.get(id) {
            Some(Slot::UnderWay) => Some(Slot::UnderWay),
            Some(_) => slots.remove(id),
            None => None,
        }
    }

    pub(super) fn remove(&self, id: &str) {
        lock(&self.slots).remove(id);
    }

    /// Bounds the memory of outcomes that were never claimed.
    pub(super) fn shed(&self) {
        let mut slots = lock(&self.slots);
        if slots.len() > UNCLAIMED_MAX {
            slots.retain(|_, slot| *slot == Slot::UnderWay);
        }
    }

    /// Waits until none of them is under way, or the deadline, or a fatal error.
    pub(super) async fn settled(&self, ids: &[String], deadline: Instant) {
        while !self.is_fatal() && self.has_under_way(ids) {
            let changed = self.changed.notified();
            if tokio::time::timeout_at(deadline.into(), changed).await.is_err() {
                return;
            }
        }
    }

    fn has_under_way(&self, ids: &[String]) -> bool {
        let slots = lock(&self.slots);
        ids.iter().any(|id| slots.get(id) == Some(&Slot::UnderWay))
    }

    pub(super) fn last_ack(&self) -> Option<Instant> {
        *lock(&self.last_ack)
    }

    pub(super) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        lock(&self.last_error).clone()
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.is_fatal.load(Ordering::Acquire)
    }

    fn note_error(&self, code: RDKafkaErrorCode, reason: &str) {
        if code == RDKafkaErrorCode::Fatal {
            self.is_fatal.store(true, Ordering::Release);
        }
        let mut last = lock(&self.last_error);
        // "all brokers are down" follows on the error that says why; keep that one.
        let is_echo = code == RDKafkaErrorCode::AllBrokersDown && last.is_some();
        if !is_echo {
            *last = Some((code, reason.to_owned()));
        }
        drop(last);
        self.changed.notify_one();
    }

    fn note_report(&self, id: String, slot: Slot) {
        if slot == Slot::Acknowledged {
            *lock(&self.last_ack) = Some(Instant::now());
            *lock(&self.last_error) = None;
        }
        if slot == Slot::Refused(RDKafkaErrorCode::Fatal) {
            self.is_fatal.store(true, Ordering::Release);
        }
        self.set(id, slot);
        // One waiter at most; a permit is kept for it if it is not waiting yet.
        self.changed.notify_one();
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("alerts", &lock(&self.slots).len()).finish_non_exhaustive()
    }
}

/// librdkafka's callbacks.
#[derive(Debug)]
pub(super) struct Context(pub(super) std::sync::Arc<InFlight>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.note_error(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail), reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<String>;

    fn delivery(&self, report: &DeliveryResult<'_>, id: Box<String>) {
        let slot = match report {
            Ok(_) => Slot::Acknowledged,
            Err((error, _)) => {
                Slot::Refused(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
            }
        };
        self.0.note_report(*id, slot);
    }
}

/// librdkafka repeats itself while brokers are away; what matters comes as errors too.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "librdkafka: {text}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::debug!(facility, "librdkafka: {text}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::trace!(facility, "librdkafka: {text}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Alerts to the world: their wire format, Kafka, JSON lines.
//!
//! Input: an [`Alert`](phiwatch_detect::Alert), turned into bytes by [`wire::ocsf`], stored by the
//! caller, and handed over as [`Outgoing`]. Output: an [`Ack`] per alert, in the caller's order.
//!
//! # Invariants
//! - Equal alerts give equal bytes: the wire format reads no clock (test `equal_alerts_give_equal_bytes`).
//! - An alert is durable outside when [`Ack::Durable`] says so, never before.
//! - Within a tenant alerts arrive in the order in which they were handed over.
//! - At least once: an alert may arrive twice, never under another id.
//! - Errors carry names, sizes and the client's words, never an alert's contents.

mod jsonl;
#[cfg(feature = "kafka")]
mod kafka;
mod sink;
pub mod wire;

pub use jsonl::JsonLinesSink;
#[cfg(feature = "kafka")]
pub use kafka::{KafkaConfig, KafkaConfigError, KafkaSink};
pub use sink::{Ack, AnySink, ErrorKind, Outgoing, Sink, SinkError};

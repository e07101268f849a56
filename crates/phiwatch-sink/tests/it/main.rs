//! The wire format, and the Kafka sink against a mock cluster.

#[cfg(feature = "kafka")]
mod kafka;
mod samples;
mod wire;

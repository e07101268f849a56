//! After a crash: which alerts that were under way are in the topic already?
//!
//! Input: `(uid, revision)` pairs, and how many of each partition's newest records to look at.
//! Output: those found by their `ce_id`. A consumer without group, commits or lasting traces.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers},
    topic_partition_list::Offset,
};

use super::{
    config::{KafkaConfig, words},
    in_flight,
};

/// How long it may take in all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Quiet: errors come through `poll`.
struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        in_flight::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = %error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for Context {}

/// Blocks for 5 s at most. The error is a reason in words.
pub(super) fn find(
    config: &KafkaConfig,
    candidates: &[(String, u32)],
    newest_max: u64,
) -> Result<Vec<(String, u32)>, String> {
    let deadline = Instant::now() + TIMEOUT;
    let mut wanted: BTreeMap<String, &(String, u32)> =
        candidates.iter().map(|pair| (format!("{}/{}", pair.0, pair.1), pair)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let consumer: BaseConsumer<Context> = config
        .consumer()
        .map_err(|error| error.to_string())?
        .create_with_context(Context)
        .map_err(|error| words(&error))?;
    // Offset of the last record to read, by partition.
    let mut ends = assign(&consumer, &config.topic, newest_max, deadline)?;
    let mut found = Vec::new();
    while !ends.is_empty() && !wanted.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("not read within {} s", TIMEOUT.as_secs()));
        }
        match consumer.poll(left) {
            None => {}
            Some(Ok(record)) => {
                if let Some(pair) = ce_id(&record).and_then(|id| wanted.remove(id)) {
                    found.push(pair.clone());
                }
                if ends.get(&record.partition()).is_some_and(|end| record.offset() >= *end) {
                    ends.remove(&record.partition());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ends.remove(&partition);
            }
            // Reading needs no group, so a group that may not be used does not matter.
            Some(Err(error))
                if error.rdkafka_error_code()
                    == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {}
            Some(Err(error)) => return Err(words(&error)),
        }
    }
    found.sort();
    Ok(found)
}

/// Assigns the ends of all partitions that hold something; gives the last offset of each.
fn assign(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    newest_max: u64,
    deadline: Instant,
) -> Result<BTreeMap<i32, i64>, String> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let metadata = consumer.fetch_metadata(Some(topic), left()).map_err(|error| words(&error))?;
    let mut partitions = BTreeSet::new();
    for entry in metadata.topics().iter().filter(|entry| entry.name() == topic) {
        match entry.error().map(RDKafkaErrorCode::from) {
            None => partitions.extend(entry.partitions().iter().map(|partition| partition.id())),
            // No topic yet, so nothing in it.
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {}
            Some(code) => return Err(words(&KafkaError::MetadataFetch(code))),
        }
    }
    let newest_max = i64::try_from(newest_max).unwrap_or(i64::MAX);
    let mut ends = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        let (low, high) =
            consumer.fetch_watermarks(topic, partition, left()).map_err(|error| words(&error))?;
        let start = low.max(high.saturating_sub(newest_max));
        if start < high {
            list.add_partition_offset(topic, partition, Offset::Offset(start))
                .map_err(|error| words(&error))?;
            ends.insert(partition, high - 1);
        }
    }
    consumer.assign(&list).map_err(|error| words(&error))?;
    Ok(ends)
}

fn ce_id<'a>(record: &'a BorrowedMessage<'_>) -> Option<&'a str> {
    let header = record.headers()?.iter().find(|header| header.key == "ce_id")?;
    std::str::from_utf8(header.value?).ok()
}

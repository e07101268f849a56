//! The Kafka sink against librdkafka's mock cluster: errors and outages on demand.

use std::time::Duration;

use phiwatch_sink::{Ack, ErrorKind, KafkaConfig, KafkaSink, Outgoing, Sink};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Headers, OwnedMessage},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

const TOPIC: &str = "phiwatch.alerts";
const PARTITIONS: i32 = 3;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
    cluster
}

fn config(cluster: &Cluster) -> KafkaConfig {
    KafkaConfig::new(cluster.bootstrap_servers(), TOPIC)
}

/// Waits one second for acknowledgements instead of ten.
fn impatient(cluster: &Cluster) -> KafkaSink {
    let config = KafkaConfig { deliver_timeout: Duration::from_secs(1), ..config(cluster) };
    KafkaSink::new(config).expect("a valid configuration")
}

fn sink(cluster: &Cluster) -> KafkaSink {
    KafkaSink::new(config(cluster)).expect("a valid configuration")
}

fn alert(seq: i64) -> Outgoing {
    Outgoing {
        seq,
        uid: format!("uid-{seq}"),
        revision: 0,
        activity: 1,
        tenant: format!("website-{}", 1 + seq % 2),
        rule: "bulk-copy".to_owned(),
        time_ms: 1_793_611_800_123,
        value: format!("{{\"seq\":{seq}}}").into_bytes(),
    }
}

fn alerts(seqs: std::ops::Range<i64>) -> Vec<Outgoing> {
    seqs.map(alert).collect()
}

#[track_caller]
fn all_durable(results: &[Result<Ack, phiwatch_sink::SinkError>]) {
    for result in results {
        assert_eq!(result, &Ok(Ack::Durable));
    }
}

/// Everything in the topic, partition by partition in order.
fn read(cluster: &Cluster) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("an assignment");
    let mut messages = Vec::new();
    let mut open = PARTITIONS;
    let begin = std::time::Instant::now();
    while open > 0 {
        assert!(begin.elapsed() < Duration::from_secs(30), "the topic cannot be read");
        // It also returns nothing after events of its own.
        let Some(event) = consumer.poll(Duration::from_secs(1)) else { continue };
        if matches!(event, Err(KafkaError::PartitionEOF(_))) {
            open -= 1;
        } else {
            messages.push(event.expect("an alert").detach());
        }
    }
    messages
}

/// The ids of a tenant's alerts in the order of the topic.
fn ids(messages: &[OwnedMessage], tenant: &str) -> Vec<String> {
    messages
        .iter()
        .filter(|message| message.key() == Some(tenant.as_bytes()))
        .map(|message| header(message, "ce_id"))
        .collect()
}

fn header(message: &OwnedMessage, key: &str) -> String {
    let headers = message.headers().expect("headers");
    let found = headers.iter().find(|header| header.key == key).expect(key);
    String::from_utf8(found.value.expect("a value").to_vec()).expect("text")
}

/// Each of `0..count` once, in order per tenant.
#[track_caller]
fn once_and_in_order(cluster: &Cluster, count: i64) {
    let messages = read(cluster);
    for tenant in 1..=2 {
        let want: Vec<String> = (0..count)
            .filter(|seq| 1 + seq % 2 == tenant)
            .map(|seq| format!("uid-{seq}/0"))
            .collect();
        assert_eq!(ids(&messages, &format!("website-{tenant}")), want);
    }
}

#[tokio::test]
async fn alerts_arrive_with_cloudevents_headers() {
    let cluster = cluster();
    let sink = sink(&cluster);
    all_durable(&sink.deliver(&alerts(0..50)).await);
    once_and_in_order(&cluster, 50);
    let messages = read(&cluster);
    let message = messages
        .iter()
        .find(|message| header(message, "ce_id") == "uid-3/0")
        .expect("alert 3 in the topic");
    assert_eq!(message.key(), Some(&b"website-2"[..]));
    assert_eq!(message.payload(), Some(&b"{\"seq\":3}"[..]));
    for (key, want) in [
        ("ce_specversion", "1.0"),
        ("ce_type", "phiwatch.finding.create"),
        ("ce_source", "phiwatch"),
        ("ce_time", "2026-11-02T09:30:00.123Z"),
        ("ce_subject", "website-2"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(header(message, key), want, "{key}");
    }
    assert_eq!(sink.check().await, Ok(()));
}

#[tokio::test]
async fn a_check_without_traffic_asks_the_cluster() {
    let cluster = cluster();
    assert_eq!(sink(&cluster).check().await, Ok(()));
    cluster.broker_down(1).expect("broker 1");
    let error = sink(&cluster).check().await.expect_err("no broker");
    assert_eq!(error.kind(), ErrorKind::Transient);
}

#[tokio::test]
async fn missing_authorisation_is_definite_and_names_the_acl() {
    let cluster = cluster();
    let sink = sink(&cluster);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[denied; 8]);
    let results = sink.deliver(&alerts(0..1)).await;
    let error = results[0].as_ref().expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Definite);
    assert!(error.next().contains("--operation Write"), "{error}");
    assert!(error.next().contains("--topic phiwatch.alerts"), "{error}");
    // Granted: the same alert goes through.
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    all_durable(&sink.deliver(&alerts(0..1)).await);
    once_and_in_order(&cluster, 1);
}

#[tokio::test]
async fn a_missing_topic_is_definite_and_names_the_command() {
    let cluster = cluster();
    let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    cluster.topic_error(TOPIC, unknown).expect("an error for the topic");
    let sink = sink(&cluster);
    let results = sink.deliver(&alerts(0..1)).await;
    let error = results[0].as_ref().expect_err("no such topic");
    assert_eq!(error.kind(), ErrorKind::Definite, "{error}");
    assert!(error.next().contains("--create --topic phiwatch.alerts"), "{error}");
    let error = sink.check().await.expect_err("no such topic");
    assert_eq!(error.kind(), ErrorKind::Definite, "{error}");
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_one_by_one() {
    let cluster = cluster();
    let sink = sink(&cluster);
    let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[too_large]);
    all_durable(&sink.deliver(&alerts(0..10)).await);
    assert_eq!(read(&cluster).len(), 10);
}

#[tokio::test]
async fn only_the_alert_that_is_too_large_fails() {
    let cluster = cluster();
    let sink = sink(&cluster);
    let mut batch = alerts(0..3);
    batch[1].value = vec![b'x'; 2_000_000];
    let results = sink.deliver(&batch).await;
    let error = results[1].as_ref().expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("2000000 bytes"), "{error}");
    all_durable(&[results[0].clone(), results[2].clone()]);
    assert_eq!(read(&cluster).len(), 2);
}

/// The store hands the same alerts over again and again while the broker is away, then new ones.
#[tokio::test]
async fn an_outage_neither_doubles_nor_reorders() {
    let cluster = cluster();
    let sink = impatient(&cluster);
    all_durable(&sink.deliver(&alerts(0..10)).await);
    cluster.broker_down(1).expect("broker 1");
    for _ in 0..3 {
        for result in sink.deliver(&alerts(10..60)).await {
            assert_eq!(result.expect_err("no broker").kind(), ErrorKind::Transient);
        }
    }
    cluster.broker_up(1).expect("broker 1");
    let mut waiting = alerts(10..100);
    for _ in 0..20 {
        let results = sink.deliver(&waiting).await;
        let mut delivered = results.iter().map(Result::is_ok);
        waiting.retain(|_| !delivered.next().unwrap_or_default());
        if waiting.is_empty() {
            break;
        }
    }
    assert_eq!(waiting, []);
    once_and_in_order(&cluster, 100);
}

/// The acknowledgement comes after the call that sent it gave up.
#[tokio::test]
async fn a_late_acknowledgement_is_taken_by_the_next_call() {
    let cluster = cluster();
    let sink = impatient(&cluster);
    all_durable(&sink.deliver(&alerts(0..1)).await);
    cluster.broker_round_trip_time(1, Duration::from_millis(1_500)).expect("broker 1");
    for result in sink.deliver(&alerts(1..9)).await {
        let error = result.expect_err("slower than the timeout");
        assert_eq!(error.kind(), ErrorKind::Transient);
        assert!(error.message().starts_with("no acknowledgement within 1 s"), "{error}");
    }
    cluster.broker_round_trip_time(1, Duration::ZERO).expect("broker 1");
    all_durable(&sink.deliver(&alerts(1..9)).await);
    once_and_in_order(&cluster, 9);
}

#[tokio::test]
async fn a_fatal_error_rebuilds_the_producer() {
    let cluster = cluster();
    let sink = sink(&cluster);
    all_durable(&sink.deliver(&alerts(0..2)).await);
    let broken = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[broken; 4]);
    let results = sink.deliver(&alerts(2..4)).await;
    let kinds: Vec<_> =
        results.iter().filter_map(|result| result.as_ref().err().map(|e| e.kind())).collect();
    assert!(kinds.contains(&ErrorKind::Fatal), "{results:?}");
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    let waiting: Vec<Outgoing> = alerts(2..4)
        .into_iter()
        .zip(&results)
        .filter(|(_, result)| result.is_err())
        .map(|(alert, _)| alert)
        .collect();
    all_durable(&sink.deliver(&waiting).await);
    once_and_in_order(&cluster, 4);
}

#[tokio::test]
async fn alerts_that_are_in_the_topic_are_found_after_a_crash() {
    let cluster = cluster();
    all_durable(&sink(&cluster).deliver(&alerts(0..40)).await);
    // A new process.
    let sink = sink(&cluster);
    let ask = |seqs: &[i64]| -> Vec<(String, u32)> {
        seqs.iter().map(|seq| (format!("uid-{seq}"), 0)).collect()
    };
    let found = sink.already_delivered(&ask(&[38, 39, 40, 41]), 1_000).await;
    assert_eq!(found, Ok(ask(&[38, 39])));
    assert_eq!(sink.already_delivered(&[], 1_000).await, Ok(vec![]));
    // Only the newest of each partition are looked at: 20 per tenant here.
    assert_eq!(sink.already_delivered(&ask(&[0, 1]), 5).await, Ok(vec![]));
    // Another state of the same finding is another alert.
    assert_eq!(sink.already_delivered(&[("uid-39".to_owned(), 1)], 1_000).await, Ok(vec![]));
}

#[tokio::test]
async fn an_unanswered_search_is_an_error() {
    let cluster = cluster();
    let sink = sink(&cluster);
    cluster.broker_down(1).expect("broker 1");
    let error = sink.already_delivered(&[("u".to_owned(), 0)], 10).await.expect_err("no broker");
    assert!(error.to_string().contains("sent again, under the same ids"), "{error}");
}

//! The Kafka sink against a real broker: `deploy/dev/kafka.sh start` (127.0.0.1:39092), or the
//! one that PHIWATCH_TEST_KAFKA names.
#![cfg(feature = "kafka")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phiwatch_sink::{Ack, AnySink, ErrorKind, KafkaConfig, KafkaSink, Outgoing, Sink};
use rdkafka::{
    ClientConfig, Message,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};

fn bootstrap() -> String {
    std::env::var("PHIWATCH_TEST_KAFKA").unwrap_or_else(|_| "127.0.0.1:39092".to_owned())
}

/// A topic of its own for each run.
async fn topic(name: &str, settings: &[(&str, &str)]) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let name = format!("phiwatch.test.{name}.{nanos}");
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap())
        .set("log_level", "0")
        .create()
        .expect("a client");
    let mut new = NewTopic::new(&name, 3, TopicReplication::Fixed(1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let made = admin.create_topics([&new], &options).await;
    assert!(
        matches!(made.as_deref(), Ok([Ok(_)])),
        "no Kafka at {}: start it with deploy/dev/kafka.sh start ({made:?})",
        bootstrap()
    );
    name
}

fn alert(seq: i64) -> Outgoing {
    Outgoing {
        seq,
        uid: format!("uid-{seq}"),
        revision: 2,
        activity: 2,
        tenant: format!("website-{}", 1 + seq % 4),
        rule: "bulk-change".to_owned(),
        time_ms: 1_793_611_800_000,
        value: vec![b' '; 4_000],
    }
}

fn sink(topic: &str) -> AnySink {
    AnySink::Kafka(KafkaSink::new(KafkaConfig::new(bootstrap(), topic)).expect("valid"))
}

#[tokio::test]
async fn alerts_are_delivered_once_in_order_and_found_again() {
    let topic = topic("deliver", &[]).await;
    let sink = sink(&topic);
    let alerts: Vec<Outgoing> = (0..2_500).map(alert).collect();
    for batch in alerts.chunks(1_200) {
        for result in sink.deliver(batch).await {
            assert_eq!(result, Ok(Ack::Durable));
        }
    }
    assert_eq!(sink.check().await, Ok(()));

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap())
        .set("group.id", &topic)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[&topic]).expect("a subscription");
    let begin = Instant::now();
    let mut seen: Vec<Vec<i64>> = vec![Vec::new(); 4];
    while seen.iter().map(Vec::len).sum::<usize>() < alerts.len() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the topic cannot be read");
        // It also returns nothing after events of its own.
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        let message = message.expect("no error");
        let id = message.headers().expect("headers").get(0);
        assert_eq!(id.key, "ce_id");
        let id = std::str::from_utf8(id.value.expect("a value")).expect("text").to_owned();
        let seq: i64 =
            id.strip_prefix("uid-").and_then(|id| id.strip_suffix("/2")).unwrap().parse().unwrap();
        assert_eq!(message.key(), Some(alert(seq).tenant.as_bytes()));
        seen[usize::try_from(seq % 4).unwrap()].push(seq);
    }
    for (tenant, seqs) in (0..).zip(&seen) {
        let want: Vec<i64> = (0..2_500).filter(|seq| seq % 4 == tenant).collect();
        assert_eq!(seqs, &want, "tenant {tenant}: once and in order");
    }

    let ask: Vec<(String, u32)> =
        [2_400, 2_499, 2_500].iter().map(|seq| (format!("uid-{seq}"), 2)).collect();
    assert_eq!(sink.already_delivered(&ask, 1_000).await.as_deref(), Ok(&ask[..2]));
}

#[tokio::test]
async fn the_brokers_size_limit_hits_only_the_large_alert() {
    let topic = topic("size", &[("max.message.bytes", "10000")]).await;
    let sink = sink(&topic);
    let mut alerts: Vec<Outgoing> = (0..20).map(alert).collect();
    alerts[7].value = vec![b' '; 50_000];
    for (seq, result) in sink.deliver(&alerts).await.into_iter().enumerate() {
        match result {
            Ok(Ack::Durable) => assert_ne!(seq, 7),
            Err(error) => assert_eq!((error.kind(), seq), (ErrorKind::TooLarge, 7), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_transient_and_named() {
    let mut config = KafkaConfig::new("127.0.0.1:1", "phiwatch.alerts");
    config.deliver_timeout = Duration::from_secs(1);
    let sink = KafkaSink::new(config).expect("valid");
    let results = sink.deliver(&[alert(0)]).await;
    let error = results[0].as_ref().expect_err("no broker");
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("check that 127.0.0.1:1 is up"), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    // Nothing to ask: at-least-once.
    let unknown = sink.already_delivered(&[("u".to_owned(), 0)], 10).await;
    assert_eq!(unknown.expect_err("no broker").kind(), ErrorKind::Transient);
}

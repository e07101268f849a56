//! A topic of a test's own, read by a consumer that shares nothing with the program.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use phiwatch_testkit::ocsf::State;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    message::{BorrowedMessage, Headers as _},
};

const PARTITIONS: i32 = 3;

/// One message as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub key: String,
    pub headers: BTreeMap<String, String>,
    pub value: String,
    /// The broker's or producer's time, ms since 1970.
    pub timestamp_ms: i64,
    /// When this consumer had it, µs since 1970.
    pub arrived_us: u64,
}

impl Message {
    pub(crate) fn state(&self) -> State {
        State::of(&self.value)
    }
}

/// A topic and everything read from it so far.
pub(crate) struct Topic {
    pub name: String,
    consumer: BaseConsumer,
    pub messages: Vec<Message>,
}

impl Topic {
    /// Makes a topic with three partitions.
    pub(crate) fn create(bootstrap: &str, name: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let made = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
        made.into_iter().next().unwrap().unwrap();
        Self::of(bootstrap, name)
    }

    /// A topic that is there, from its beginning.
    pub(crate) fn of(bootstrap: &str, name: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        // No group: partitions are assigned by hand, and nothing is committed.
        config.set("group.id", name).set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_range(name, 0, PARTITIONS - 1);
        all.set_all_offsets(Offset::Beginning).unwrap();
        consumer.assign(&all).unwrap();
        Self { name: name.to_owned(), consumer, messages: Vec::new() }
    }

    /// Reads until `is_enough` or the time is over; tells which.
    pub(crate) fn read_until(
        &mut self,
        limit: Duration,
        mut is_enough: impl FnMut(&[Message]) -> bool,
    ) -> bool {
        let end = Instant::now() + limit;
        loop {
            if is_enough(&self.messages) {
                return true;
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            // An error means that the broker is away: the client goes on by itself.
            if let Some(Ok(message)) = self.consumer.poll(left.min(Duration::from_millis(100))) {
                self.messages.push(taken(&message));
            }
        }
    }

    /// Reads whatever comes in this time.
    pub(crate) fn read_for(&mut self, time: Duration) {
        self.read_until(time, |_| false);
    }

    pub(crate) fn states(&self) -> Vec<State> {
        self.messages.iter().map(Message::state).collect()
    }
}

fn taken(message: &BorrowedMessage<'_>) -> Message {
    let text =
        |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let headers = message.headers().into_iter().flat_map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), text(header.value)))
    });
    Message {
        key: text(message.key()),
        headers: headers.collect(),
        value: text(message.payload()),
        timestamp_ms: message.timestamp().to_millis().unwrap(),
        arrived_us: now_us(),
    }
}

/// µs since 1970.
pub(crate) fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

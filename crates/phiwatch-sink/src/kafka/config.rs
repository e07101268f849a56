//! What the Kafka sink needs to know, and librdkafka's settings made of it.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use rdkafka::{ClientConfig, error::KafkaError};
use secrecy::{ExposeSecret, SecretString};

/// Settings whose value is part of the delivery promise, with the reason.
const FIXED: [(&str, &str, &str); 6] = [
    ("enable.idempotence", "true", "else a retry can double or reorder alerts"),
    ("acks", "all", "else an acknowledged alert can be lost with one broker"),
    ("message.timeout.ms", "0", "else the client forgets an alert that Kafka may still take"),
    // Alerts of 4-8 KB: a broker's refusal of a batch for its size fails few of them at once.
    ("batch.size", "16384", "a batch that is too large fails as a whole"),
    // More than `IN_FLIGHT_MAX`, so that its own queue is never full.
    ("queue.buffering.max.messages", "10000", "the store is the queue"),
    // As Java's clients: the same tenant in the same partition, whoever writes.
    ("partitioner", "murmur2_random", "order per tenant needs one partition per tenant"),
];

/// Other names of fixed settings, and keys that have a place of their own.
const TAKEN: [(&str, &str); 15] = [
    ("request.required.acks", "it is `acks`, which is always `all`"),
    ("delivery.timeout.ms", "it is `message.timeout.ms`, which is always 0"),
    ("transactional.id", "alerts are not sent in transactions"),
    ("enable.gapless.guarantee", "order is kept by the sink"),
    ("bootstrap.servers", "set `bootstrap`"),
    ("metadata.broker.list", "set `bootstrap`"),
    ("security.protocol", "set `security_protocol`"),
    ("sasl.mechanism", "set `sasl_mechanism`"),
    ("sasl.mechanisms", "set `sasl_mechanism`"),
    ("sasl.username", "set `sasl_username`"),
    ("sasl.password", "set `sasl_password_file`, so that it is not in the configuration"),
    ("ssl.ca.location", "set `ssl_ca_file`"),
    ("group.id", "the sink reads without a group"),
    ("enable.auto.commit", "the sink reads without a group"),
    ("statistics.interval.ms", "statistics are not read"),
];

/// Of librdkafka's own defaults, those that do not suit alerts; `options` may override them.
const DEFAULTS: [(&str, &str); 6] = [
    ("client.id", "phiwatch"),
    ("linger.ms", "0"),
    // Default 10 s: that is how long alerts would wait after an outage is over.
    ("reconnect.backoff.max.ms", "1000"),
    // Default 30 s: a missing topic is said within the delivery timeout.
    ("topic.metadata.propagation.max.ms", "5000"),
    ("socket.keepalive.enable", "true"),
    ("log.connection.close", "false"),
];

/// `[[sink]] type = "kafka"`, with the password already read.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port[,host:port]`.
    pub bootstrap: String,
    /// Topic; making it is the operator's work.
    pub topic: String,
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`. None: `sasl_ssl` with a user name or
    /// mechanism, else `ssl` with a CA file, else `plaintext`.
    pub security_protocol: Option<String>,
    /// `SCRAM-SHA-512` (if None), `SCRAM-SHA-256`, `PLAIN`, ...
    pub sasl_mechanism: Option<String>,
    /// Account.
    pub sasl_username: Option<String>,
    /// Its password.
    pub sasl_password: Option<SecretString>,
    /// PEM file with the authority that signed the brokers' certificates.
    pub ssl_ca_file: Option<PathBuf>,
    /// librdkafka's own settings, except those that the delivery promise stands on.
    pub options: BTreeMap<String, String>,
    /// `ce_source` of every alert: a URI reference that names this installation.
    pub source: String,
    /// How long one `deliver` waits for acknowledgements before it says "not yet".
    pub deliver_timeout: Duration,
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaConfigError {
    /// A key of `options` that is not the operator's to set.
    #[error("kafka options: {key} cannot be set: {reason}")]
    Reserved {
        /// The key.
        key: String,
        /// Why not, or what to set instead.
        reason: String,
    },
    /// SASL is half configured.
    #[error("kafka: {missing} is missing")]
    Incomplete {
        /// What to add.
        missing: &'static str,
    },
    /// librdkafka refuses a setting.
    #[error("kafka: librdkafka refuses {key}: {reason}")]
    Refused {
        /// The setting.
        key: String,
        /// librdkafka's words; not for secrets.
        reason: String,
    },
}

impl KafkaConfig {
    /// Plain text, no account, 10 s.
    #[must_use]
    pub fn new(bootstrap: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            topic: topic.into(),
            security_protocol: None,
            sasl_mechanism: None,
            sasl_username: None,
            sasl_password: None,
            ssl_ca_file: None,
            options: BTreeMap::new(),
            source: "phiwatch".to_owned(),
            deliver_timeout: Duration::from_secs(10),
        }
    }

    /// Settings of the producer.
    pub(super) fn producer(&self) -> Result<ClientConfig, KafkaConfigError> {
        let mut client = self.connection()?;
        for (key, value, _) in FIXED {
            client.set(key, value);
        }
        Ok(client)
    }

    /// Settings of the consumer that looks for alerts after a crash. It has a group id because
    /// the client library wants one; it neither joins nor commits.
    pub(super) fn consumer(&self) -> Result<ClientConfig, KafkaConfigError> {
        let mut client = self.connection()?;
        for (key, value) in [
            ("group.id", "phiwatch-reconcile"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_uncommitted"),
            ("allow.auto.create.topics", "false"),
            ("fetch.wait.max.ms", "50"),
        ] {
            client.set(key, value);
        }
        Ok(client)
    }

    fn connection(&self) -> Result<ClientConfig, KafkaConfigError> {
        self.check_options()?;
        let mut client = ClientConfig::new();
        for (key, value) in DEFAULTS {
            client.set(key, value);
        }
        client.set("bootstrap.servers", &self.bootstrap);
        let has_sasl = self.sasl_username.is_some()
            || self.sasl_password.is_some()
            || self.sasl_mechanism.is_some();
        let protocol = match &self.security_protocol {
            Some(protocol) => protocol.to_ascii_lowercase(),
            None if has_sasl => "sasl_ssl".to_owned(),
            None if self.ssl_ca_file.is_some() => "ssl".to_owned(),
            None => "plaintext".to_owned(),
        };
        client.set("security.protocol", &protocol);
        if protocol.starts_with("sasl") {
            self.set_sasl(&mut client)?;
        } else if has_sasl {
            return Err(KafkaConfigError::Incomplete {
                missing: "security_protocol = \"sasl_ssl\" (an account is named, and would not be \
                          used)",
            });
        }
        if let Some(file) = &self.ssl_ca_file {
            client.set("ssl.ca.location", file.to_string_lossy());
        }
        for (key, value) in &self.options {
            client.set(key, value);
        }
        Ok(client)
    }

    fn set_sasl(&self, client: &mut ClientConfig) -> Result<(), KafkaConfigError> {
        let mechanism = self.sasl_mechanism.as_deref().unwrap_or("SCRAM-SHA-512");
        client.set("sasl.mechanisms", mechanism);
        if matches!(mechanism, "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512") {
            let missing = |missing| KafkaConfigError::Incomplete { missing };
            let username = self.sasl_username.as_ref().ok_or(missing("sasl_username"))?;
            let password = self.sasl_password.as_ref().ok_or(missing("the password"))?;
            client.set("sasl.username", username);
            client.set("sasl.password", password.expose_secret());
        }
        Ok(())
    }

    fn check_options(&self) -> Result<(), KafkaConfigError> {
        for key in self.options.keys() {
            let fixed = FIXED
                .iter()
                .find(|(fixed, ..)| fixed == key)
                .map(|(_, value, why)| format!("it is always {value}, {why}"));
            let taken =
                TAKEN.iter().find(|(taken, _)| taken == key).map(|(_, why)| (*why).to_owned());
            if let Some(reason) = fixed.or(taken) {
                return Err(KafkaConfigError::Reserved { key: key.clone(), reason });
            }
        }
        Ok(())
    }
}

impl From<KafkaError> for KafkaConfigError {
    /// Without the value: it may be a secret.
    fn from(error: KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, reason, key, value) => {
                let is_secret = ["password", "secret", "token", "key", "pem", "jaas", "config"]
                    .iter()
                    .any(|word| key.contains(word));
                let reason = if is_secret || value.is_empty() {
                    "its value is not valid".to_owned()
                } else {
                    reason
                };
                Self::Refused { key, reason }
            }
            other => Self::Refused { key: "the configuration".to_owned(), reason: words(&other) },
        }
    }
}

/// librdkafka's words for an error, without the crate's wrapping.
pub(super) fn words(error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    text.strip_prefix("Client creation error: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut KafkaConfig), want: Result<&[(&str, &str)], &str>) {
        let mut config = KafkaConfig::new("a:1,b:2", "phiwatch.alerts");
        change(&mut config);
        match (config.producer(), want) {
            (Ok(client), Ok(want)) => {
                for (key, value) in want {
                    assert_eq!(client.get(key), Some(*value), "{key}");
                }
            }
            (Err(error), Err(want)) => assert_eq!(error.to_string(), want),
            (got, want) => panic!("{:?}, wanted {want:?}", got.map(|_| "ok")),
        }
    }

    fn option(key: &str, value: &str) -> impl FnOnce(&mut KafkaConfig) {
        move |config| {
            config.options.insert(key.into(), value.into());
        }
    }

    #[test]
    fn the_delivery_promise_is_always_set() {
        let promise =
            [("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", "0")];
        check(|_| {}, Ok(&promise));
        check(option("linger.ms", "5"), Ok(&[("linger.ms", "5")]));
    }

    #[test]
    fn options_cannot_weaken_the_promise() {
        check(
            option("acks", "1"),
            Err("kafka options: acks cannot be set: it is always all, else an acknowledged alert \
                 can be lost with one broker"),
        );
        check(
            option("enable.idempotence", "false"),
            Err(
                "kafka options: enable.idempotence cannot be set: it is always true, else a retry \
                 can double or reorder alerts",
            ),
        );
        check(
            option("request.required.acks", "0"),
            Err(
                "kafka options: request.required.acks cannot be set: it is `acks`, which is always \
                 `all`",
            ),
        );
        check(
            option("sasl.password", "x"),
            Err(
                "kafka options: sasl.password cannot be set: set `sasl_password_file`, so that it \
                 is not in the configuration",
            ),
        );
    }

    #[test]
    fn an_account_means_sasl_over_tls() {
        check(
            |config| {
                config.sasl_username = Some("phiwatch".into());
                config.sasl_password = Some("secret".into());
            },
            Ok(&[("security.protocol", "sasl_ssl"), ("sasl.mechanisms", "SCRAM-SHA-512")]),
        );
        check(
            |config| config.sasl_username = Some("phiwatch".into()),
            Err("kafka: the password is missing"),
        );
        check(
            |config| {
                config.sasl_username = Some("phiwatch".into());
                config.security_protocol = Some("SSL".into());
            },
            Err("kafka: security_protocol = \"sasl_ssl\" (an account is named, and would not be \
                 used) is missing"),
        );
        check(
            |config| config.ssl_ca_file = Some("ca.pem".into()),
            Ok(&[("security.protocol", "ssl"), ("ssl.ca.location", "ca.pem")]),
        );
    }

    #[test]
    fn the_password_is_not_printed() {
        let mut config = KafkaConfig::new("a:1", "t");
        config.sasl_password = Some("hunter2-canary".into());
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }
}

//! The sinks of the configuration.

use phiwatch_sink::{AnySink, JsonLinesSink};

use crate::config::{Config, SinkFile};

/// Opens all configured sinks; none of them is contacted yet.
pub(crate) fn open(config: &Config) -> anyhow::Result<Vec<AnySink>> {
    config
        .file
        .sink
        .iter()
        .map(|sink| match sink {
            SinkFile::Jsonl(file) => Ok(AnySink::JsonLines(JsonLinesSink::file(&file.path))),
            SinkFile::Kafka(file) => kafka(file),
        })
        .collect()
}

#[cfg(feature = "kafka")]
fn kafka(file: &crate::config::KafkaFile) -> anyhow::Result<AnySink> {
    use crate::config::secret;
    let password = secret(
        "sink.sasl_password_file",
        file.sasl_password_file.as_deref(),
        "PHIWATCH_KAFKA_PASSWORD",
    )?;
    let mut config = phiwatch_sink::KafkaConfig::new(&file.bootstrap, &file.topic);
    config.security_protocol.clone_from(&file.security_protocol);
    config.sasl_mechanism.clone_from(&file.sasl_mechanism);
    config.sasl_username.clone_from(&file.sasl_username);
    config.sasl_password = password;
    config.ssl_ca_file.clone_from(&file.ssl_ca_file);
    config.options.clone_from(&file.options);
    Ok(AnySink::Kafka(phiwatch_sink::KafkaSink::new(config)?))
}

#[cfg(not(feature = "kafka"))]
fn kafka(file: &crate::config::KafkaFile) -> anyhow::Result<AnySink> {
    anyhow::bail!("this phiwatch was built without Kafka (bootstrap = {:?})", file.bootstrap)
}

//! The connection to a live server, and what is asked of it before the stream begins.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use phiwatch_binlog::BinlogPosition;
use phiwatch_source::{
    Address, Finding, Intent, LiveConfig, LiveSource, Login, OnPurged, Server, SourceError,
    SourceUrl, StartAt, Tls, TlsMode,
};
use secrecy::SecretString;
use tokio::runtime::Runtime;

use crate::{
    bootstrap,
    config::{self, Config, ConfigError},
    names::Names,
    pipeline::Pipeline,
    setup,
    store::Checkpoint,
};

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long `--once` waits for a server that does not answer.
const ONCE_PATIENCE: Duration = Duration::from_secs(30);

/// Account and address of the configured server.
pub(crate) fn login(config: &Config) -> anyhow::Result<Login> {
    let source = &config.file.source;
    if source.url.is_empty() {
        return Err(ConfigError::Missing(
            "no server to follow\nhint: --source mysql://user@host:port, or source.url in the configuration file",
        )
        .into());
    }
    let url: SourceUrl = source.url.parse().map_err(usage)?;
    let password = config::secret(
        "source.password_file",
        source.password_file.as_deref(),
        "PHIWATCH_SOURCE_PASSWORD",
    )?;
    Ok(Login {
        tls: tls(config, &url.address)?,
        address: url.address,
        user: url.user,
        password: password.or(url.password).unwrap_or_else(|| SecretString::from("")),
        timeout: phiwatch_source::LOGIN_TIMEOUT,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn usage(error: SourceError) -> anyhow::Error {
    let what = error.to_string();
    anyhow::Error::new(ConfigError::Value { key: "source", found: "...".into(), expected: what })
}

fn failover(config: &Config) -> anyhow::Result<Vec<Address>> {
    config.file.source.failover.iter().map(|text| text.parse().map_err(usage)).collect()
}

fn tls(config: &Config, address: &Address) -> anyhow::Result<Tls> {
    let source = &config.file.source;
    let mode = match source.tls {
        Some(config::Tls::Off) => TlsMode::Off,
        Some(config::Tls::Preferred) => TlsMode::Preferred,
        Some(config::Tls::Required) => TlsMode::Required,
        None => {
            let all = failover(config)?;
            let is_local = std::iter::once(address).chain(&all).all(is_loopback);
            if is_local { TlsMode::Preferred } else { TlsMode::Required }
        }
    };
    Ok(Tls {
        mode,
        ca_file: source.ca_file.clone(),
        cert_file: source.cert_file.clone(),
        key_file: source.key_file.clone(),
    })
}

fn is_loopback(address: &Address) -> bool {
    address.host == "localhost"
        || address.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Connects, and goes on trying while the server does not answer. None: stopped meanwhile.
pub(crate) fn connect(
    runtime: &Runtime,
    config: &Config,
    checkpoint: Option<&Checkpoint>,
    is_once: bool,
    stopping: &AtomicBool,
) -> anyhow::Result<Option<LiveSource>> {
    let settings = live_config(config, checkpoint, is_once)?;
    let started = Instant::now();
    let mut pause = RETRY_FIRST;
    loop {
        let error = match runtime.block_on(LiveSource::connect(settings.clone())) {
            Ok(source) => return Ok(Some(source)),
            Err(error) => error,
        };
        let is_patient = !is_once || started.elapsed() < ONCE_PATIENCE;
        if !error.is_transient() || !is_patient {
            return Err(with_hint(error, "cannot follow the server"));
        }
        tracing::warn!(error = %chain(&error), "the server does not answer, trying again");
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if stopping.load(Ordering::Relaxed) {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Address and what does not fit, if the server's history is not the one that was read.
///
/// # Errors
/// No answer, or another error.
pub(crate) fn other_history(
    runtime: &Runtime,
    config: &Config,
    checkpoint: &Checkpoint,
) -> anyhow::Result<Option<(String, String)>> {
    let settings = live_config(config, Some(checkpoint), true)?;
    match runtime.block_on(LiveSource::connect(settings)) {
        // What was purged is a gap, which the next run meets by itself.
        Ok(_) | Err(SourceError::Purged { .. }) => Ok(None),
        Err(SourceError::History { address, what }) => Ok(Some((address, what))),
        Err(error) => Err(with_hint(error, "cannot compare the server's history")),
    }
}

/// The error with its next step.
pub(crate) fn with_hint(error: SourceError, doing: &'static str) -> anyhow::Error {
    let hint = error.hint();
    let error = anyhow::Error::new(error);
    match hint {
        Some(hint) => error.context(format!("{doing}\nhint: {hint}")),
        None => error.context(doing),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn live_config(
    config: &Config,
    checkpoint: Option<&Checkpoint>,
    is_once: bool,
) -> anyhow::Result<LiveConfig> {
    let source = &config.file.source;
    let mut live = LiveConfig::new(login(config)?, source.server_id);
    live.failover = failover(config)?;
    live.once = is_once;
    live.queue_bytes_max =
        usize::try_from(source.queue_bytes_max).context("source.queue_bytes_max")?;
    live.on_purged = match source.on_purged {
        config::OnPurged::Stop => OnPurged::Stop,
        config::OnPurged::Continue => OnPurged::Continue,
    };
    live.start = match checkpoint {
        // After a reset that was accepted the configured start is a place in the old log, or one
        // that would pass over what the new one holds.
        Some(checkpoint) if !checkpoint.has_place() => StartAt::Oldest,
        Some(checkpoint) => {
            if !checkpoint.server.is_empty() {
                live.known_server = Some(checkpoint.server.clone());
                let file = checkpoint.file.as_str().into();
                live.known_place = Some(BinlogPosition { file, offset: checkpoint.offset });
            }
            match setup::executed(checkpoint)? {
                Some(executed) if !executed.is_empty() => StartAt::Gtid(executed),
                _ => StartAt::Position { file: checkpoint.file.clone(), offset: checkpoint.offset },
            }
        }
        None if source.start == "checkpoint" => StartAt::Oldest,
        None => source.start.parse().map_err(usage)?,
    };
    Ok(live)
}

/// The address of the configured server, and those of its failover.
pub(crate) fn addresses(config: &Config) -> anyhow::Result<Vec<Address>> {
    let mut all = vec![login(config)?.address];
    all.extend(failover(config)?);
    Ok(all)
}

/// What doctor says about one of the servers.
pub(crate) fn findings(
    runtime: &Runtime,
    config: &Config,
    address: &Address,
) -> anyhow::Result<Vec<Finding>> {
    let login = Login { address: address.clone(), ..login(config)? };
    let catalog = setup::catalog(config)?;
    let prefix = &config.file.magento.table_prefix;
    let is_watched = |table: &str| {
        let name = table.strip_prefix(prefix.as_str());
        name.is_some_and(|name| catalog.table_class(name).is_some())
    };
    let failed = |error| with_hint(error, "cannot examine the server");
    runtime.block_on(async {
        let mut server = Server::connect(&login).await.map_err(failed)?;
        let info = server.info().await.map_err(failed)?;
        let databases = shops(&mut server, config).await.map_err(failed)?;
        let mut keyless = server.tables_without_key(&databases).await.map_err(failed)?;
        keyless.retain(|(_, table)| is_watched(table));
        server.close().await;
        let server_id = config.file.source.server_id;
        let intent = Intent { server_id, databases: &databases, keyless: &keyless };
        Ok(phiwatch_source::findings(&info, &intent))
    })
}

/// Before the stream begins: column names for logs without them, and at the very first start the
/// tenant maps. After that everything comes from the log, so that a restart knows exactly what
/// the uninterrupted run would have known.
pub(crate) fn prepare(
    runtime: &Runtime,
    config: &Config,
    pipeline: &mut Pipeline,
    is_first: bool,
) -> anyhow::Result<()> {
    let login = login(config)?;
    runtime
        .block_on(async {
            let mut server = Server::connect(&login).await?;
            let shops = shops(&mut server, config).await?;
            if shops.is_empty() {
                tracing::warn!(
                    "the account sees no shop: tenants and column names come from the log alone \
                     (GRANT SELECT on the shop's schema to know them at once)"
                );
            }
            let names = pipeline.names_mut();
            names.at_start(server.column_names(&shops).await?);
            names.can_ask();
            if is_first {
                for shop in &shops {
                    bootstrap::learn(&mut server, config, shop, pipeline.classifier_mut()).await;
                }
            }
            server.close().await;
            Ok(())
        })
        .map_err(|error| with_hint(error, "cannot ask the server about its tables"))
}

async fn shops(server: &mut Server, config: &Config) -> Result<Vec<String>, SourceError> {
    if config.file.source.databases.is_empty() {
        return server.shop_databases(&config.file.magento.table_prefix).await;
    }
    Ok(config.file.source.databases.clone())
}

/// The server's log for `decode`: from the oldest to its present end.
pub(crate) struct DecodeSource {
    pub source: LiveSource,
    pub names: Names,
    /// Keeps the reading task running.
    _runtime: Runtime,
}

/// Connects for `decode`.
pub(crate) fn for_decode(config: &Config) -> anyhow::Result<DecodeSource> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let settings = live_config(config, None, true)?;
    let login = settings.login.clone();
    let (source, names) = runtime
        .block_on(async {
            let mut server = Server::connect(&login).await?;
            let shops = shops(&mut server, config).await?;
            let mut names = Names::default();
            names.at_start(server.column_names(&shops).await?);
            server.close().await;
            Ok((LiveSource::connect(settings).await?, names))
        })
        .map_err(|error| with_hint(error, "cannot read from the server"))?;
    Ok(DecodeSource { source, names, _runtime: runtime })
}

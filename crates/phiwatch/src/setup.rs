//! From the configuration to the parts of the data path.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail};
use phiwatch_binlog::{BinlogPosition, GtidState};
use phiwatch_detect::{Engine, MaintenanceWindow};
use phiwatch_magento::{Catalog, Classifier, TokenKey};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{self, Config, ConfigError, Maintenance, ShareScope},
    pipeline::Pipeline,
    store::Checkpoint,
};

/// Bytes of the installation's key.
const KEY_BYTES: usize = 32;

/// Logs on stderr; `PHIWATCH_LOG` chooses (default `info`).
pub(crate) fn logging() {
    let filter = EnvFilter::try_from_env("PHIWATCH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let is_plain = std::env::var_os("NO_COLOR").is_some() || !crate::commands::is_interactive();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(!is_plain)
        .with_target(false)
        .init();
}

/// Classifier and engine, new or from a checkpoint.
pub(crate) fn pipeline(
    config: &Config,
    key: &TokenKey,
    checkpoint: Option<&Checkpoint>,
) -> anyhow::Result<Pipeline> {
    let parts = parts(config, key)?;
    let prefix = parts.table_prefix.clone();
    let Some(checkpoint) = checkpoint else {
        let classifier = Classifier::new(parts.catalog, parts.classifier, key);
        return Ok(Pipeline::new(classifier, Engine::new(parts.engine), prefix));
    };
    let resets = checkpoint.resets;
    let (classifier, engine) =
        parts.restore(&checkpoint.classifier, &checkpoint.engine, resets).context(NEW_STATE)?;
    let mut pipeline = Pipeline::new(classifier, engine, prefix);
    pipeline.set_resets(resets);
    if !checkpoint.has_place() {
        return Ok(pipeline);
    }
    let position = BinlogPosition { file: Arc::from(&*checkpoint.file), offset: checkpoint.offset };
    pipeline.resume(executed(checkpoint)?, position, &checkpoint.ledger);
    Ok(pipeline)
}

/// What classifier and engine are made of.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    catalog: Arc<Catalog>,
    classifier: phiwatch_magento::Settings,
    engine: phiwatch_detect::Settings,
    key: TokenKey,
    pub(crate) table_prefix: String,
}

/// The same of a configuration and its catalogue files.
pub(crate) fn parts(config: &Config, key: &TokenKey) -> Result<Parts, ConfigError> {
    Ok(Parts {
        catalog: Arc::new(catalog(config)?),
        classifier: classifier_settings(config),
        engine: engine_settings(config, 0),
        key: key.clone(),
        table_prefix: config.file.magento.table_prefix.clone(),
    })
}

impl Parts {
    /// Classifier and engine that go on from a saved state: at a start, and when a running process
    /// takes over other settings, so that the two are the same.
    pub(crate) fn restore(
        self,
        classifier_state: &[u8],
        engine_state: &[u8],
        resets: u32,
    ) -> anyhow::Result<(Classifier, Engine)> {
        let mut classifier = Classifier::new(self.catalog, self.classifier, &self.key);
        classifier.restore(classifier_state).context("the checkpoint's maps cannot be read")?;
        let settings = phiwatch_detect::Settings { resets, ..self.engine };
        let engine = Engine::restore(settings, engine_state)
            .context("the checkpoint's engine state cannot be read")?;
        Ok((classifier, engine))
    }
}

const NEW_STATE: &str = "cannot go on from the checkpoint\n\
     hint: keep a copy of the state directory, then start with an empty one";

/// The transactions that a checkpoint covers.
pub(crate) fn executed(checkpoint: &Checkpoint) -> anyhow::Result<Option<GtidState>> {
    let text = &checkpoint.gtids;
    Ok(match checkpoint.flavor.as_str() {
        "mysql" => Some(GtidState::MySql(text.parse()?)),
        "mariadb" => Some(GtidState::MariaDb(text.parse()?)),
        _ => None,
    })
}

/// The built-in catalogue with the operator's additions.
pub(crate) fn catalog(config: &Config) -> Result<Catalog, ConfigError> {
    let mut catalog = Catalog::builtin();
    for file in &config.file.magento.catalog_files {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|cause| ConfigError::Unreadable {
            key: "magento.catalog_files",
            file: name.clone(),
            cause,
        })?;
        catalog.extend(&text, &name)?;
    }
    let own: Vec<&str> = catalog.operator_rules().map(|rule| &*rule.id).collect();
    if let Some(id) = config.operator_off.iter().find(|id| !own.contains(&id.as_str())) {
        return Err(config::unknown_rule("alerts.rules_off", id, &own));
    }
    Ok(catalog)
}

fn classifier_settings(config: &Config) -> phiwatch_magento::Settings {
    let magento = &config.file.magento;
    phiwatch_magento::Settings {
        table_prefix: magento.table_prefix.clone(),
        share_scope: match magento.share_scope {
            ShareScope::Auto => phiwatch_magento::ShareScope::Auto,
            ShareScope::Website => phiwatch_magento::ShareScope::Website,
            ShareScope::Global => phiwatch_magento::ShareScope::Global,
        },
        export_notice_titles: magento.export_notice_titles.clone(),
        stores: config.stores.clone(),
        admin_session_max_secs: config.file.policy.admin_session_max_secs.into(),
        mail_domains: config.file.policy.mail_domains.clone(),
        databases: config.file.source.databases.clone(),
        policy: config.policy.clone(),
        ..phiwatch_magento::Settings::default()
    }
}

fn engine_settings(config: &Config, resets: u32) -> phiwatch_detect::Settings {
    phiwatch_detect::Settings {
        false_alerts_per_week: config.file.alerts.false_alerts_per_week,
        severity_min: config.severity_min,
        rules_off: config.rules_off.clone(),
        operator_off: config.operator_off.clone(),
        maintenance: config.maintenance.iter().map(maintenance).collect(),
        exceptions: config.exceptions.clone(),
        time_zone_offset_secs: config.time_zone_offset_secs,
        action_log_retention_days: config.file.policy.action_log_retention_days,
        resets,
    }
}

fn maintenance(entry: &Maintenance) -> MaintenanceWindow {
    MaintenanceWindow {
        name: entry.name.clone(),
        tables: entry.tables.clone(),
        from_secs: entry.from_secs,
        until_secs: entry.until_secs,
        rows_max: entry.rows_max,
        expires: entry.expires,
    }
}

/// The installation's key: from the configured file, else from the state directory, where it is
/// made at the first start.
pub(crate) fn token_key(config: &Config, state_dir: &Path) -> anyhow::Result<TokenKey> {
    let configured = &config.file.privacy.key_file;
    if !configured.is_empty() {
        return read_key(Path::new(configured));
    }
    let path = state_dir.join("privacy.key");
    if !path.exists() {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).context("the system gives no random numbers")?;
        let fail = || format!("cannot make the key file {}", path.display());
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(fail)?;
        file.write_all(&key).and_then(|()| file.sync_all()).with_context(fail)?;
    }
    read_key(&path)
}

/// A key for a run that keeps nothing.
pub(crate) fn passing_key() -> anyhow::Result<TokenKey> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).context("the system gives no random numbers")?;
    Ok(TokenKey(key))
}

fn read_key(path: &Path) -> anyhow::Result<TokenKey> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read the key file {name}"))?;
    let mut bytes = Vec::new();
    file.take(KEY_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the key file {name}"))?;
    match <[u8; KEY_BYTES]>::try_from(bytes) {
        Ok(key) => Ok(TokenKey(key)),
        Err(bytes) => bail!(
            "the key file {name} must hold {KEY_BYTES} bytes, not {}\n\
             hint: head -c {KEY_BYTES} /dev/urandom > {name}; chmod 600 {name}",
            bytes.len()
        ),
    }
}

//! Configuration: the file's shape ([`File`]) and the usable shape ([`Config`]).
//!
//! Every key has a default; unknown keys are refused with their line. Secrets come from files or
//! the environment and live in `SecretString`; nothing here is `Serialize`.

// By its path: the fuzz target takes this file in from another place.
#[path = "config/exceptions.rs"]
mod exceptions;
#[path = "config/policy.rs"]
mod policy;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use phiwatch_binlog::EventTime;
use phiwatch_detect::{RuleId, Severity};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

/// A configuration that cannot be used. Names the key and the next step, never a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration {file}")]
    Read {
        file: String,
        #[source]
        cause: std::io::Error,
    },
    #[error("{file}: {what}")]
    Parse { file: String, what: String },
    #[error("{key} = {found:?}: {expected}")]
    Value { key: &'static str, found: String, expected: String },
    #[error("cannot read {key} = {file:?}")]
    Unreadable {
        key: &'static str,
        file: String,
        #[source]
        cause: std::io::Error,
    },
    #[error(transparent)]
    Catalog(#[from] phiwatch_magento::CatalogError),
    #[error("{0}")]
    Missing(&'static str),
}

/// An id that no rule has.
pub(crate) fn unknown_rule(key: &'static str, id: &str, own: &[&str]) -> ConfigError {
    let known = match own {
        [] => "none is defined there".to_owned(),
        own => format!("defined are {}", own.join(", ")),
    };
    value(key, id, format!("no [[rule]] in magento.catalog_files has this id ({known})"))
}

fn value(key: &'static str, found: impl Into<String>, expected: impl Into<String>) -> ConfigError {
    let found = without_password(&found.into());
    ConfigError::Value { key, found, expected: expected.into() }
}

/// The text with the passwords of URLs in it masked: what is wrong with a file is shown with its
/// line, and that may be the one with the source's URL.
fn without_password(text: &str) -> String {
    const SCHEME_END: &str = "://";
    let mut parts = text.split(SCHEME_END);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(SCHEME_END);
        let end = part.find([' ', '\t', '\r', '\n', '"', '\'', '`']).unwrap_or(part.len());
        let (url, rest) = part.split_at(end);
        match url.rsplit_once('@') {
            Some((account, place)) if account.contains(':') => {
                out.push_str(account.split(':').next().unwrap_or_default());
                out.push_str(":***@");
                out.push_str(place);
            }
            _ => out.push_str(url),
        }
        out.push_str(rest);
    }
    out
}

/// The configuration file of phiwatch (TOML).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    /// The server that is followed.
    pub source: SourceFile,
    /// The shop: prefix, account sharing, extensions of the catalogue.
    pub magento: MagentoFile,
    /// What this organisation expects of its data.
    pub policy: PolicyFile,
    /// How many alerts, which rules, announced maintenance.
    pub alerts: AlertsFile,
    /// The key of the tokens that stand for persons.
    pub privacy: PrivacyFile,
    /// Where the store lives.
    pub state: StateFile,
    /// Metrics, health and the review page.
    pub http: HttpFile,
    /// Where alerts go. None: they stay in the store and on the page.
    pub sink: Vec<SinkFile>,
}

/// `[source]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SourceFile {
    /// `mysql://user@host:port` or `mariadb://...`. Empty: `run` needs `--source`.
    pub url: String,
    /// More addresses of the same topology, `host:port`, tried in order when the first fails.
    pub failover: Vec<String>,
    /// File that holds the account's password; else the environment variable
    /// PHIWATCH_SOURCE_PASSWORD.
    pub password_file: Option<PathBuf>,
    /// `required` verifies chain and host name. Unset: `required`, and `preferred` if every
    /// address is a loopback address.
    pub tls: Option<Tls>,
    /// PEM file with the authority that signed the server's certificate.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the client certificate's key.
    pub key_file: Option<PathBuf>,
    /// This replica's id, unique in the topology.
    pub server_id: u32,
    /// `checkpoint` (else oldest), `oldest`, `latest`, a GTID set, or `file:position`.
    pub start: String,
    /// What to do when the position was purged: `stop`, or `continue` from the oldest there is
    /// with a gap recorded.
    pub on_purged: OnPurged,
    /// Schemas to watch. Empty: every one that has a customer_entity table.
    pub databases: Vec<String>,
    /// Bound of the queue between the connection and the decoder, bytes.
    pub queue_bytes_max: u64,
}

impl Default for SourceFile {
    fn default() -> Self {
        Self {
            url: String::new(),
            failover: Vec::new(),
            password_file: None,
            tls: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            server_id: 4_000_001,
            start: "checkpoint".into(),
            on_purged: OnPurged::Stop,
            databases: Vec::new(),
            queue_bytes_max: 16 << 20,
        }
    }
}

/// TLS towards the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tls {
    Off,
    Preferred,
    Required,
}

/// See [`SourceFile::on_purged`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnPurged {
    Stop,
    Continue,
}

/// `[magento]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MagentoFile {
    /// Table prefix, for example `m2_`.
    pub table_prefix: String,
    /// Whether customers are shared between websites: `auto` reads core_config_data, else website.
    pub share_scope: ShareScope,
    /// Time zone of the shop's cron (IANA name): when the 00:00 clean-up runs.
    pub time_zone: String,
    /// Titles of the inbox notice of a finished export, added to the built-in English ones.
    pub export_notice_titles: Vec<String>,
    /// TOML files with more tables, columns, settings and noise windows.
    pub catalog_files: Vec<PathBuf>,
    /// store_id = website_id, where the rows are older than the log.
    pub stores: BTreeMap<String, u32>,
}

impl Default for MagentoFile {
    fn default() -> Self {
        Self {
            table_prefix: String::new(),
            share_scope: ShareScope::Auto,
            time_zone: "UTC".into(),
            export_notice_titles: Vec::new(),
            catalog_files: Vec::new(),
            stores: BTreeMap::new(),
        }
    }
}

/// See [`MagentoFile::share_scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ShareScope {
    Auto,
    Website,
    Global,
}

/// `[policy]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicyFile {
    /// Columns that must hold ciphertext, beside the built-in ones: `sales_order.customer_taxvat`.
    pub encrypted_columns: Vec<String>,
    /// EAV attributes that must hold ciphertext: `customer/primary_diagnosis`.
    pub encrypted_attributes: Vec<String>,
    /// Free-text columns, beside the built-in comments and notes.
    pub free_text_columns: Vec<String>,
    /// Seeded persons (customer_entity.entity_id) that nobody has a reason to touch.
    pub canary_customers: Vec<u64>,
    /// The same by e-mail address.
    pub canary_emails: Vec<String>,
    /// Longest admin session, seconds.
    pub admin_session_max_secs: u32,
    /// Domains to which mail copies may go without an alert.
    pub mail_domains: Vec<String>,
    /// How long the action log must be kept, days.
    pub action_log_retention_days: u32,
}

impl Default for PolicyFile {
    fn default() -> Self {
        Self {
            encrypted_columns: Vec::new(),
            encrypted_attributes: Vec::new(),
            free_text_columns: Vec::new(),
            canary_customers: Vec::new(),
            canary_emails: Vec::new(),
            admin_session_max_secs: 3600,
            mail_domains: Vec::new(),
            action_log_retention_days: 60,
        }
    }
}

/// `[alerts]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AlertsFile {
    /// The one knob: false alerts a week that the whole deployment accepts.
    pub false_alerts_per_week: f64,
    /// Alerts below this severity (1-5) are not published.
    pub severity_min: u8,
    /// Rule ids that are counted but do not alert; also `x-` ids of your own rules.
    pub rules_off: Vec<String>,
    /// Announced maintenance.
    pub maintenance: Vec<MaintenanceFile>,
    /// Findings that somebody answers for, until a date.
    pub exception: Vec<exceptions::ExceptionFile>,
}

impl Default for AlertsFile {
    fn default() -> Self {
        Self {
            false_alerts_per_week: 1.0,
            severity_min: 2,
            rules_off: Vec::new(),
            maintenance: Vec::new(),
            exception: Vec::new(),
        }
    }
}

/// `[[alerts.maintenance]]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MaintenanceFile {
    /// Shown with what it explains.
    pub name: String,
    /// Tables it may change, without prefix.
    pub tables: Vec<String>,
    /// Start, `HH:MM` of the shop's clock, every day.
    pub from: String,
    /// End, `HH:MM`; at or before `from`: of the next day.
    pub until: String,
    /// Rows it may change in one night.
    pub rows_max: u64,
    /// When the entry stops to count, RFC 3339.
    pub expires: String,
}

/// `[privacy]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PrivacyFile {
    /// File of 32 bytes. Empty: made in the state directory, mode 0600.
    pub key_file: String,
}

/// `[state]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StateFile {
    /// Directory of the store.
    pub dir: PathBuf,
}

impl Default for StateFile {
    fn default() -> Self {
        Self { dir: "/var/lib/phiwatch".into() }
    }
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpFile {
    /// Address and port. Empty: no listener.
    pub listen: String,
}

impl Default for HttpFile {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9817".into() }
    }
}

/// `[[sink]]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum SinkFile {
    /// Kafka topic.
    Kafka(KafkaFile),
    /// File of JSON lines.
    Jsonl(JsonlFile),
}

/// `[[sink]] type = "kafka"`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KafkaFile {
    /// `host:port[,host:port]`.
    pub bootstrap: String,
    /// Topic.
    #[serde(default = "default_topic")]
    pub topic: String,
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    #[serde(default)]
    pub security_protocol: Option<String>,
    /// For example `SCRAM-SHA-512`.
    #[serde(default)]
    pub sasl_mechanism: Option<String>,
    /// Account.
    #[serde(default)]
    pub sasl_username: Option<String>,
    /// File with its password; else the environment variable PHIWATCH_KAFKA_PASSWORD.
    #[serde(default)]
    pub sasl_password_file: Option<PathBuf>,
    /// PEM file with the authority that signed the brokers' certificates.
    #[serde(default)]
    pub ssl_ca_file: Option<PathBuf>,
    /// librdkafka's own settings.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

fn default_topic() -> String {
    "phiwatch.alerts".into()
}

/// `[[sink]] type = "jsonl"`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonlFile {
    /// File that alerts are appended to.
    pub path: PathBuf,
}

/// What the command line says over the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub source: Option<String>,
    pub kafka: Option<String>,
    pub state: Option<PathBuf>,
    pub listen: Option<String>,
}

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub file: File,
    pub severity_min: Severity,
    pub rules_off: BTreeSet<RuleId>,
    /// Of the operator's own rules, by id; whether they exist is known with the catalogue.
    pub operator_off: BTreeSet<String>,
    pub maintenance: Vec<Maintenance>,
    pub exceptions: Vec<phiwatch_detect::Exception>,
    pub stores: BTreeMap<u32, u32>,
    pub policy: phiwatch_magento::Policy,
    /// The shop's cron clock minus UTC, seconds. Fixed at the zone's standard time: the engine's
    /// windows allow for the hour of a summer time.
    pub time_zone_offset_secs: i32,
}

/// An announced maintenance: `from` and `until` in seconds after midnight of the shop's clock.
#[derive(Debug, Clone)]
pub(crate) struct Maintenance {
    pub name: String,
    pub tables: Vec<String>,
    pub from_secs: u32,
    pub until_secs: u32,
    pub rows_max: u64,
    pub expires: EventTime,
}

impl Config {
    /// Reads a file (or takes the defaults) and applies the command line.
    pub(crate) fn load(path: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::read("", "", overrides) };
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::read(&text, &name, overrides),
            Err(cause) => Err(ConfigError::Read { file: name, cause }),
        }
    }

    /// The same for a file's text; `name` is for messages.
    pub(crate) fn read(text: &str, name: &str, overrides: Overrides) -> Result<Self, ConfigError> {
        let mut file: File = toml::from_str(text).map_err(|error| ConfigError::Parse {
            file: name.to_owned(),
            what: without_password(&error.to_string()),
        })?;
        overrides.apply(&mut file);
        Self::try_from(file)
    }
}

impl Overrides {
    fn apply(self, file: &mut File) {
        if let Some(url) = self.source {
            file.source.url = url;
        }
        if let Some(dir) = self.state {
            file.state.dir = dir;
        }
        if let Some(listen) = self.listen {
            file.http.listen = listen;
        }
        let Some(bootstrap) = self.kafka else { return };
        let kafka = file.sink.iter_mut().find_map(|sink| match sink {
            SinkFile::Kafka(kafka) => Some(kafka),
            SinkFile::Jsonl(_) => None,
        });
        match kafka {
            Some(kafka) => kafka.bootstrap = bootstrap,
            None => file.sink.push(SinkFile::Kafka(KafkaFile {
                bootstrap,
                topic: default_topic(),
                security_protocol: None,
                sasl_mechanism: None,
                sasl_username: None,
                sasl_password_file: None,
                ssl_ca_file: None,
                options: BTreeMap::new(),
            })),
        }
    }
}

impl TryFrom<File> for Config {
    type Error = ConfigError;

    fn try_from(file: File) -> Result<Self, ConfigError> {
        let budget = file.alerts.false_alerts_per_week;
        if !(budget.is_finite() && (0.001..=1000.0).contains(&budget)) {
            return Err(value(
                "alerts.false_alerts_per_week",
                budget.to_string(),
                "a number from 0.001 to 1000",
            ));
        }
        if !(64 << 10..=1 << 30).contains(&file.source.queue_bytes_max) {
            return Err(value(
                "source.queue_bytes_max",
                file.source.queue_bytes_max.to_string(),
                "from 65536 to 1073741824 bytes",
            ));
        }
        if file.source.server_id == 0 {
            return Err(value("source.server_id", "0", "1 or more, unique in the topology"));
        }
        let time_zone = jiff::tz::TimeZone::get(&file.magento.time_zone).map_err(|_| {
            value(
                "magento.time_zone",
                &file.magento.time_zone,
                "an IANA time zone such as Europe/Paris",
            )
        })?;
        Ok(Self {
            severity_min: severity(file.alerts.severity_min)?,
            rules_off: rules(
                "alerts.rules_off",
                file.alerts.rules_off.iter().filter(|name| !is_operators(name)),
            )?,
            operator_off: (file.alerts.rules_off.iter())
                .filter(|name| is_operators(name))
                .cloned()
                .collect(),
            maintenance: file
                .alerts
                .maintenance
                .iter()
                .map(maintenance)
                .collect::<Result<_, _>>()?,
            exceptions: exceptions::exceptions(&file.alerts.exception)?,
            stores: stores(&file.magento.stores)?,
            policy: policy::policy(&file.policy, &file.magento.table_prefix)?,
            time_zone_offset_secs: standard_offset(&time_zone),
            file,
        })
    }
}

/// Offset in the half of the year without summer time, on either half of the globe.
fn standard_offset(zone: &jiff::tz::TimeZone) -> i32 {
    const JANUARY: i64 = 1_767_225_600;
    const JULY: i64 = JANUARY + 181 * 86_400;
    [JANUARY, JULY]
        .into_iter()
        .filter_map(|second| jiff::Timestamp::from_second(second).ok())
        .map(|time| zone.to_offset(time).seconds())
        .min()
        .unwrap_or(0)
}

fn severity(number: u8) -> Result<Severity, ConfigError> {
    let wrong = || value("alerts.severity_min", number.to_string(), "1 to 5");
    Severity::from_id(number).ok_or_else(wrong)
}

/// Whether a rule id is one of the operator's own.
pub(crate) fn is_operators(id: &str) -> bool {
    id.starts_with("x-")
}

fn rules<'a>(
    key: &'static str,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<BTreeSet<RuleId>, ConfigError> {
    names
        .into_iter()
        .map(|name| {
            RuleId::ALL.into_iter().find(|rule| rule.as_str() == name).ok_or_else(|| {
                let known: Vec<&str> = RuleId::ALL.iter().map(|rule| rule.as_str()).collect();
                value(key, name, format!("one of {}", known.join(", ")))
            })
        })
        .collect()
}

fn maintenance(entry: &MaintenanceFile) -> Result<Maintenance, ConfigError> {
    let clock = |key: &'static str, text: &str| {
        jiff::civil::Time::strptime("%H:%M", text)
            .map(|time| {
                u32::from(time.hour().unsigned_abs()) * 3600
                    + u32::from(time.minute().unsigned_abs()) * 60
            })
            .map_err(|_| value(key, text, "a time of day such as 22:00"))
    };
    let expires = entry.expires.parse::<jiff::Timestamp>().map_err(|_| {
        value("alerts.maintenance.expires", &entry.expires, "a time such as 2027-06-30T00:00:00Z")
    })?;
    Ok(Maintenance {
        name: entry.name.clone(),
        tables: entry.tables.clone(),
        from_secs: clock("alerts.maintenance.from", &entry.from)?,
        until_secs: clock("alerts.maintenance.until", &entry.until)?,
        rows_max: entry.rows_max,
        expires: EventTime(expires.as_microsecond()),
    })
}

fn stores(map: &BTreeMap<String, u32>) -> Result<BTreeMap<u32, u32>, ConfigError> {
    map.iter()
        .map(|(store, website)| match store.parse() {
            Ok(store) => Ok((store, *website)),
            Err(_) => Err(value("magento.stores", store, "store_id = website_id, both numbers")),
        })
        .collect()
}

/// A secret from a file (its trailing line break cut), else from an environment variable.
pub(crate) fn secret(
    key: &'static str,
    file: Option<&Path>,
    variable: &str,
) -> Result<Option<SecretString>, ConfigError> {
    let Some(path) = file else {
        return Ok(std::env::var(variable).ok().map(SecretString::from));
    };
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
        key,
        file: path.display().to_string(),
        cause,
    })?;
    Ok(Some(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<(), &str>) {
        let got = toml::from_str::<File>(text)
            .map_err(|error| error.to_string())
            .and_then(|file| Config::try_from(file).map_err(|error| error.to_string()));
        match (got, want) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.contains(part), "{error:?} lacks {part:?}"),
            (got, want) => panic!("{text}: got {:?}, want {want:?}", got.map(|_| ())),
        }
    }

    #[test]
    fn bad_values_name_key_and_range() {
        check("", Ok(()));
        check("[alerts]\nfalse_alerts_per_week = 0.1\nrules_off = [\"bulk-copy\"]", Ok(()));
        check("[alerts]\nfalse_alerts_per_weak = 1", Err("unknown field `false_alerts_per_weak`"));
        check("[alerts]\nfalse_alerts_per_week = 0", Err("a number from 0.001 to 1000"));
        check("[alerts]\nseverity_min = 6", Err("alerts.severity_min = \"6\": 1 to 5"));
        check("[alerts]\nrules_off = [\"bulk\"]", Err("one of bulk-export"));
        check("[magento]\ntime_zone = \"Mars/Base\"", Err("IANA"));
        check("[magento]\nstores = { a = 1 }", Err("magento.stores"));
        check("[magento]\nstores = { 1 = 1, 2 = 2 }", Ok(()));
        check("[source]\nserver_id = 0", Err("unique in the topology"));
        check("[[sink]]\ntype = \"kafka\"\nbootstrap = \"a:1\"", Ok(()));
        check("[[sink]]\ntype = \"pigeon\"", Err("pigeon"));
        check("[[sink]]\ntype = \"kafka\"\nbootstrap = \"a:1\"\ntopik = \"x\"", Err("topik"));
        check(
            "[[alerts.maintenance]]\nname=\"a\"\ntables=[]\nfrom=\"22h\"\nuntil=\"02:00\"\n\
             rows_max=1\nexpires=\"2027-06-30T00:00:00Z\"",
            Err("a time of day such as 22:00"),
        );
    }

    #[test]
    fn errors_do_not_repeat_the_url_s_password() {
        for text in [
            "[source]\nurl = \"mysql://phi:swordfish@db",
            "[source]\nurl = 'mysql://phi:sword:fish@db' x",
            "[source]\nfailover = \"mysql://phi:swordfish@db\"",
            "[source]\n\"mysql://phi:swordfish@db\" = 1",
            "[magento]\ntime_zone = \"mysql://phi:swordfish@db\"",
        ] {
            let error = Config::read(text, "a.toml", Overrides::default()).unwrap_err().to_string();
            assert!(error.contains("mysql://phi:***@db"), "{error}");
            assert!(!error.contains("fish"), "{error}");
        }
        assert_eq!(without_password("a://b@c ://d:e@f'://g:h"), "a://b@c ://d:***@f'://g:h");
    }

    #[test]
    fn command_line_goes_over_the_file() {
        let overrides = Overrides {
            source: Some("mysql://u@h:1".into()),
            kafka: Some("k:9".into()),
            state: Some("/s".into()),
            listen: Some("127.0.0.1:1".into()),
        };
        let config = Config::load(None, overrides).unwrap();
        assert_eq!(config.file.source.url, "mysql://u@h:1");
        assert_eq!(config.file.state.dir, Path::new("/s"));
        assert!(matches!(&config.file.sink[..], [SinkFile::Kafka(k)] if k.bootstrap == "k:9"));
    }
}

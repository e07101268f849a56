//! The alert as it is written: OCSF 1.8.0 Detection Finding, field by field.
//!
//! The order of the fields is the order of the keys. The published schema is derived from these
//! types, so that the two cannot drift apart.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::JsonSchema;
use serde::Serialize;

/// One state of one finding, as an OCSF 1.8.0 Detection Finding. `finding_info.uid` names the
/// finding and stays the same over all its states; `metadata.sequence` counts the states from 0.
/// Consumers that see a pair of both twice can drop the second. Further keys may be added.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "phiwatch alert, version 1")]
pub(super) struct AlertDoc<'a> {
    /// Always 2004.
    #[schemars(extend("const" = 2004))]
    pub(super) class_uid: u32,
    #[schemars(extend("const" = "Detection Finding"))]
    pub(super) class_name: &'static str,
    /// Always 2.
    #[schemars(extend("const" = 2))]
    pub(super) category_uid: u32,
    #[schemars(extend("const" = "Findings"))]
    pub(super) category_name: &'static str,
    /// 1 the finding begins, 2 it grew or its severity changed, 3 it has been quiet and is closed.
    #[schemars(extend("enum" = [1, 2, 3]))]
    pub(super) activity_id: u8,
    #[schemars(extend("enum" = ["Create", "Update", "Close"]))]
    pub(super) activity_name: &'static str,
    #[schemars(extend("enum" = [200_401, 200_402, 200_403]))]
    pub(super) type_uid: u32,
    pub(super) type_name: &'static str,
    /// Event time at which a live run says it, ms since 1970 UTC.
    pub(super) time: i64,
    /// Commit time of the first row, ms since 1970 UTC.
    pub(super) start_time: i64,
    /// Commit time of the last row so far, ms since 1970 UTC.
    pub(super) end_time: i64,
    /// Always 0: all times are UTC.
    #[schemars(extend("const" = 0))]
    pub(super) timezone_offset: i32,
    /// 1 informational (never paged) to 5 critical.
    #[schemars(extend("enum" = [1, 2, 3, 4, 5]))]
    pub(super) severity_id: u8,
    #[schemars(extend("enum" = ["Informational", "Low", "Medium", "High", "Critical"]))]
    pub(super) severity: &'static str,
    /// 1 low, 2 medium, 3 high.
    #[schemars(extend("enum" = [1, 2, 3]))]
    pub(super) confidence_id: u8,
    #[schemars(extend("enum" = ["Low", "Medium", "High"]))]
    pub(super) confidence: &'static str,
    /// 1 for the first state, 2 for an update, 4 for the close.
    #[schemars(extend("enum" = [1, 2, 4]))]
    pub(super) status_id: u8,
    #[schemars(extend("enum" = ["New", "In Progress", "Resolved"]))]
    pub(super) status: &'static str,
    /// The rule's id.
    pub(super) status_code: &'a str,
    /// Why this severity, the numbers of a statistical finding, and which state this is.
    pub(super) status_detail: String,
    /// Whether somebody should look: severity above 1.
    pub(super) is_alert: bool,
    /// One sentence with the numbers.
    pub(super) message: &'a str,
    pub(super) metadata: Metadata<'a>,
    pub(super) finding_info: FindingInfo<'a>,
    /// Observed against expected; only for statistical findings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) anomaly_analyses: Option<[AnomalyAnalysis<'a>; 1]>,
    pub(super) remediation: Remediation<'a>,
    /// Per transaction: the first and the latest ones of the finding.
    pub(super) evidences: Vec<EvidenceDoc<'a>>,
    /// The tables; for findings without one, the schema or the server.
    pub(super) resources: Vec<Resource<'a>>,
    pub(super) observables: Vec<Observable<'a>>,
    pub(super) unmapped: Unmapped<'a>,
}

/// Who says it, about whom.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Metadata<'a> {
    /// Version of OCSF.
    #[schemars(extend("const" = "1.8.0"))]
    pub(super) version: &'static str,
    /// Repeats `finding_info.uid`.
    #[schemars(extend("format" = "uuid"))]
    pub(super) uid: &'a str,
    /// The rule's id.
    pub(super) event_code: &'a str,
    /// State of the finding: 0, 1, 2, ...
    pub(super) sequence: u32,
    /// `website-<id>`, or `global`.
    #[schemars(regex(pattern = r"^(website-[1-9][0-9]*|global)$"))]
    pub(super) tenant_uid: &'a str,
    /// Shared by the findings of one act.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "uuid"))]
    pub(super) correlation_uid: Option<String>,
    #[schemars(extend("const" = "binlog"))]
    pub(super) log_name: &'static str,
    /// `time` in words, RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub(super) original_time: String,
    pub(super) product: Product<'a>,
    /// `data_classification`, where that profile's attribute is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profiles: Option<[&'static str; 1]>,
}

/// The program.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Product<'a> {
    #[schemars(extend("const" = "phiwatch"))]
    pub(super) name: &'static str,
    #[schemars(extend("const" = "phiwatch"))]
    pub(super) uid: &'static str,
    #[schemars(extend("const" = "phiwatch"))]
    pub(super) vendor_name: &'static str,
    pub(super) version: &'a str,
}

/// The finding.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FindingInfo<'a> {
    /// Names the finding: the same in all its states, and on every replay.
    #[schemars(extend("format" = "uuid"))]
    pub(super) uid: &'a str,
    /// A few words.
    pub(super) title: &'a str,
    /// What the rule looks for.
    pub(super) desc: &'static str,
    /// Event time of the first state, ms since 1970 UTC; only there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_time: Option<i64>,
    /// Commit time of the first row, ms since 1970 UTC.
    pub(super) first_seen_time: i64,
    /// Commit time of the last row so far, ms since 1970 UTC.
    pub(super) last_seen_time: i64,
    pub(super) analytic: Analytic<'a>,
    /// MITRE ATT&CK.
    pub(super) attacks: Vec<AttackDoc>,
    pub(super) types: [&'static str; 1],
    pub(super) data_sources: [&'static str; 1],
}

/// The rule.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Analytic<'a> {
    /// The rule's id; that of an operator's own rule begins with `x-`.
    pub(super) uid: &'a str,
    pub(super) name: &'a str,
    /// 1 an exact rule, 3 statistical.
    #[schemars(extend("enum" = [1, 3]))]
    pub(super) type_id: u8,
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["Rule", "Statistical"]))]
    pub(super) kind: &'static str,
    pub(super) version: &'static str,
}

/// One technique.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AttackDoc {
    /// Version of ATT&CK.
    pub(super) version: &'static str,
    pub(super) tactic: Tactic,
    pub(super) technique: Technique,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sub_technique: Option<Technique>,
}

/// Id and name in ATT&CK.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Tactic {
    pub(super) uid: &'static str,
    pub(super) name: &'static str,
}

/// Id and name in ATT&CK; the parent of a sub-technique goes by its id alone.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Technique {
    pub(super) uid: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'static str>,
}

/// What to do next.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Remediation<'a> {
    pub(super) desc: Cow<'a, str>,
    /// The runbook page of the rule.
    pub(super) references: [String; 1],
}

/// What one transaction did.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EvidenceDoc<'a> {
    /// The rows in words.
    pub(super) name: String,
    /// GTID, else `file:position`.
    pub(super) uid: String,
    /// 4 suspicious, 5 benign (a recognised cause).
    #[schemars(extend("enum" = [4, 5]))]
    pub(super) verdict_id: u8,
    #[schemars(extend("enum" = ["Suspicious", "Benign"]))]
    pub(super) verdict: &'static str,
    /// The database session; a binlog names no user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<Actor>,
    pub(super) src_endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<Database<'a>>,
    pub(super) data: EvidenceData<'a>,
}

/// Who, as far as a binlog tells.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Actor {
    pub(super) session: Session,
}

/// A session of the database server.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Session {
    /// `thread-<id>`, as in PROCESSLIST of the originating server.
    pub(super) uid: String,
}

/// The server where the transaction was committed first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Endpoint<'a> {
    /// Its uuid, else `server-id-<id>`.
    pub(super) uid: Cow<'a, str>,
    #[schemars(extend("const" = 1))]
    pub(super) type_id: u8,
    #[serde(rename = "type")]
    #[schemars(extend("const" = "Server"))]
    pub(super) kind: &'static str,
}

/// The shop's schema.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Database<'a> {
    pub(super) name: &'a str,
    #[schemars(extend("const" = 1))]
    pub(super) type_id: u8,
    #[serde(rename = "type")]
    #[schemars(extend("const" = "Relational"))]
    pub(super) kind: &'static str,
}

/// Where the transaction stands in the binlog, and its rows. Never a value of a column.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EvidenceData<'a> {
    /// `uuid:n`, `uuid:tag:n` or `domain-server-seq`; null if the transaction has none.
    pub(super) gtid: Option<&'a str>,
    /// Last component of the binlog file's name.
    pub(super) file: &'a str,
    /// Start of the transaction in the file, bytes.
    pub(super) pos: u64,
    /// Source uuid of the GTID; null on MariaDB and for anonymous transactions.
    pub(super) server_uuid: Option<&'a str>,
    pub(super) server_id: u32,
    /// Thread id on the originating server; null if the binlog does not say.
    pub(super) thread: Option<u32>,
    /// Commit time, ms since 1970 UTC.
    pub(super) time: i64,
    /// Rows by table.
    pub(super) tables: BTreeMap<&'a str, Counts>,
    /// Rows of dependants that are not in the log, as far as they were known: the storage engine
    /// carried out foreign keys by itself (MariaDB, MySQL before 9.6). Absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inferred: Option<BTreeMap<&'a str, Counts>>,
    /// Distinct persons of this transaction.
    pub(super) subjects: u64,
    /// False if `subjects` is an estimate; absent if it is exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subjects_exact: Option<bool>,
}

/// Rows by kind of change.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Counts {
    pub(super) inserts: u64,
    pub(super) updates: u64,
    pub(super) deletes: u64,
}

/// What was touched.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Resource<'a> {
    /// `schema.table`, or the schema's or server's name.
    pub(super) uid: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["database table", "database", "database server"]))]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<&'a str>,
    /// Classes of personal data that the finding touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data_classifications: Option<[DataClassification; 1]>,
}

/// Personal data.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct DataClassification {
    #[schemars(extend("const" = 1))]
    pub(super) category_id: u8,
    #[schemars(extend("const" = "Personal"))]
    pub(super) category: &'static str,
    #[schemars(extend("const" = 6))]
    pub(super) confidentiality_id: u8,
    #[schemars(extend("const" = "Restricted"))]
    pub(super) confidentiality: &'static str,
    pub(super) classifier_details: ClassifierDetails,
    /// One per PHI class.
    pub(super) discovery_details: Vec<Discovery>,
}

/// How it was classified.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(super) struct ClassifierDetails {
    pub(super) name: &'static str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

/// One PHI class.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Discovery {
    /// `PHI: email`, ...
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// What to search for elsewhere.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Observable<'a> {
    /// Path of the attribute in this document.
    pub(super) name: &'static str,
    /// 10 resource uid, 99 other.
    pub(super) type_id: u8,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) value: Cow<'a, str>,
}

/// Observed against expected.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AnomalyAnalysis<'a> {
    pub(super) analysis_targets: [Target<'a>; 1],
    /// What was seen, in the window.
    pub(super) anomalies: [Measure; 1],
    /// The expected mean over the history it stands on, then the count from which it alerts.
    pub(super) baselines: [Measure; 2],
}

/// The key of the baseline.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Target<'a> {
    pub(super) name: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

/// A number with its meaning.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Measure {
    /// What is counted.
    pub(super) observation_parameter: &'static str,
    /// `count`, `mean` or `threshold`.
    #[schemars(extend("enum" = ["count", "mean", "threshold"]))]
    pub(super) observation_type: &'static str,
    pub(super) observed_pattern: String,
    pub(super) observations: [Observed; 1],
}

/// The number and its period.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Observed {
    /// A decimal number, as text.
    pub(super) value: String,
    pub(super) timespan: Timespan,
}

/// A period.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Timespan {
    /// 2 seconds, 9 an interval.
    #[schemars(extend("enum" = [2, 9]))]
    pub(super) type_id: u8,
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["Seconds", "Time Interval"]))]
    pub(super) kind: &'static str,
    pub(super) duration_secs: u64,
    /// ms since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start_time: Option<i64>,
    /// ms since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_time: Option<i64>,
}

/// What OCSF has no place for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Unmapped<'a> {
    /// Distinct persons of the finding so far.
    pub(super) subjects: u64,
    /// Whether that is exact (else an estimate).
    pub(super) subjects_exact: bool,
    /// PHI classes touched.
    pub(super) phi_classes: Vec<&'static str>,
    /// Recognised cause that lowers the severity to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) benign_cause: Option<&'a str>,
    /// Statistical findings: -log10 of the probability of at least so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<f64>,
}

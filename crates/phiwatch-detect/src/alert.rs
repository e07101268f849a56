//! What the engine says: one state of one finding.

use std::{collections::BTreeMap, fmt, sync::Arc};

use phiwatch_binlog::{BinlogPosition, EventTime};
use phiwatch_magento::{OperatorRule, PhiClasses};
use uuid::Uuid;

/// One state of a finding. `(uid, revision)` is unique, and the same on every replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The finding: UUIDv5 over (source identity, transaction, rule, key, window).
    pub uid: Uuid,
    /// 0 for the first state, then 1, 2, ...
    pub revision: u32,
    /// What this state is.
    pub activity: Activity,
    /// The rule.
    pub rule: RuleId,
    /// `website-2`, or `global`.
    pub tenant: Arc<str>,
    /// Schema of the shop, if one.
    pub database: Option<Arc<str>>,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// Event time at which a live run says it.
    pub time: EventTime,
    /// Commit time of the first row of the finding.
    pub first_seen: EventTime,
    /// Commit time of its last row so far.
    pub last_seen: EventTime,
    /// A few words on the built-in rule; see [`Alert::title`].
    pub title: &'static str,
    /// One sentence with the numbers.
    pub message: String,
    /// Statistical findings: observed against expected.
    pub analysis: Option<Analysis>,
    /// Per transaction, the first and the latest ones (at most `EVIDENCE_MAX`).
    pub evidence: Vec<Evidence>,
    /// PHI classes touched.
    pub phi: PhiClasses,
    /// Distinct persons of the finding, and whether that is exact.
    pub subjects: (u64, bool),
    /// Findings of one act share it.
    pub correlation: Option<Uuid>,
    /// Why the severity is lowered, for a recognised benign cause.
    pub benign: Option<String>,
    /// The operator's own rule, if it is one.
    pub operator: Option<Arc<OperatorRule>>,
}

impl Alert {
    /// Id of the rule, as in `finding_info.analytic.uid`: that of the operator's own rule, else
    /// [`RuleId::as_str`].
    #[must_use]
    pub fn rule_id(&self) -> &str {
        self.operator.as_ref().map_or(self.rule.as_str(), |own| &own.id)
    }

    /// A few words: what the rule is called.
    #[must_use]
    pub fn title(&self) -> &str {
        self.operator.as_ref().map_or(self.title, |own| &own.title)
    }

    /// What to do.
    #[must_use]
    pub fn remediation(&self) -> &str {
        self.operator.as_ref().map_or(self.rule.info().remediation, |own| &own.remediation)
    }
}

/// OCSF activity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    /// First state.
    Create = 1,
    /// It grew, or its severity changed.
    Update = 2,
    /// It has been quiet.
    Close = 3,
}

/// OCSF severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "OCSF's captions")]
pub enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
}

impl Severity {
    /// The severity of a `severity_id`; None if it is not 1 to 5.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Informational),
            2 => Some(Self::Low),
            3 => Some(Self::Medium),
            4 => Some(Self::High),
            5 => Some(Self::Critical),
            _ => None,
        }
    }
}

/// OCSF confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "OCSF's captions")]
pub enum Confidence {
    Low = 1,
    Medium = 2,
    High = 3,
}

/// Observed against expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// What was counted: "distinct persons changed", ...
    pub parameter: &'static str,
    /// The key in words: "website-2 / customer".
    pub target: String,
    /// Window length, seconds.
    pub window_secs: u64,
    /// Window bounds (event time).
    pub window: (EventTime, EventTime),
    /// Count.
    pub observed: u64,
    /// Expected mean.
    pub expected: f64,
    /// The count from which it alerts.
    pub threshold: u64,
    /// -log10 of the probability of at least so many.
    pub score: f64,
    /// History that the expectation stands on, seconds.
    pub history_secs: u64,
}

/// What one transaction did, for the finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// GTID text, if it has one.
    pub gtid: Option<String>,
    /// Start of the transaction.
    pub position: BinlogPosition,
    /// Source uuid of the GTID (MySQL).
    pub server_uuid: Option<String>,
    /// Originating server id.
    pub server_id: u32,
    /// Thread id there, if known.
    pub thread: Option<u32>,
    /// Commit time.
    pub time: EventTime,
    /// Rows by table.
    pub tables: EvidenceTables,
    /// Rows of dependants that are not in the log, because the storage engine carried out foreign
    /// keys by itself: as far as the dependants were known.
    pub inferred: EvidenceTables,
    /// Distinct persons in this transaction, and whether exact.
    pub subjects: (u64, bool),
}

/// Rows by table name.
pub type EvidenceTables = BTreeMap<Arc<str>, TableCounts>;

/// Rows by kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "rows")]
pub struct TableCounts {
    pub inserts: u64,
    pub updates: u64,
    pub deletes: u64,
}

/// MITRE ATT&CK mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "MITRE's ids and names")]
pub struct Attack {
    pub tactic: (&'static str, &'static str),
    pub technique: (&'static str, &'static str),
}

/// Kind of a rule (OCSF analytic type).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleKind {
    /// Exact.
    Rule = 1,
    /// Baseline.
    Statistical = 3,
}

/// The rules. Ids are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "see docs/rules")]
pub enum RuleId {
    BulkExport,
    BulkCopy,
    BulkChange,
    MassDeletion,
    AccessVolume,
    FailedAccess,
    CrossTenantWrite,
    TenantRemap,
    ConfigWeakened,
    PrivilegeGranted,
    CodeInjected,
    PlaintextPhi,
    PhiSurface,
    PhiInFreeText,
    AuditTampered,
    RetentionOverdue,
    CanaryTouched,
    CoverageGap,
    /// A rule of the operator: [`Alert::operator`] says which.
    Operator,
}

impl RuleId {
    /// The built-in ones, in the order of the contract.
    pub const ALL: [Self; 18] = [
        Self::BulkExport,
        Self::BulkCopy,
        Self::BulkChange,
        Self::MassDeletion,
        Self::AccessVolume,
        Self::FailedAccess,
        Self::CrossTenantWrite,
        Self::TenantRemap,
        Self::ConfigWeakened,
        Self::PrivilegeGranted,
        Self::CodeInjected,
        Self::PlaintextPhi,
        Self::PhiSurface,
        Self::PhiInFreeText,
        Self::AuditTampered,
        Self::RetentionOverdue,
        Self::CanaryTouched,
        Self::CoverageGap,
    ];

    /// Whether a finding of it may be expected: nobody answers for what was not examined, and a
    /// seeded person is there to be told.
    #[must_use]
    pub fn may_be_excepted(self) -> bool {
        !matches!(self, Self::CoverageGap | Self::CanaryTouched)
    }

    /// The id, as in `finding_info.analytic.uid` of a built-in rule; see [`Alert::rule_id`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BulkExport => "bulk-export",
            Self::BulkCopy => "bulk-copy",
            Self::BulkChange => "bulk-change",
            Self::MassDeletion => "mass-deletion",
            Self::AccessVolume => "access-volume",
            Self::FailedAccess => "failed-access",
            Self::CrossTenantWrite => "cross-tenant-write",
            Self::TenantRemap => "tenant-remap",
            Self::ConfigWeakened => "config-weakened",
            Self::PrivilegeGranted => "privilege-granted",
            Self::CodeInjected => "code-injected",
            Self::PlaintextPhi => "plaintext-phi",
            Self::PhiSurface => "phi-surface",
            Self::PhiInFreeText => "phi-in-free-text",
            Self::AuditTampered => "audit-tampered",
            Self::RetentionOverdue => "retention-overdue",
            Self::CanaryTouched => "canary-touched",
            Self::CoverageGap => "coverage-gap",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

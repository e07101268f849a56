//! Words of each rule for `finding_info` and `remediation`.

use phiwatch_detect::{Attack, RuleId};

/// What an alert says about its rule.
pub(super) struct RuleWords {
    /// `finding_info.analytic.name`.
    pub(super) name: &'static str,
    /// `finding_info.desc`.
    pub(super) desc: &'static str,
    /// `finding_info.types`.
    pub(super) finding_type: &'static str,
    pub(super) attacks: &'static [Attack],
    /// `remediation.desc`.
    pub(super) remediation: &'static str,
}

const COLLECTION: (&str, &str) = ("TA0009", "Collection");
const IMPACT: (&str, &str) = ("TA0040", "Impact");
const EVASION: (&str, &str) = ("TA0005", "Defense Evasion");
const PERSISTENCE: (&str, &str) = ("TA0003", "Persistence");
const CREDENTIALS: (&str, &str) = ("TA0006", "Credential Access");

const REPOSITORIES: Attack =
    Attack { tactic: COLLECTION, technique: ("T1213", "Data from Information Repositories") };
const STAGED: Attack = Attack { tactic: COLLECTION, technique: ("T1074", "Data Staged") };
const MANIPULATION: Attack = Attack { tactic: IMPACT, technique: ("T1565", "Data Manipulation") };
const DESTRUCTION: Attack = Attack { tactic: IMPACT, technique: ("T1485", "Data Destruction") };
const BRUTE_FORCE: Attack = Attack { tactic: CREDENTIALS, technique: ("T1110", "Brute Force") };
const IMPAIR: Attack = Attack { tactic: EVASION, technique: ("T1562", "Impair Defenses") };
const WEAKEN: Attack = Attack { tactic: EVASION, technique: ("T1600", "Weaken Encryption") };
const REMOVAL: Attack = Attack { tactic: EVASION, technique: ("T1070", "Indicator Removal") };
const ACCOUNT: Attack =
    Attack { tactic: PERSISTENCE, technique: ("T1098", "Account Manipulation") };
const SERVER_CODE: Attack =
    Attack { tactic: PERSISTENCE, technique: ("T1505", "Server Software Component") };

/// The words of a rule.
pub(super) fn words(rule: RuleId) -> RuleWords {
    let (name, finding_type, attacks): (_, _, &'static [Attack]) = match rule {
        RuleId::BulkExport => ("Export of personal data", "Data Exfiltration", &[REPOSITORIES]),
        RuleId::BulkCopy => ("Copy of personal data", "Data Staging", &[STAGED]),
        RuleId::BulkChange => {
            ("Bulk change of personal data", "Data Manipulation", &[MANIPULATION])
        }
        RuleId::MassDeletion => {
            ("Mass deletion of personal data", "Data Destruction", &[DESTRUCTION])
        }
        RuleId::AccessVolume => ("Volume of access", "Data Access", &[REPOSITORIES]),
        RuleId::FailedAccess => ("Failed access", "Credential Access", &[BRUTE_FORCE]),
        RuleId::CrossTenantWrite => ("Write across tenants", "Tenant Isolation", &[MANIPULATION]),
        RuleId::TenantRemap => ("Tenants moved", "Tenant Isolation", &[MANIPULATION]),
        RuleId::ConfigWeakened => ("Setting weakened", "Configuration Weakened", &[IMPAIR]),
        RuleId::PrivilegeGranted => ("Privilege granted", "Privilege Escalation", &[ACCOUNT]),
        RuleId::CodeInjected => ("Code injected", "Code Injection", &[SERVER_CODE]),
        RuleId::PlaintextPhi => ("Plaintext in an encrypted column", "Data Exposure", &[WEAKEN]),
        RuleId::PhiSurface => ("New place for personal data", "Data Exposure", &[STAGED]),
        RuleId::PhiInFreeText => ("Identifiers in free text", "Data Exposure", &[REPOSITORIES]),
        RuleId::AuditTampered => ("Audit trail tampered with", "Audit Tampering", &[REMOVAL]),
        RuleId::RetentionOverdue => ("Retention overdue", "Retention", &[REPOSITORIES]),
        RuleId::CanaryTouched => ("Canary touched", "Data Access", &[REPOSITORIES]),
        RuleId::CoverageGap => ("Gap in coverage", "Loss of Visibility", &[IMPAIR]),
    };
    RuleWords { name, desc: desc(rule), finding_type, attacks, remediation: remediation(rule) }
}

/// What the rule looks for.
fn desc(rule: RuleId) -> &'static str {
    match rule {
        RuleId::BulkExport => "An export of personal data left rows in the database.",
        RuleId::BulkCopy => "Personal data was copied into a table that the shop does not know.",
        RuleId::BulkChange => "Far more persons were changed than the tenant's history explains.",
        RuleId::MassDeletion => {
            "Far more personal data was deleted than the tenant's history explains, or a table \
             was emptied."
        }
        RuleId::AccessVolume => "Far more records were opened than usual.",
        RuleId::FailedAccess => "Logons or resets fail far more often than usual.",
        RuleId::CrossTenantWrite => "A row of one tenant was tied to a person or order of another.",
        RuleId::TenantRemap => {
            "A store, group or website moved to another tenant, or account sharing changed."
        }
        RuleId::ConfigWeakened => "A security setting was set to a weaker value.",
        RuleId::PrivilegeGranted => "Somebody may now do more than before.",
        RuleId::CodeInjected => {
            "Code that runs on pages or on personal data was put into the database."
        }
        RuleId::PlaintextPhi => {
            "A column that is to be encrypted received something that is not ciphertext."
        }
        RuleId::PhiSurface => "There is a new place where personal data can be kept.",
        RuleId::PhiInFreeText => {
            "Identifiers stand in a free-text column where the policy forbids them."
        }
        RuleId::AuditTampered => {
            "Rows of the action log or of sessions were changed or deleted outside of rotation."
        }
        RuleId::RetentionOverdue => {
            "Personal data is kept past its period, or the job that disposes of it has stopped."
        }
        RuleId::CanaryTouched => {
            "A seeded person, whom no process has a reason to touch, was changed or copied."
        }
        RuleId::CoverageGap => {
            "A part of the binlog was not examined: there is no verdict about it."
        }
    }
}

/// The first step.
fn remediation(rule: RuleId) -> &'static str {
    match rule {
        RuleId::BulkExport => {
            "Ask who started the export and where the file went; delete the file if nobody owns \
             it."
        }
        RuleId::BulkCopy => {
            "Find who made the table, keep a record of it, drop it if nobody owns it."
        }
        RuleId::BulkChange => {
            "Match the transactions with a known job or change; if there is none, stop the \
             session and compare the rows with a backup."
        }
        RuleId::MassDeletion => {
            "Stop the session, keep the binlogs, and restore from a backup up to this position."
        }
        RuleId::AccessVolume => {
            "Ask the user named in the action log for the reason; suspend the account if there \
             is none."
        }
        RuleId::FailedAccess => {
            "Block the sources at the edge and look for a success among the failures."
        }
        RuleId::CrossTenantWrite => {
            "Find the process behind the transaction, and set the row right before the other \
             tenant sees it."
        }
        RuleId::TenantRemap => {
            "Confirm the move with its owner; move it back if it was not planned."
        }
        RuleId::ConfigWeakened => "Ask who changed it, set it back, flush the configuration cache.",
        RuleId::PrivilegeGranted => {
            "Confirm the grant with its owner; revoke it and end its sessions if nobody asked \
             for it."
        }
        RuleId::CodeInjected => {
            "Take the shop's affected pages off, keep a copy of the code, remove it, change keys."
        }
        RuleId::PlaintextPhi => {
            "Find the writer, encrypt the rows, purge the plaintext from binlogs and backups as \
             the policy says."
        }
        RuleId::PhiSurface => {
            "Decide whether it is wanted; if so, add it to the catalogue and to the retention \
             plan."
        }
        RuleId::PhiInFreeText => "Move them to their own columns and clear the text.",
        RuleId::AuditTampered => {
            "Keep the binlogs: they hold the rows; treat the session as hostile."
        }
        RuleId::RetentionOverdue => "Start the job again and check what is overdue.",
        RuleId::CanaryTouched => {
            "Treat it as an intrusion: find the session, and what else it touched."
        }
        RuleId::CoverageGap => {
            "Examine the missing part by `phiwatch replay` if the files still exist, and mend \
             the cause with `phiwatch doctor`."
        }
    }
}

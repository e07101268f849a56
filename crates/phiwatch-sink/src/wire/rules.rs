//! Words of each rule that only the wire format has; the others are in `RuleId::info`.

use phiwatch_detect::RuleId;

/// `finding_info.desc`: what the rule looks for.
pub(super) fn desc(rule: RuleId) -> &'static str {
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
        RuleId::Operator => "Rows that a rule of the operator's own catalogue file describes.",
        RuleId::CoverageGap => {
            "A part of the binlog was not examined: there is no verdict about it."
        }
    }
}

/// `finding_info.types`.
pub(super) fn finding_type(rule: RuleId) -> &'static str {
    match rule {
        RuleId::BulkExport => "Data Exfiltration",
        RuleId::BulkCopy => "Data Staging",
        RuleId::BulkChange => "Data Manipulation",
        RuleId::MassDeletion => "Data Destruction",
        RuleId::AccessVolume | RuleId::CanaryTouched => "Data Access",
        RuleId::FailedAccess => "Credential Access",
        RuleId::CrossTenantWrite | RuleId::TenantRemap => "Tenant Isolation",
        RuleId::ConfigWeakened => "Configuration Weakened",
        RuleId::PrivilegeGranted => "Privilege Escalation",
        RuleId::CodeInjected => "Code Injection",
        RuleId::PlaintextPhi | RuleId::PhiSurface | RuleId::PhiInFreeText => "Data Exposure",
        RuleId::AuditTampered => "Audit Tampering",
        RuleId::RetentionOverdue => "Retention",
        RuleId::Operator => "Operator Rule",
        RuleId::CoverageGap => "Loss of Visibility",
    }
}

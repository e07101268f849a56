//! What is fixed per rule: title, kind, MITRE ATT&CK mapping and what to do.

use crate::alert::{Attack, RuleId, RuleKind};

/// What is fixed per rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleInfo {
    /// A few words.
    pub title: &'static str,
    /// Exact or statistical. A rule of both kinds is named by its main one; a finding with an
    /// analysis is statistical.
    pub kind: RuleKind,
    /// MITRE ATT&CK (Enterprise).
    pub attacks: &'static [Attack],
    /// What to do, one sentence.
    pub remediation: &'static str,
}

const COLLECTION: (&str, &str) = ("TA0009", "Collection");
const EXFILTRATION: (&str, &str) = ("TA0010", "Exfiltration");
const IMPACT: (&str, &str) = ("TA0040", "Impact");
const PERSISTENCE: (&str, &str) = ("TA0003", "Persistence");
const ESCALATION: (&str, &str) = ("TA0004", "Privilege Escalation");
const EVASION: (&str, &str) = ("TA0005", "Defense Evasion");
const CREDENTIALS: (&str, &str) = ("TA0006", "Credential Access");

const FROM_DATABASES: Attack = Attack { tactic: COLLECTION, technique: ("T1213.006", "Databases") };
const STAGED: Attack = Attack { tactic: COLLECTION, technique: ("T1074", "Data Staged") };
const EXFILTRATED: Attack =
    Attack { tactic: EXFILTRATION, technique: ("T1567", "Exfiltration Over Web Service") };
const MANIPULATED: Attack =
    Attack { tactic: IMPACT, technique: ("T1565.001", "Stored Data Manipulation") };
const DESTROYED: Attack = Attack { tactic: IMPACT, technique: ("T1485", "Data Destruction") };
const WEAKENED: Attack = Attack { tactic: EVASION, technique: ("T1562", "Impair Defenses") };
const ACCOUNTS: Attack =
    Attack { tactic: PERSISTENCE, technique: ("T1098", "Account Manipulation") };
const NEW_ACCOUNT: Attack = Attack { tactic: PERSISTENCE, technique: ("T1136", "Create Account") };
const MORE_ROLES: Attack =
    Attack { tactic: ESCALATION, technique: ("T1098.003", "Additional Cloud Roles") };
const COMPONENT: Attack =
    Attack { tactic: PERSISTENCE, technique: ("T1505", "Server Software Component") };
const SKIMMED: Attack =
    Attack { tactic: COLLECTION, technique: ("T1056.003", "Web Portal Capture") };
const GUESSED: Attack = Attack { tactic: CREDENTIALS, technique: ("T1110", "Brute Force") };
const SPRAYED: Attack =
    Attack { tactic: CREDENTIALS, technique: ("T1110.003", "Password Spraying") };
const TRACES: Attack = Attack { tactic: EVASION, technique: ("T1070", "Indicator Removal") };

impl RuleId {
    /// What is fixed for the rule.
    #[must_use]
    pub fn info(self) -> RuleInfo {
        let (title, kind, attacks, remediation) = match self {
            Self::BulkExport | Self::BulkCopy | Self::BulkChange | Self::MassDeletion => bulk(self),
            Self::AccessVolume
            | Self::FailedAccess
            | Self::CrossTenantWrite
            | Self::TenantRemap => access(self),
            Self::ConfigWeakened | Self::PrivilegeGranted | Self::CodeInjected => control(self),
            _ => care(self),
        };
        RuleInfo { title, kind, attacks, remediation }
    }
}

type Row = (&'static str, RuleKind, &'static [Attack], &'static str);

fn bulk(rule: RuleId) -> Row {
    match rule {
        RuleId::BulkExport => (
            "Personal data exported in bulk",
            RuleKind::Rule,
            &[FROM_DATABASES, EXFILTRATED],
            "Ask who queued the export and where its file went; delete the file if nobody can say.",
        ),
        RuleId::BulkCopy => (
            "Personal data copied into another table",
            RuleKind::Rule,
            &[FROM_DATABASES, STAGED],
            "Ask who made the copy and why; drop the table, and look for a dump made from it.",
        ),
        RuleId::BulkChange => (
            "Unusually many persons changed",
            RuleKind::Statistical,
            &[MANIPULATED],
            "Compare the rows with the last backup and find the session that wrote them; announce \
             the job if it is wanted.",
        ),
        _ => (
            "Unusually many persons deleted",
            RuleKind::Statistical,
            &[DESTROYED],
            "Stop the writer, keep the binlogs, and restore the rows from the last backup if the \
             deletion was not ordered.",
        ),
    }
}

fn access(rule: RuleId) -> Row {
    match rule {
        RuleId::AccessVolume => (
            "Unusually many persons looked at",
            RuleKind::Statistical,
            &[FROM_DATABASES],
            "Ask the user for the reason, and lock the account until it is known.",
        ),
        RuleId::FailedAccess => (
            "Logon failures climbing",
            RuleKind::Statistical,
            &[GUESSED, SPRAYED],
            "Block the sources at the edge, and reset the accounts that were entered.",
        ),
        RuleId::CrossTenantWrite => (
            "A row crosses the border between tenants",
            RuleKind::Rule,
            &[MANIPULATED],
            "Find the code or session that wrote the row, correct it, and judge whether one tenant \
             saw another's persons.",
        ),
        _ => (
            "Stores or websites moved between tenants",
            RuleKind::Rule,
            &[MANIPULATED, WEAKENED],
            "Confirm the change with the shop's owner; undo it before orders follow it.",
        ),
    }
}

fn control(rule: RuleId) -> Row {
    match rule {
        RuleId::ConfigWeakened => (
            "A security setting was weakened",
            RuleKind::Rule,
            &[WEAKENED],
            "Set the value back, and find out who changed it and what happened since.",
        ),
        RuleId::PrivilegeGranted => (
            "New rights were granted",
            RuleKind::Rule,
            &[ACCOUNTS, NEW_ACCOUNT, MORE_ROLES],
            "Confirm the grant with whoever ordered it; else revoke it and end the sessions.",
        ),
        _ => (
            "Code was placed where it sees personal data",
            RuleKind::Rule,
            &[COMPONENT, SKIMMED],
            "Remove the code, keep a copy for the investigation, and rotate what it could read.",
        ),
    }
}

fn care(rule: RuleId) -> Row {
    match rule {
        RuleId::PlaintextPhi => (
            "Personal data stored in clear",
            RuleKind::Rule,
            &[WEAKENED],
            "Mend the writer, then encrypt the rows again.",
        ),
        RuleId::PhiSurface => (
            "A new place for personal data",
            RuleKind::Rule,
            &[],
            "Decide whether the column or table may hold personal data, and add it to the catalogue.",
        ),
        RuleId::PhiInFreeText => (
            "Identifiers in free text",
            RuleKind::Rule,
            &[],
            "Remove the text, and tell the writer where it belongs.",
        ),
        RuleId::AuditTampered => (
            "The audit trail was changed",
            RuleKind::Rule,
            &[TRACES, WEAKENED],
            "Restore the rows from the binlog or a backup, and treat the session as hostile.",
        ),
        RuleId::RetentionOverdue => (
            "Personal data kept past its period",
            RuleKind::Rule,
            &[],
            "Find out why the disposal job stopped, and run it.",
        ),
        RuleId::CanaryTouched => (
            "A seeded person was touched",
            RuleKind::Rule,
            &[FROM_DATABASES],
            "Nobody has a reason to touch this person: treat the session as hostile.",
        ),
        RuleId::Operator => {
            ("A rule of the operator fits", RuleKind::Rule, &[], "Do what the rule's file says.")
        }
        _ => (
            "Part of the binlog was not examined",
            RuleKind::Rule,
            &[],
            "Fetch the missing binlog or mend the cause, and replay it; until then nothing is known \
             of that stretch.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_its_own_words() {
        let titles: BTreeSet<&str> = RuleId::ALL.iter().map(|rule| rule.info().title).collect();
        assert_eq!(titles.len(), RuleId::ALL.len());
        for rule in RuleId::ALL {
            assert!(rule.info().remediation.ends_with('.'), "{rule}");
        }
    }
}

//! Alerts about the watching itself, beside the engine.
//!
//! Input: what is wrong with the source, and when by the clock. Output: one `coverage-gap` alert.
//! No state of the engine is read or changed, so that a replay, which meets no server, equals the
//! live run in everything else. The id is that of the server and the fact: the same fact again is
//! the same alert.

use phiwatch_binlog::{BinlogPosition, EventTime};
use phiwatch_magento::PhiClasses;
use uuid::Uuid;

use crate::{
    Activity, Alert, Confidence, Evidence, EvidenceTables, RuleId, Severity, finding::NAMESPACE,
};

/// A `coverage-gap` of severity 3 that is told once. `fact`: what makes it one, with the server's
/// name; `at`: where reading stood.
#[must_use]
pub fn source_notice(fact: &str, message: String, at: BinlogPosition, time: EventTime) -> Alert {
    let rule = RuleId::CoverageGap;
    Alert {
        uid: Uuid::new_v5(&NAMESPACE, format!("source|{rule}|{fact}").as_bytes()),
        revision: 0,
        activity: Activity::Create,
        rule,
        tenant: "global".into(),
        database: None,
        severity: Severity::Medium,
        confidence: Confidence::High,
        time,
        first_seen: time,
        last_seen: time,
        title: rule.info().title,
        message,
        analysis: None,
        evidence: vec![Evidence {
            gtid: None,
            position: at,
            server_uuid: None,
            server_id: 0,
            thread: None,
            time,
            tables: EvidenceTables::new(),
            inferred: EvidenceTables::new(),
            subjects: (0, true),
        }],
        phi: PhiClasses::default(),
        subjects: (0, true),
        correlation: None,
        benign: None,
        operator: None,
    }
}

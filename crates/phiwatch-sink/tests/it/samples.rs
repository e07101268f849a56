//! Alerts of every shape. All names and numbers are made up.

use std::sync::Arc;

use phiwatch_binlog::{BinlogPosition, EventTime};
use phiwatch_detect::{
    Activity, Alert, Analysis, Confidence, Evidence, EvidenceTables, RuleId, Severity, TableCounts,
};
use phiwatch_magento::{OperatorRule, PhiClasses};
use uuid::Uuid;

/// 2026-11-02 09:30:00 UTC, µs.
pub(crate) const START: i64 = 1_793_611_800_000_000;
const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn time(secs: i64) -> EventTime {
    EventTime(START + secs * 1_000_000)
}

fn evidence(table: &str, counts: TableCounts, subjects: (u64, bool)) -> Evidence {
    Evidence {
        gtid: Some(format!("{SERVER}:4711")),
        position: BinlogPosition { file: Arc::from("binlog.000123"), offset: 98_123 },
        server_uuid: Some(SERVER.to_owned()),
        server_id: 1,
        thread: Some(42),
        time: time(0),
        tables: [(Arc::from(table), counts)].into(),
        inferred: EvidenceTables::new(),
        subjects,
    }
}

/// An exact rule: a copy of a whole table of persons.
pub(crate) fn rule() -> Alert {
    let inserts = TableCounts { inserts: 812, ..TableCounts::default() };
    Alert {
        uid: Uuid::from_u128(0x0d4c_1f5e_6f6a_5a0b_9a55_0c3a_1d7b_1c11),
        revision: 0,
        activity: Activity::Create,
        rule: RuleId::BulkCopy,
        tenant: Arc::from("website-2"),
        database: Some(Arc::from("magento")),
        severity: Severity::High,
        confidence: Confidence::High,
        time: time(1),
        first_seen: time(0),
        last_seen: time(1),
        title: "Personal data copied into an unknown table",
        message: "812 rows with e-mail, name of website 2 were copied into customer_bak."
            .to_owned(),
        analysis: None,
        evidence: vec![evidence("customer_bak", inserts, (812, true))],
        phi: PhiClasses::NAME.union(PhiClasses::EMAIL),
        subjects: (812, true),
        correlation: Some(Uuid::from_u128(0x77aa_0000_0000_5000_8000_0000_0000_0001)),
        benign: None,
        operator: None,
    }
}

/// A statistical one, updated, with an estimated count and two transactions.
pub(crate) fn statistical() -> Alert {
    let updates = |updates| TableCounts { updates, ..TableCounts::default() };
    let mut second = evidence("customer_entity", updates(2_400), (2_390, false));
    second.tables.insert(Arc::from("customer_address_entity"), updates(1));
    second.gtid = Some(format!("{SERVER}:4712"));
    second.position.offset = 120_000;
    second.thread = None;
    Alert {
        uid: Uuid::from_u128(0x1d4c_1f5e_6f6a_5a0b_9a55_0c3a_1d7b_1c12),
        revision: 2,
        activity: Activity::Update,
        rule: RuleId::BulkChange,
        title: "Bulk change of personal data",
        message: "3,000 persons of website 2 were changed in 600 s, 37 were expected.".to_owned(),
        analysis: Some(Analysis {
            parameter: "distinct persons changed",
            target: "website-2 / customer".to_owned(),
            window_secs: 600,
            window: (time(0), time(600)),
            observed: 3_000,
            expected: 37.123_456_789,
            threshold: 120,
            score: 842.500_1,
            history_secs: 28 * 86_400,
        }),
        evidence: vec![evidence("customer_entity", updates(610), (610, true)), second],
        subjects: (3_000, false),
        correlation: None,
        ..rule()
    }
}

/// Not examined: no schema, no rows, MariaDB.
pub(crate) fn coverage_gap() -> Alert {
    let mut where_it_is = evidence("x", TableCounts::default(), (0, true));
    where_it_is.tables.clear();
    where_it_is.gtid = Some("0-4000-99".to_owned());
    where_it_is.server_uuid = None;
    where_it_is.server_id = 4_000;
    where_it_is.thread = None;
    Alert {
        uid: Uuid::from_u128(0x2d4c_1f5e_6f6a_5a0b_9a55_0c3a_1d7b_1c13),
        rule: RuleId::CoverageGap,
        tenant: Arc::from("global"),
        database: None,
        severity: Severity::Medium,
        title: "A part of the binlog was not examined",
        message: "1 event at binlog.000123:98123 could not be decoded.".to_owned(),
        evidence: vec![where_it_is],
        phi: PhiClasses::default(),
        subjects: (0, true),
        correlation: None,
        ..rule()
    }
}

/// A recognised benign cause, closed.
pub(crate) fn benign() -> Alert {
    Alert {
        uid: Uuid::from_u128(0x3d4c_1f5e_6f6a_5a0b_9a55_0c3a_1d7b_1c14),
        revision: 1,
        activity: Activity::Close,
        severity: Severity::Informational,
        confidence: Confidence::Low,
        benign: Some("an announced import of 3,000 rows".to_owned()),
        ..statistical()
    }
}

/// Nothing but the obligatory: no evidence, no schema; and numbers that are none.
pub(crate) fn bare() -> Alert {
    Alert {
        evidence: Vec::new(),
        database: None,
        analysis: statistical().analysis.map(|analysis| Analysis {
            expected: 0.0,
            score: f64::INFINITY,
            history_secs: 0,
            ..analysis
        }),
        message: "quotes \" and \\ and\nnew lines stay in one line".to_owned(),
        ..rule()
    }
}

/// A rule of the operator.
pub(crate) fn operator(remediation: &str) -> Alert {
    let own = OperatorRule {
        id: "x-address-book-gone".into(),
        title: "Addresses deleted by the hundred".into(),
        remediation: remediation.into(),
        severity: 4,
        persons_min: 100,
    };
    let message = "Addresses deleted by the hundred: 812 rows of customer_address_entity.";
    Alert {
        rule: RuleId::Operator,
        message: message.to_owned(),
        operator: Some(Arc::new(own)),
        ..rule()
    }
}

/// One of each, and one per rule.
pub(crate) fn all() -> Vec<Alert> {
    let mut alerts = vec![rule(), statistical(), coverage_gap(), benign(), bare()];
    alerts.push(operator("https://wiki.example.com/phi/addresses"));
    alerts.push(operator("Ask the call centre."));
    alerts.extend(RuleId::ALL.into_iter().map(|id| Alert { rule: id, ..rule() }));
    for severity in [Severity::Low, Severity::Medium, Severity::Critical] {
        alerts.push(Alert { severity, confidence: Confidence::Medium, ..statistical() });
    }
    alerts
}

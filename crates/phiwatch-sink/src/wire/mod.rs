//! An alert as one compact JSON line: OCSF 1.8.0 Detection Finding (class 2004).
//!
//! Input: an [`Alert`] and a [`WireContext`]. Output: the bytes that Kafka, JSON lines and the
//! store hold. The contract is `schemas/alert-v1.schema.json`, made by [`alert_schema`].
//!
//! # Invariants
//! - Equal input, equal bytes: fixed key order, no clock, no random number, floats rounded.
//! - Each line is valid OCSF 1.8.0 (tests run the validator over every snapshot).
//! - No column value: an alert holds names, counts, positions and times only.

mod doc;
mod rules;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use phiwatch_detect::{
    Activity, Alert, Analysis, Attack, Confidence, Evidence, EvidenceTables, Severity,
};

use self::doc::{
    Actor, AlertDoc, Analytic, AnomalyAnalysis, AttackDoc, ClassifierDetails, Counts,
    DataClassification, Database, Discovery, Endpoint, EvidenceData, EvidenceDoc, FindingInfo,
    Measure, Metadata, Observable, Observed, Product, Remediation, Resource, Session, Tactic,
    Target, Technique, Timespan, Unmapped,
};

/// Version of OCSF that alerts follow.
pub const OCSF_VERSION: &str = "1.8.0";
/// Version of ATT&CK whose names `finding_info.attacks` uses.
const ATTACK_VERSION: &str = "17.1";
/// Version of the rules, for `finding_info.analytic.version`.
const RULES_VERSION: &str = "1";
/// Tables listed under `observables`; all are under `resources`.
const OBSERVABLE_TABLES_MAX: usize = 10;

/// What a line needs beside the alert. Keep it equal over restarts: it is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireContext {
    /// `metadata.product.version`.
    pub product_version: String,
    /// Where the pages of docs/rules live, without the last `/`; `<base>/<rule id>.md` is the
    /// runbook link of an alert.
    pub runbook_base: String,
}

impl Default for WireContext {
    /// This build's version, and the pages' place in the repository.
    fn default() -> Self {
        Self {
            product_version: env!("CARGO_PKG_VERSION").to_owned(),
            runbook_base: "docs/rules".to_owned(),
        }
    }
}

/// The alert as one line of JSON, without a newline at its end.
#[must_use]
pub fn ocsf(alert: &Alert, context: &WireContext) -> String {
    let uid = alert.uid.to_string();
    // Maps with text keys, strings and finite numbers only: nothing here can fail to serialise.
    serde_json::to_string(&document(alert, &uid, context)).expect("an alert is plain data")
}

/// JSON Schema (2020-12) of what [`ocsf`] writes, with an example. `schemas/alert-v1.schema.json`
/// is this, pretty-printed.
#[must_use]
pub fn alert_schema() -> serde_json::Value {
    // What a reader looks for first, first.
    const ORDER: [&str; 6] = ["$schema", "title", "description", "type", "required", "properties"];
    let derived = schemars::schema_for!(AlertDoc<'_>).to_value();
    let example: serde_json::Value =
        serde_json::from_str(include_str!("example.json")).expect("the example is JSON");
    let mut schema = serde_json::Map::new();
    for key in ORDER {
        schema.insert(key.to_owned(), derived.get(key).cloned().unwrap_or_default());
    }
    schema.insert("examples".to_owned(), vec![example].into());
    for (key, value) in derived.as_object().into_iter().flatten() {
        if !schema.contains_key(key) {
            schema.insert(key.clone(), value.clone());
        }
    }
    schema.into()
}

fn document<'a>(alert: &'a Alert, uid: &'a str, context: &'a WireContext) -> AlertDoc<'a> {
    let activity = alert.activity as u8;
    let (status_id, status) = status(alert.activity);
    AlertDoc {
        class_uid: 2004,
        class_name: "Detection Finding",
        category_uid: 2,
        category_name: "Findings",
        activity_id: activity,
        activity_name: activity_name(alert.activity),
        type_uid: 200_400 + u32::from(activity),
        type_name: type_name(alert.activity),
        time: alert.time.millis(),
        start_time: alert.first_seen.millis(),
        end_time: alert.last_seen.millis(),
        timezone_offset: 0,
        severity_id: alert.severity as u8,
        severity: severity_name(alert.severity),
        confidence_id: alert.confidence as u8,
        confidence: confidence_name(alert.confidence),
        status_id,
        status,
        status_code: alert.rule_id(),
        status_detail: status_detail(alert),
        is_alert: alert.severity > Severity::Informational,
        message: &alert.message,
        metadata: metadata(alert, uid, context),
        finding_info: finding_info(alert, uid),
        anomaly_analyses: alert.analysis.as_ref().map(|analysis| [anomaly_analysis(analysis)]),
        remediation: remediation(alert, context),
        evidences: alert.evidence.iter().map(|one| evidence(alert, one)).collect(),
        resources: resources(alert),
        observables: observables(alert),
        unmapped: Unmapped {
            subjects: alert.subjects.0,
            subjects_exact: alert.subjects.1,
            phi_classes: alert.phi.names(),
            benign_cause: alert.benign.as_deref(),
            score: alert.analysis.as_ref().map(|analysis| rounded(analysis.score)),
        },
    }
}

fn metadata<'a>(alert: &'a Alert, uid: &'a str, context: &'a WireContext) -> Metadata<'a> {
    Metadata {
        version: OCSF_VERSION,
        uid,
        event_code: alert.rule_id(),
        sequence: alert.revision,
        tenant_uid: &alert.tenant,
        correlation_uid: alert.correlation.map(|uid| uid.to_string()),
        log_name: "binlog",
        original_time: rfc3339(alert.time.millis()),
        product: Product {
            name: "phiwatch",
            uid: "phiwatch",
            vendor_name: "phiwatch",
            version: &context.product_version,
        },
        profiles: (!alert.phi.is_empty()).then_some(["data_classification"]),
    }
}

fn finding_info<'a>(alert: &'a Alert, uid: &'a str) -> FindingInfo<'a> {
    let info = alert.rule.info();
    // A rule with both kinds of evidence is statistical exactly where it argues with numbers.
    let (type_id, kind) = if alert.analysis.is_some() { (3, "Statistical") } else { (1, "Rule") };
    FindingInfo {
        uid,
        title: alert.title(),
        desc: rules::desc(alert.rule),
        created_time: (alert.revision == 0).then(|| alert.time.millis()),
        first_seen_time: alert.first_seen.millis(),
        last_seen_time: alert.last_seen.millis(),
        analytic: Analytic {
            uid: alert.rule_id(),
            name: alert.operator.as_ref().map_or(info.title, |own| &own.title),
            type_id,
            kind,
            version: RULES_VERSION,
        },
        attacks: info.attacks.iter().map(attack).collect(),
        types: [rules::finding_type(alert.rule)],
        data_sources: ["binlog"],
    }
}

/// ATT&CK numbers a sub-technique `<technique>.<n>`; OCSF has a place for each.
fn attack(attack: &Attack) -> AttackDoc {
    let (uid, name) = attack.technique;
    let (technique, sub_technique) = match uid.split_once('.') {
        Some((parent, _)) => {
            (Technique { uid: parent, name: None }, Some(Technique { uid, name: Some(name) }))
        }
        None => (Technique { uid, name: Some(name) }, None),
    };
    AttackDoc {
        version: ATTACK_VERSION,
        tactic: Tactic { uid: attack.tactic.0, name: attack.tactic.1 },
        technique,
        sub_technique,
    }
}

fn anomaly_analysis(analysis: &Analysis) -> AnomalyAnalysis<'_> {
    let window = || Timespan {
        type_id: 9,
        kind: "Time Interval",
        duration_secs: analysis.window_secs,
        start_time: Some(analysis.window.0.millis()),
        end_time: Some(analysis.window.1.millis()),
    };
    let history = Timespan {
        type_id: 2,
        kind: "Seconds",
        duration_secs: analysis.history_secs,
        start_time: None,
        end_time: None,
    };
    let measure = |observation_type, observed_pattern, value, timespan| Measure {
        observation_parameter: analysis.parameter,
        observation_type,
        observed_pattern,
        observations: [Observed { value, timespan }],
    };
    AnomalyAnalysis {
        analysis_targets: [Target { name: &analysis.target, kind: "tenant and table class" }],
        anomalies: [measure(
            "count",
            format!("-log10 of its probability is {}", rounded(analysis.score)),
            analysis.observed.to_string(),
            window(),
        )],
        baselines: [
            measure(
                "mean",
                format!("expected per {} s", analysis.window_secs),
                rounded(analysis.expected).to_string(),
                history,
            ),
            measure(
                "threshold",
                "count from which it alerts".to_owned(),
                analysis.threshold.to_string(),
                window(),
            ),
        ],
    }
}

fn evidence<'a>(alert: &'a Alert, one: &'a Evidence) -> EvidenceDoc<'a> {
    let is_benign = alert.benign.is_some();
    let counted = |tables: &'a EvidenceTables| {
        let rows = tables.iter().map(|(table, rows)| {
            let counts =
                Counts { inserts: rows.inserts, updates: rows.updates, deletes: rows.deletes };
            (table.as_ref(), counts)
        });
        rows.collect::<BTreeMap<&str, Counts>>()
    };
    EvidenceDoc {
        name: evidence_name(one),
        uid: one.gtid.clone().unwrap_or_else(|| one.position.to_string()),
        verdict_id: if is_benign { 5 } else { 4 },
        verdict: if is_benign { "Benign" } else { "Suspicious" },
        actor: one
            .thread
            .map(|thread| Actor { session: Session { uid: format!("thread-{thread}") } }),
        src_endpoint: Endpoint { uid: server(one), type_id: 1, kind: "Server" },
        database: alert.database.as_deref().map(|name| Database {
            name,
            type_id: 1,
            kind: "Relational",
        }),
        data: EvidenceData {
            gtid: one.gtid.as_deref(),
            file: &one.position.file,
            pos: one.position.offset,
            server_uuid: one.server_uuid.as_deref(),
            server_id: one.server_id,
            thread: one.thread,
            time: one.time.millis(),
            tables: counted(&one.tables),
            inferred: (!one.inferred.is_empty()).then(|| counted(&one.inferred)),
            subjects: one.subjects.0,
            subjects_exact: (!one.subjects.1).then_some(false),
        },
    }
}

/// "customer_entity: 3000 updates; newsletter_subscriber: 2 inserts, 1 delete".
fn evidence_name(one: &Evidence) -> String {
    if one.tables.is_empty() {
        return "no rows".to_owned();
    }
    let tables: Vec<String> = one
        .tables
        .iter()
        .map(|(table, rows)| {
            let parts: Vec<String> =
                [(rows.inserts, "insert"), (rows.updates, "update"), (rows.deletes, "delete")]
                    .into_iter()
                    .filter(|(count, _)| *count > 0)
                    .map(|(count, what)| counted(count, what))
                    .collect();
            if parts.is_empty() {
                format!("{table}: no rows")
            } else {
                format!("{table}: {}", parts.join(", "))
            }
        })
        .collect();
    tables.join("; ")
}

fn resources(alert: &Alert) -> Vec<Resource<'_>> {
    let classifications = || (!alert.phi.is_empty()).then(|| [classification(alert)]);
    let namespace = alert.database.as_deref();
    let resources: Vec<Resource<'_>> = table_names(alert)
        .into_iter()
        .map(|table| Resource {
            uid: namespace
                .map_or(Cow::Borrowed(table), |name| Cow::Owned(format!("{name}.{table}"))),
            name: Cow::Borrowed(table),
            kind: "database table",
            namespace,
            data_classifications: classifications(),
        })
        .collect();
    if !resources.is_empty() {
        return resources;
    }
    let (name, kind) = if let Some(name) = namespace {
        (Cow::Borrowed(name), "database")
    } else {
        let name = alert.evidence.first().map_or(Cow::Borrowed("source"), server);
        (name, "database server")
    };
    vec![Resource {
        uid: name.clone(),
        name,
        kind,
        namespace: None,
        data_classifications: classifications(),
    }]
}

fn classification(alert: &Alert) -> DataClassification {
    DataClassification {
        category_id: 1,
        category: "Personal",
        confidentiality_id: 6,
        confidentiality: "Restricted",
        classifier_details: ClassifierDetails { name: "phiwatch catalogue", kind: "Column name" },
        discovery_details: alert
            .phi
            .names()
            .into_iter()
            .map(|class| Discovery { kind: format!("PHI: {class}") })
            .collect(),
    }
}

fn observables(alert: &Alert) -> Vec<Observable<'_>> {
    const RESOURCE: (u8, &str) = (10, "Resource UID");
    let observable = |name, (type_id, kind), value| Observable { name, type_id, kind, value };
    let mut observables =
        vec![observable("metadata.tenant_uid", (99, "Tenant"), Cow::Borrowed(&*alert.tenant))];
    let servers: BTreeSet<Cow<'_, str>> = alert.evidence.iter().map(server).collect();
    observables.extend(
        servers.into_iter().map(|uid| observable("evidences.src_endpoint.uid", RESOURCE, uid)),
    );
    observables.extend(
        table_names(alert)
            .into_iter()
            .take(OBSERVABLE_TABLES_MAX)
            .map(|table| observable("resources.name", (99, "Table"), Cow::Borrowed(table))),
    );
    let threads: BTreeSet<u32> = alert.evidence.iter().filter_map(|one| one.thread).collect();
    observables.extend(threads.into_iter().map(|thread| {
        observable(
            "evidences.actor.session.uid",
            (99, "Database session"),
            Cow::Owned(format!("thread-{thread}")),
        )
    }));
    observables
}

fn table_names(alert: &Alert) -> BTreeSet<&str> {
    alert.evidence.iter().flat_map(|one| one.tables.keys()).map(AsRef::as_ref).collect()
}

fn server(one: &Evidence) -> Cow<'_, str> {
    match &one.server_uuid {
        Some(uuid) => Cow::Borrowed(uuid),
        None => Cow::Owned(format!("server-id-{}", one.server_id)),
    }
}

fn status_detail(alert: &Alert) -> String {
    let mut parts = Vec::new();
    if let Some(cause) = &alert.benign {
        let effect = if alert.severity == Severity::Informational {
            "severity lowered to informational"
        } else {
            "a benign cause was recognised"
        };
        parts.push(format!("{effect}: {cause}"));
    }
    if let Some(analysis) = &alert.analysis {
        parts.push(format!(
            "observed {} in {} s, expected {}, alerts from {}, -log10 of its probability {}, \
             history {}",
            analysis.observed,
            analysis.window_secs,
            rounded(analysis.expected),
            analysis.threshold,
            rounded(analysis.score),
            period(analysis.history_secs),
        ));
    }
    if alert.subjects.0 > 0 {
        let about = if alert.subjects.1 { "" } else { "about " };
        parts.push(format!("{about}{}", counted(alert.subjects.0, "person")));
    }
    parts.push(match alert.activity {
        Activity::Create => "new finding".to_owned(),
        Activity::Update => format!("update {} of the finding", alert.revision),
        Activity::Close => "closed: it has been quiet".to_owned(),
    });
    parts.join("; ")
}

/// What to do, and the page that says more: of an operator's own rule the page that it names, else
/// the one about such rules.
fn remediation<'a>(alert: &'a Alert, context: &WireContext) -> Remediation<'a> {
    let base = context.runbook_base.trim_end_matches('/');
    let desc = alert.remediation();
    let (desc, page) = match &alert.operator {
        None => (desc, format!("{base}/{}.md", alert.rule)),
        Some(_) if desc.starts_with("https://") || desc.starts_with("http://") => {
            ("Follow the page that the rule names.", desc.to_owned())
        }
        Some(_) => (desc, format!("{base}/README.md")),
    };
    Remediation { desc: Cow::Borrowed(desc), references: [page] }
}

/// "1 row", "2 rows".
fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Whole days from two days on, else hours, else seconds.
fn period(secs: u64) -> String {
    match secs {
        0 => "none".to_owned(),
        1..7_200 => counted(secs, "second"),
        7_200..172_800 => counted(secs / 3_600, "hour"),
        _ => counted(secs / 86_400, "day"),
    }
}

/// Three decimals, so that the text does not show the last bits of a sum; always finite, because
/// JSON has nothing else.
fn rounded(number: f64) -> f64 {
    if number.is_finite() { (number * 1_000.0).round() / 1_000.0 } else { f64::from(u32::MAX) }
}

/// RFC 3339 in UTC; times outside of years -9999 to 9999 (damaged input) as the number.
pub(crate) fn rfc3339(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| millis.to_string(), |time| time.to_string())
}

/// `create`, `update`, `close`: last part of the CloudEvents type. Other numbers are `other`.
#[cfg(feature = "kafka")]
pub(crate) fn activity_word(activity: u8) -> &'static str {
    match activity {
        1 => "create",
        2 => "update",
        3 => "close",
        _ => "other",
    }
}

fn activity_name(activity: Activity) -> &'static str {
    match activity {
        Activity::Create => "Create",
        Activity::Update => "Update",
        Activity::Close => "Close",
    }
}

fn type_name(activity: Activity) -> &'static str {
    match activity {
        Activity::Create => "Detection Finding: Create",
        Activity::Update => "Detection Finding: Update",
        Activity::Close => "Detection Finding: Close",
    }
}

fn status(activity: Activity) -> (u8, &'static str) {
    match activity {
        Activity::Create => (1, "New"),
        Activity::Update => (2, "In Progress"),
        Activity::Close => (4, "Resolved"),
    }
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "Informational",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "Critical",
    }
}

fn confidence_name(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Low => "Low",
        Confidence::Medium => "Medium",
        Confidence::High => "High",
    }
}

//! What alerts look like outside.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use phiwatch_detect::{Alert, RuleId};
use phiwatch_sink::wire::{WireContext, alert_schema, ocsf};
use serde_json::Value;

use crate::samples;

fn line(alert: &Alert) -> String {
    let context = WireContext {
        product_version: "0.1.0".to_owned(),
        runbook_base: "https://phiwatch.example/rules/".to_owned(),
    };
    ocsf(alert, &context)
}

fn parsed(alert: &Alert) -> Value {
    serde_json::from_str(&line(alert)).expect("alerts are JSON")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn check(name: &str, alert: &Alert) {
    insta::assert_json_snapshot!(name, parsed(alert));
}

#[test]
fn exact_rule() {
    check("rule", &samples::rule());
}

#[test]
fn statistical_rule() {
    check("statistical", &samples::statistical());
}

#[test]
fn coverage_gap() {
    check("coverage-gap", &samples::coverage_gap());
}

#[test]
fn benign_cause() {
    check("benign", &samples::benign());
}

#[test]
fn a_rule_of_the_operator_is_told_in_the_operators_words() {
    let told = parsed(&samples::operator("https://wiki.example.com/phi/addresses"));
    let info = &told["finding_info"];
    assert_eq!(info["analytic"]["uid"], "x-address-book-gone");
    assert_eq!(info["analytic"]["name"], "Addresses deleted by the hundred");
    assert_eq!(info["title"], "Addresses deleted by the hundred");
    assert_eq!(info["analytic"]["type_id"], 1);
    assert_eq!(told["metadata"]["event_code"], "x-address-book-gone");
    let page = &told["remediation"]["references"][0];
    assert_eq!(page, "https://wiki.example.com/phi/addresses");
    let told = parsed(&samples::operator("Ask the call centre."));
    assert_eq!(told["remediation"]["desc"], "Ask the call centre.");
    assert_eq!(told["remediation"]["references"][0], "https://phiwatch.example/rules/README.md");
}

#[test]
fn equal_alerts_give_equal_bytes() {
    for alert in samples::all() {
        assert_eq!(line(&alert), line(&alert.clone()));
        assert!(!line(&alert).contains('\n'));
        assert!(!line(&alert).contains("logged_time"));
    }
}

/// The SOC contract, path by path, on the alert that has everything.
#[test]
fn the_contract_holds() {
    let alert = parsed(&samples::statistical());
    let is = |pointer: &str, want: Value| {
        assert_eq!(alert.pointer(pointer), Some(&want), "{pointer}");
    };
    is("/finding_info/uid", "1d4c1f5e-6f6a-5a0b-9a55-0c3a1d7b1c12".into());
    is("/metadata/uid", "1d4c1f5e-6f6a-5a0b-9a55-0c3a1d7b1c12".into());
    is("/finding_info/analytic/uid", "bulk-change".into());
    is("/finding_info/analytic/type_id", 3.into());
    is("/metadata/tenant_uid", "website-2".into());
    is("/severity_id", 4.into());
    is("/confidence_id", 3.into());
    is("/time", (samples::START / 1_000 + 1_000).into());
    is("/finding_info/first_seen_time", (samples::START / 1_000).into());
    is("/finding_info/last_seen_time", (samples::START / 1_000 + 1_000).into());
    is("/finding_info/attacks/0/technique/uid", "T1565".into());
    is("/anomaly_analyses/0/anomalies/0/observations/0/value", "3000".into());
    is("/anomaly_analyses/0/baselines/0/observations/0/value", "37.123".into());
    is("/remediation/references/0", "https://phiwatch.example/rules/bulk-change.md".into());
    is("/activity_id", 2.into());
    is("/evidences/0/data/gtid", "3e11fa47-71ca-11e1-9e33-c80aa9429562:4711".into());
    is("/evidences/0/data/file", "binlog.000123".into());
    is("/evidences/0/data/pos", 98_123.into());
    is("/evidences/0/data/server_uuid", "3e11fa47-71ca-11e1-9e33-c80aa9429562".into());
    is("/evidences/0/data/thread", 42.into());
    is("/evidences/1/data/thread", Value::Null);
    is(
        "/evidences/0/data/tables",
        serde_json::json!({"customer_entity": {"inserts": 0, "updates": 610, "deletes": 0}}),
    );
    is("/evidences/0/data/subjects", 610.into());
    assert_eq!(alert.pointer("/evidences/0/data/subjects_exact"), None);
    is("/evidences/1/data/subjects_exact", false.into());
    assert_eq!(parsed(&samples::rule()).pointer("/finding_info/analytic/type_id"), Some(&1.into()));
    assert_eq!(parsed(&samples::rule()).pointer("/anomaly_analyses"), None);
}

#[test]
fn a_benign_cause_is_said_and_not_paged() {
    let alert = parsed(&samples::benign());
    let detail = alert.pointer("/status_detail").and_then(Value::as_str).unwrap_or_default();
    assert!(detail.starts_with("severity lowered to informational: an announced import"));
    assert_eq!(alert.pointer("/is_alert"), Some(&false.into()));
    assert_eq!(alert.pointer("/evidences/0/verdict"), Some(&"Benign".into()));
}

/// `schemas/alert-v1.schema.json` is the schema of these types; `UPDATE=1` rewrites it.
#[test]
fn the_published_schema_is_up_to_date() {
    let path = repository().join("schemas/alert-v1.schema.json");
    let want = serde_json::to_string_pretty(&alert_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &want).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == want, "{} has drifted: run with UPDATE=1", path.display());
}

/// The schema's example is a real one; `UPDATE=1` rewrites it.
#[test]
fn the_example_is_an_alert() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/example.json");
    let context = WireContext { product_version: "0.1.0".to_owned(), ..WireContext::default() };
    let example: Value = serde_json::from_str(&ocsf(&samples::statistical(), &context)).unwrap();
    let want = serde_json::to_string_pretty(&example).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &want).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == want, "{} has drifted: run with UPDATE=1, twice", path.display());
}

#[test]
fn every_alert_fits_the_published_schema() {
    let schema = alert_schema();
    for alert in samples::all() {
        let mut misfits = Vec::new();
        fits(&schema, &schema, &parsed(&alert), "", &mut misfits);
        assert!(misfits.is_empty(), "{}: {misfits:#?}", alert.rule);
    }
}

#[test]
fn the_schema_refuses_what_is_no_alert() {
    let schema = alert_schema();
    let check = |pointer: &str, value: Value, want: &str| {
        let mut alert = parsed(&samples::statistical());
        *alert.pointer_mut(pointer).expect(pointer) = value;
        let mut misfits = Vec::new();
        fits(&schema, &schema, &alert, "", &mut misfits);
        assert!(misfits.iter().any(|misfit| misfit.contains(want)), "{pointer}: {misfits:?}");
    };
    check("/severity_id", 6.into(), "/severity_id");
    check("/class_uid", 6005.into(), "/class_uid");
    check("/time", "now".into(), "/time");
    check("/metadata", serde_json::json!({}), "/metadata: version is absent");
    check("/unmapped/subjects", Value::Null, "/unmapped/subjects");
    check("/evidences/0/data/gtid", 5.into(), "/evidences/0/data/gtid");
}

/// Every rule has a page, and every page a rule.
#[test]
fn every_rule_has_a_page() {
    let folder = repository().join("docs/rules");
    let pages: BTreeSet<String> = std::fs::read_dir(&folder)
        .expect("docs/rules")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let mut want: BTreeSet<String> = RuleId::ALL.iter().map(|id| format!("{id}.md")).collect();
    want.insert("README.md".to_owned());
    assert_eq!(pages, want);
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for id in RuleId::ALL {
        assert!(index.contains(&format!("]({id}.md)")), "{id} is not in the index");
    }
}

/// OCSF's own published schema, by `schemas/validate_ocsf.py`.
#[test]
fn every_alert_is_valid_ocsf() {
    let lines: Vec<String> = samples::all().iter().map(line).collect();
    let (is_valid, report) = validate(&lines.join("\n"));
    assert!(is_valid, "{report}");
    assert!(report.contains(&format!("{} events, 0 invalid", lines.len())), "{report}");
}

/// The validator itself: broken alerts do not pass.
#[test]
fn broken_alerts_are_invalid_ocsf() {
    let broken = |pointer: &str, value: Value| {
        let mut alert = parsed(&samples::rule());
        *alert.pointer_mut(pointer).expect(pointer) = value;
        alert.to_string()
    };
    let lines = [
        broken("/type_uid", 200_402.into()),
        broken("/severity", "Grave".into()),
        broken("/metadata/profiles", serde_json::json!([])),
        broken("/finding_info", serde_json::json!({})),
        broken("/time", 1.into()),
        broken("/observables/0/name", "nowhere".into()),
    ];
    let (is_valid, report) = validate(&lines.join("\n"));
    assert!(!is_valid, "{report}");
    assert!(report.contains(&format!("{0} events, {0} invalid", lines.len())), "{report}");
}

/// Runs the script over lines of JSON, with warnings as errors: whether all are valid, and its
/// report.
fn validate(lines: &str) -> (bool, String) {
    let mut child = Command::new("python3")
        .arg(repository().join("schemas/validate_ocsf.py"))
        .args(["--strict", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is needed for schemas/validate_ocsf.py");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("the script reads");
    let output = child.wait_with_output().expect("the script ends");
    let mut report = String::from_utf8_lossy(&output.stdout).into_owned();
    report += &String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{report}");
    (output.status.success(), report)
}

/// The part of JSON Schema that the published schema uses. Keys that it does not name are
/// misfits here: what is written is described.
fn fits(root: &Value, schema: &Value, value: &Value, at: &str, misfits: &mut Vec<String>) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(reference.trim_start_matches('#')).expect(reference);
        fits(root, target, value, at, misfits);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let is_any = choices.iter().any(|choice| {
            let mut inner = Vec::new();
            fits(root, choice, value, at, &mut inner);
            inner.is_empty()
        });
        if !is_any {
            misfits.push(format!("{at}: fits none of the choices"));
        }
    }
    if let Some(want) = schema.get("const")
        && want != value
    {
        misfits.push(format!("{at}: is not {want}"));
    }
    if let Some(want) = schema.get("enum").and_then(Value::as_array)
        && !want.contains(value)
    {
        misfits.push(format!("{at}: is none of {want:?}"));
    }
    if let Some(types) = schema.get("type") {
        let types: Vec<&str> = match types {
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        if !types.iter().any(|kind| is_type(value, kind)) {
            misfits.push(format!("{at}: is no {types:?}"));
        }
    }
    if let Some(min) = schema.get("minimum").and_then(Value::as_f64)
        && value.as_f64().is_some_and(|number| number < min)
    {
        misfits.push(format!("{at}: is under {min}"));
    }
    match value {
        Value::Object(object) => object_fits(root, schema, object, at, misfits),
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    fits(root, schema, item, &format!("{at}/{index}"), misfits);
                }
            }
        }
        _ => {}
    }
}

fn object_fits(
    root: &Value,
    schema: &Value,
    object: &serde_json::Map<String, Value>,
    at: &str,
    misfits: &mut Vec<String>,
) {
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        let name = name.as_str().expect("a name");
        if !object.contains_key(name) {
            misfits.push(format!("{at}: {name} is absent"));
        }
    }
    let Some(properties) = schema.get("properties") else {
        if let Some(each) = schema.get("additionalProperties") {
            for (name, value) in object {
                fits(root, each, value, &format!("{at}/{name}"), misfits);
            }
        }
        return;
    };
    for (name, value) in object {
        match properties.get(name) {
            Some(schema) => fits(root, schema, value, &format!("{at}/{name}"), misfits),
            None => misfits.push(format!("{at}: {name} is not described")),
        }
    }
}

fn is_type(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => unreachable!("the schema has a type {other}"),
    }
}

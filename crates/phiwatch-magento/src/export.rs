//! Bodies of queue messages and import data: what is exported, how much is announced.

use serde::de::IgnoredAny;
use serde_json::Value;

/// Encodings within encodings that are undone at most.
const NESTED_MAX: u32 = 3;

/// An export request as the shop queues it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExportRequest {
    /// Name of the entity; empty if the body does not say.
    pub(crate) entity: String,
    pub(crate) is_filtered: bool,
}

/// Reads the body of an export message. What cannot be read is an unfiltered export of something.
pub(crate) fn request(body: &[u8]) -> ExportRequest {
    let body = decoded(serde_json::from_slice(body).unwrap_or(Value::Null));
    let inner = match &body {
        Value::Object(map) if map.contains_key("entity") => Some(&body),
        Value::Object(map) => map.values().find(|value| value.get("entity").is_some()),
        Value::Array(list) => list.iter().find(|value| value.get("entity").is_some()),
        _ => None,
    };
    let get = |key| inner.and_then(|inner| inner.get(key));
    ExportRequest {
        entity: get("entity").and_then(Value::as_str).unwrap_or_default().to_owned(),
        is_filtered: get("export_filter").is_some_and(|filter| selects(filter, 0)),
    }
}

/// A string that holds JSON is what it holds.
fn decoded(mut value: Value) -> Value {
    for _ in 0..NESTED_MAX {
        let Value::String(text) = &value else { break };
        let Ok(inner) = serde_json::from_str(text) else { break };
        value = inner;
    }
    value
}

/// Whether a filter selects anything: the form sends every attribute, most of them empty.
fn selects(filter: &Value, depth: u32) -> bool {
    match filter {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) => true,
        Value::String(text) => {
            let text = text.trim();
            let is_json = depth < NESTED_MAX && text.starts_with(['[', '{', '"']);
            match serde_json::from_str::<Value>(text) {
                Ok(inner) if is_json => selects(&inner, depth + 1),
                _ => !text.is_empty(),
            }
        }
        Value::Array(list) => list.iter().any(|value| selects(value, depth)),
        Value::Object(map) => map.values().any(|value| selects(value, depth)),
    }
}

/// Rows in a bunch of import data (a JSON list); 0 if it is none.
pub(crate) fn bunch_rows(data: &[u8]) -> u64 {
    serde_json::from_slice::<Vec<IgnoredAny>>(data).map_or(0, |rows| rows.len() as u64)
}

/// Sum of the numbers in an import's summary ("Created: 3, Updated: 4, Deleted: 0").
pub(crate) fn summary_rows(summary: &[u8]) -> u64 {
    let numbers = summary.split(|byte| !byte.is_ascii_digit());
    let numbers =
        numbers.filter_map(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
    numbers.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, entity: &str, is_filtered: bool) {
        let want = ExportRequest { entity: entity.to_owned(), is_filtered };
        assert_eq!(request(body.as_bytes()), want, "{body}");
    }

    #[test]
    fn bodies_in_every_order_and_nesting() {
        check(r#"{"entity":"customer","export_filter":"[]"}"#, "customer", false);
        check(r#"{"export_filter":"{\"email\":\"a\"}","entity":"customer"}"#, "customer", true);
        check(
            r#"{"file_format":"csv","export_filter":"","entity":"catalog_product"}"#,
            "catalog_product",
            false,
        );
        check(
            r#"{"entity":"customer","export_filter":{"dob":["",""],"email":""}}"#,
            "customer",
            false,
        );
        check(
            r#"{"entity":"customer","export_filter":"{\"dob\":[\"\",\"2020-01-01\"]}"}"#,
            "customer",
            true,
        );
        check(r#"{"entity":"customer_address"}"#, "customer_address", false);
        check(r#""{\"entity\":\"customer\",\"export_filter\":\"[]\"}""#, "customer", false);
        check(r#"{"data":{"entity":"customer"}}"#, "customer", false);
        check("not json", "", false);
        check("", "", false);
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let body = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        check(&body, "", false);
    }

    #[test]
    fn announced_rows_are_counted() {
        assert_eq!(bunch_rows(br#"[{"a":1},{"a":2}]"#), 2);
        assert_eq!(bunch_rows(b"{}"), 0);
        assert_eq!(summary_rows(b"Created: 3, Updated: 40, Deleted: 0"), 43);
        assert_eq!(summary_rows(b"99999999999999999999999"), 0);
    }
}

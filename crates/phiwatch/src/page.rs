//! The pages: plain HTML without scripts, readable in any browser and screen reader.

use std::fmt::Write as _;

use serde_json::Value;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#b8bfc8;--soft:#f2f4f7;--ink:#1a1f26;--paper:#fff;--link:#0b5394}\
@media(prefers-color-scheme:dark){:root{--line:#4a525d;--soft:#20262e;--ink:#e8ebef;--paper:#14181d;--link:#8ec5ff}}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;max-width:75rem;padding:1rem;color:var(--ink);background:var(--paper)}\
a{color:var(--link)}table{border-collapse:collapse;width:100%}caption{text-align:left;padding:.5rem 0}\
th,td{text-align:left;vertical-align:top;padding:.5rem;border-bottom:1px solid var(--line)}\
.wide{overflow-x:auto}pre{background:var(--soft);padding:1rem;overflow-x:auto}\
dt{font-weight:600}dd{margin:0 0 .5rem}";

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title} - phiwatch</title><style>{STYLE}</style></head><body>\
         <header><p><a href=\"/\">phiwatch</a></p></header><main><h1>{title}</h1>{body}</main>\
         </body></html>",
        title = escape(title)
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A text field of an alert, by JSON pointer.
pub(crate) fn field<'a>(alert: &'a Value, pointer: &str) -> &'a str {
    alert.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The alert's time, to the second, UTC.
pub(crate) fn time(alert: &Value, pointer: &str) -> String {
    let millis = alert.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    jiff::Timestamp::from_millisecond(millis)
        .map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

/// The list of findings, newest first.
pub(crate) fn list(values: &[Vec<u8>]) -> String {
    let mut rows = String::new();
    for value in values {
        let Ok(alert) = serde_json::from_slice::<Value>(value) else { continue };
        let _infallible = write!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td><a href=\"/findings/{}\">{}</a></td></tr>",
            escape(&time(&alert, "/time")),
            escape(field(&alert, "/severity")),
            escape(field(&alert, "/finding_info/analytic/uid")),
            escape(field(&alert, "/metadata/tenant_uid")),
            escape(field(&alert, "/status")),
            escape(field(&alert, "/finding_info/uid")),
            escape(field(&alert, "/message")),
        );
    }
    if rows.is_empty() {
        let body = "<p>No finding so far. What cannot be seen in a binlog (reads) is not \
                    watched; metrics are at <a href=\"/metrics\">/metrics</a>.</p>";
        return page("Findings", body);
    }
    let body = format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Findings\"><table>\
         <caption>{} findings, newest first; times in UTC</caption><thead><tr>\
         <th scope=\"col\">Time</th><th scope=\"col\">Severity</th><th scope=\"col\">Rule</th>\
         <th scope=\"col\">Tenant</th><th scope=\"col\">Status</th><th scope=\"col\">What</th>\
         </tr></thead><tbody>{rows}</tbody></table></div>",
        values.len()
    );
    page("Findings", &body)
}

/// One finding: the facts, then the event as it was delivered.
pub(crate) fn detail(value: &[u8]) -> String {
    let alert: Value = serde_json::from_slice(value).unwrap_or_default();
    let mut facts = String::new();
    for (name, text) in [
        ("What", field(&alert, "/message").to_owned()),
        ("Severity", field(&alert, "/severity").to_owned()),
        ("Confidence", field(&alert, "/confidence").to_owned()),
        ("Tenant", field(&alert, "/metadata/tenant_uid").to_owned()),
        ("First seen (UTC)", time(&alert, "/finding_info/first_seen_time")),
        ("Last seen (UTC)", time(&alert, "/finding_info/last_seen_time")),
        ("What to do", field(&alert, "/remediation/desc").to_owned()),
    ] {
        let _infallible = write!(facts, "<dt>{name}</dt><dd>{}</dd>", escape(&text));
    }
    let pretty = serde_json::to_string_pretty(&alert).unwrap_or_default();
    let body = format!(
        "<dl>{facts}</dl><h2>Event as delivered (OCSF)</h2>\
         <pre tabindex=\"0\">{}</pre>",
        escape(&pretty)
    );
    let title = field(&alert, "/finding_info/title");
    page(if title.is_empty() { "Finding" } else { title }, &body)
}

/// For an id that is not in the store.
pub(crate) fn not_found() -> String {
    page("No such finding", "<p>The store has no finding with this id.</p>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_of_an_alert_cannot_become_markup() {
        let alert = br#"{"message":"<script>alert(1)</script>","finding_info":{"uid":"\" onx=\"","title":"<b>"}}"#;
        let pages = [list(&[alert.to_vec()]), detail(alert)];
        for page in pages {
            assert!(!page.contains("<script>"), "{page}");
            assert!(!page.contains("\" onx=\""), "{page}");
            assert!(!page.contains("<b>"), "{page}");
        }
    }
}

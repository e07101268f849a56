//! Whether a setting's change makes the shop weaker.
//!
//! Input: a watched path with the values before and after (none = the default holds). Output: a
//! verdict and its reason.
//!
//! # Invariants
//! - A reason names numbers of closed numeric settings only, never another value.

use std::collections::BTreeMap;

use crate::{
    ConfigVerdict, Settings,
    catalog::{Limit, SettingSpec, Weaker},
    token,
};

/// Judges a change of a watched setting.
pub(crate) fn judge(
    spec: &SettingSpec,
    before: Option<&str>,
    after: Option<&str>,
    settings: &Settings,
) -> (ConfigVerdict, String) {
    let old = before.unwrap_or(&spec.default).trim();
    let new = after.unwrap_or(&spec.default).trim();
    if old == new {
        return (ConfigVerdict::Neutral, "has the value that it had".to_owned());
    }
    let weak = if spec.opens { ConfigVerdict::Opened } else { ConfigVerdict::Weakened };
    match spec.weaker {
        Weaker::Larger => numbers(spec, old, new, settings, false),
        Weaker::Smaller => numbers(spec, old, new, settings, true),
        Weaker::ZeroOrLarger => {
            unlimited(old, new, weak).unwrap_or_else(|| numbers(spec, old, new, settings, false))
        }
        Weaker::ZeroOrSmaller => {
            unlimited(old, new, weak).unwrap_or_else(|| numbers(spec, old, new, settings, true))
        }
        Weaker::Off => switch(is_on(old), is_on(new), weak, "switched off"),
        Weaker::On => switch(!is_on(old), !is_on(new), weak, "switched on"),
        Weaker::Emptied => emptied(old, new, weak),
        Weaker::InsecureUrl => url(old, new, weak),
        Weaker::Mail => mail(old, new, weak, settings),
        Weaker::Any => (weak, "changed".to_owned()),
        Weaker::Never => (ConfigVerdict::Neutral, "changed".to_owned()),
        Weaker::CronModel if new.is_empty() => (ConfigVerdict::Neutral, "removed".to_owned()),
        Weaker::CronModel => (ConfigVerdict::Opened, "names code that cron runs".to_owned()),
    }
}

/// The period that a setting says, seconds; without a number, the default's.
pub(crate) fn period_secs(spec: &SettingSpec, value: Option<&str>) -> u64 {
    let default = number(&spec.default).unwrap_or(0);
    let value = value.and_then(|text| number(text.trim())).unwrap_or(default);
    let unit = match spec.unit.trim() {
        "days" => 86_400,
        "h" => 3_600,
        "min" => 60,
        _ => 1,
    };
    value.saturating_mul(unit)
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn is_on(text: &str) -> bool {
    !matches!(text, "" | "0")
}

fn numbers(
    spec: &SettingSpec,
    old: &str,
    new: &str,
    settings: &Settings,
    smaller_is_weaker: bool,
) -> (ConfigVerdict, String) {
    let default = number(&spec.default).unwrap_or(0);
    let old = number(old).unwrap_or(default);
    let new = number(new).unwrap_or(default);
    let unit = &spec.unit;
    if let Some(Limit::AdminSession) = spec.limit {
        let max = settings.admin_session_max_secs;
        return match (new > max, new > old, new < old) {
            (true, true, _) => {
                (ConfigVerdict::Weakened, format!("{new}{unit} is over {max}{unit}"))
            }
            (true, false, _) => {
                (ConfigVerdict::Neutral, format!("{new}{unit} is still over {max}{unit}"))
            }
            (false, _, true) => (ConfigVerdict::Strengthened, from_to(old, new, unit)),
            (false, _, false) => {
                (ConfigVerdict::Neutral, format!("{new}{unit} is within {max}{unit}"))
            }
        };
    }
    let verdict = match new.cmp(&old) {
        std::cmp::Ordering::Equal => ConfigVerdict::Neutral,
        order if order.is_lt() == smaller_is_weaker => ConfigVerdict::Weakened,
        _ => ConfigVerdict::Strengthened,
    };
    (verdict, from_to(old, new, unit))
}

fn from_to(old: u64, new: u64, unit: &str) -> String {
    format!("from {old}{unit} to {new}{unit}")
}

/// A limit that was lifted or set; none if both are limits.
fn unlimited(old: &str, new: &str, weak: ConfigVerdict) -> Option<(ConfigVerdict, String)> {
    match (is_on(old), is_on(new)) {
        (true, false) => Some((weak, "no limit any more".to_owned())),
        (false, true) => Some((ConfigVerdict::Strengthened, "has a limit now".to_owned())),
        (false, false) => Some((ConfigVerdict::Neutral, "no limit, as before".to_owned())),
        (true, true) => None,
    }
}

/// A yes/no setting, turned so that true is the stronger side.
fn switch(old: bool, new: bool, weak: ConfigVerdict, words: &str) -> (ConfigVerdict, String) {
    match (old, new) {
        (true, false) => (weak, words.to_owned()),
        (false, true) => (ConfigVerdict::Strengthened, format!("no longer {words}")),
        (true, true) | (false, false) => (ConfigVerdict::Neutral, "means what it meant".to_owned()),
    }
}

/// A list, in any notation: weaker if an entry is gone.
fn emptied(old: &str, new: &str, weak: ConfigVerdict) -> (ConfigVerdict, String) {
    let (before, after) = (words(old), words(new));
    let count = |list: &BTreeMap<&str, u64>, word: &str| list.get(word).copied().unwrap_or(0);
    let gone: u64 = before.iter().map(|(word, n)| n.saturating_sub(count(&after, word))).sum();
    if gone > 0 && after.is_empty() {
        (weak, "emptied".to_owned())
    } else if gone > 0 {
        (weak, format!("{gone} entries removed"))
    } else if before.is_empty() {
        (ConfigVerdict::Strengthened, "filled".to_owned())
    } else {
        (ConfigVerdict::Neutral, "entries added".to_owned())
    }
}

fn words(list: &str) -> BTreeMap<&str, u64> {
    let mut words = BTreeMap::new();
    for word in list.split(|letter: char| !(letter.is_alphanumeric() || "_.:-/".contains(letter))) {
        if !word.is_empty() && word != ":" {
            *words.entry(word).or_insert(0) += 1;
        }
    }
    words
}

fn url(old: &str, new: &str, weak: ConfigVerdict) -> (ConfigVerdict, String) {
    let is_plain = |url: &str| url.get(..7).is_some_and(|s| s.eq_ignore_ascii_case("http://"));
    let host = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.split(['/', ':', '?']).next().unwrap_or_default().to_ascii_lowercase()
    };
    if is_plain(new) && !is_plain(old) {
        (weak, "not encrypted (http)".to_owned())
    } else if !old.is_empty() && !new.is_empty() && host(old) != host(new) {
        (weak, "another host".to_owned())
    } else if is_plain(old) && !is_plain(new) {
        (ConfigVerdict::Strengthened, "encrypted now (https)".to_owned())
    } else {
        (ConfigVerdict::Neutral, "same host".to_owned())
    }
}

fn mail(old: &str, new: &str, weak: ConfigVerdict, settings: &Settings) -> (ConfigVerdict, String) {
    let list = |text: &str| -> Vec<String> {
        let split = text.split([',', ';', ' ', '\n', '\r']);
        split.map(|one| one.trim().to_ascii_lowercase()).filter(|one| !one.is_empty()).collect()
    };
    let known = list(old);
    let added: Vec<String> = list(new).into_iter().filter(|one| !known.contains(one)).collect();
    let is_allowed = |address: &String| {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        domain.is_some_and(|domain| {
            settings.mail_domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain))
        })
    };
    let outside = added.iter().filter(|address| !is_allowed(address)).count();
    if outside > 0 {
        (weak, "mails go to an address outside policy.mail_domains".to_owned())
    } else if added.is_empty() {
        (ConfigVerdict::Neutral, "an address was removed".to_owned())
    } else {
        (ConfigVerdict::Neutral, "an address inside policy.mail_domains".to_owned())
    }
}

/// Whether a value was encrypted with one key or cipher before and with a later one now: what a
/// change of the encryption key does to every encrypted value.
pub(crate) fn is_reencrypted(before: Option<&str>, after: Option<&str>) -> bool {
    match (before.and_then(key_of), after.and_then(key_of)) {
        (Some(old), Some(new)) => old < new,
        _ => false,
    }
}

/// Key and cipher of a value in Magento's own format: `<key>:<cipher>:<base64>`, older ones with an
/// initialisation vector in between (`Encryptor::encrypt`).
fn key_of(value: &str) -> Option<(u8, u8)> {
    let mut parts = value.trim().split(':');
    let key = parts.next()?.parse().ok()?;
    let cipher: u8 = parts.next()?.parse().ok()?;
    let data = parts.next_back()?;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    let is_whole = cipher <= 3 && data.len() >= 16 && data.bytes().all(is_base64);
    is_whole.then_some((key, cipher))
}

/// Hash of the scripts in a text; none if it has none.
pub(crate) fn scripts(text: &[u8]) -> Option<u64> {
    let (mut all, mut rest) = (None, text);
    while let Some(start) = find(rest, b"<script") {
        let section = &rest[start..];
        let end = find(section, b"</script").unwrap_or(section.len());
        let hash = token::fixed(&section[..end]);
        all = Some(token::mix(all.unwrap_or(0) ^ hash));
        rest = &section[end.max(1)..];
    }
    all
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[track_caller]
    fn check(path: &str, before: Option<&str>, after: Option<&str>, want: ConfigVerdict) {
        let catalog = Catalog::builtin();
        let settings =
            Settings { mail_domains: vec!["clinic.example".into()], ..Settings::default() };
        let spec = catalog.setting(path).unwrap_or_else(|| panic!("{path} is not watched"));
        let (verdict, why) = judge(spec, before, after, &settings);
        assert_eq!(verdict, want, "{path} {before:?} {after:?}: {why}");
    }

    use ConfigVerdict::{Neutral, Opened, Strengthened, Weakened};

    type Case = (&'static str, Option<&'static str>, Option<&'static str>, ConfigVerdict);

    const CASES: &[Case] = &[
        ("admin/security/session_lifetime", None, Some("86400"), Weakened),
        ("admin/security/session_lifetime", None, Some("1800"), Neutral),
        ("admin/security/session_lifetime", None, Some("3600"), Neutral),
        ("admin/security/session_lifetime", None, Some("3601"), Weakened),
        ("admin/security/session_lifetime", Some("86400"), Some("7200"), Neutral),
        ("admin/security/session_lifetime", Some("86400"), None, Strengthened),
        ("admin/security/lockout_failures", None, Some("0"), Opened),
        ("admin/security/lockout_failures", None, Some(""), Opened),
        ("admin/security/lockout_failures", None, Some("100"), Weakened),
        ("admin/security/lockout_failures", None, Some("3"), Strengthened),
        ("admin/security/lockout_failures", Some("0"), None, Strengthened),
        ("admin/security/lockout_threshold", None, Some("1"), Weakened),
        ("admin/security/password_lifetime", Some("90"), Some("0"), Weakened),
        ("admin/security/admin_account_sharing", None, Some("1"), Weakened),
        ("admin/security/admin_account_sharing", Some("1"), None, Strengthened),
        ("admin/security/use_form_key", None, Some("0"), Opened),
        ("twofactorauth/general/force_providers", Some("google,duo"), None, Opened),
        ("twofactorauth/general/force_providers", Some("google,duo"), Some("google"), Opened),
        ("twofactorauth/general/force_providers", None, Some("google"), Strengthened),
        ("twofactorauth/general/force_providers", Some("google"), Some("google,duo"), Neutral),
        ("customer/account_share/scope", None, Some("0"), Opened),
        ("customer/account_share/scope", None, Some("1"), Neutral),
        ("customer/password/minimum_password_length", None, Some("6"), Weakened),
        ("customer/password/minimum_password_length", None, Some("12"), Strengthened),
        ("web/secure/base_url", Some("https://a.example/"), Some("http://a.example/"), Weakened),
        ("web/secure/base_url", Some("https://a.example/"), Some("https://b.example/"), Weakened),
        ("web/secure/base_url", None, Some("https://a.example/"), Neutral),
        ("sales_email/order/copy_to", None, Some("x@evil.example"), Opened),
        ("sales_email/order/copy_to", None, Some("x@clinic.example"), Neutral),
        ("sales_email/order/copy_to", Some("a@evil.example"), None, Neutral),
        ("sales_email/order/copy_to", Some("a@x.example"), Some("a@x.example,b@y.example"), Opened),
        ("trans_email/ident_sales/email", None, Some("a@clinic.example.evil.example"), Opened),
        ("system/smtp/host", None, Some("mx.evil.example"), Opened),
        ("payment/vault/debug", None, Some("1"), Weakened),
        ("payment/acme/sandbox_flag", Some("1"), Some("0"), Strengthened),
        ("payment/acme/gateway_url", Some("https://a"), Some("https://b"), Weakened),
        ("crontab/default/jobs/acme/run/model", None, Some("Acme\\Job::run"), Opened),
        ("crontab/default/jobs/acme/schedule/cron_expr", None, Some("* * * * *"), Neutral),
        (
            "admin/magento_logging/actions",
            Some("{\"a\":1,\"b\":1}"),
            Some("{\"a\":1,\"b\":0}"),
            Opened,
        ),
        ("admin/magento_logging/actions", Some("{\"a\":1}"), Some("{\"a\":1,\"b\":1}"), Neutral),
        ("system/rotation/lifetime", None, Some("7"), Weakened),
        ("checkout/cart/delete_quote_after", None, Some("365"), Weakened),
        ("checkout/cart/delete_quote_after", Some("30"), Some("7"), Strengthened),
        ("webapi/validation/maximum_page_size", Some("300"), None, Weakened),
        ("csp/mode/storefront/report_only", None, Some("1"), Weakened),
        ("newsletter/general/active", None, Some("1"), Neutral),
    ];

    #[test]
    fn each_comparator_and_its_look_alikes() {
        for (path, before, after, want) in CASES {
            check(path, *before, *after, *want);
        }
    }

    #[test]
    fn reasons_name_numbers_and_no_other_value() {
        let catalog = Catalog::builtin();
        let settings = Settings::default();
        let why = |path: &str, after| {
            judge(catalog.setting(path).unwrap(), None, Some(after), &settings).1
        };
        let session = why("admin/security/session_lifetime", "86400");
        assert_eq!(session, "86400 s is over 3600 s");
        for path in ["sales_email/order/copy_to", "system/smtp/host", "web/secure/base_url"] {
            assert!(!why(path, "http://MARKER@x.example").contains("MARKER"), "{path}");
        }
        assert!(!why("admin/security/session_lifetime", "MARKER").contains("MARKER"));
    }

    #[test]
    fn a_new_key_is_no_new_value() {
        let old = Some("0:3:AAAAAAAAAAAAAAAAAAAAAAAA");
        for (after, is_one) in [
            (Some("1:3:BBBBBBBBBBBBBBBBBBBBBBBB"), true),
            (Some("0:3:BBBBBBBBBBBBBBBBBBBBBBBB"), false),
            (Some("1:3:short"), false),
            (Some("0:2:BBBBBBBBBBBBBBBBBBBBBBBB"), false),
            (Some("1:9:BBBBBBBBBBBBBBBBBBBBBBBB"), false),
            (Some("plain"), false),
            (None, false),
        ] {
            assert_eq!(is_reencrypted(old, after), is_one, "{after:?}");
        }
    }

    #[test]
    fn scripts_are_compared_not_the_text_around() {
        assert_eq!(scripts(b"<b>no</b>"), None);
        let one = scripts(b"a<SCRIPT>x()</script>b");
        assert!(one.is_some());
        assert_eq!(one, scripts(b"other<SCRIPT>x()</script>text"));
        assert_ne!(one, scripts(b"a<SCRIPT>y()</script>b"));
        assert_ne!(one, scripts(b"<SCRIPT>x()</script><script>x()"));
    }
}

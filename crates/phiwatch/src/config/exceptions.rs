//! `[[alerts.exception]]`: findings that somebody answers for, until a date.

use std::collections::BTreeSet;

use jiff::Timestamp;
use phiwatch_binlog::EventTime;
use phiwatch_detect::{Exception, RuleId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConfigError, rules, value};

/// `[[alerts.exception]]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExceptionFile {
    /// Told in the alert; no other exception has it.
    pub name: String,
    /// Who answers for it, told in the alert.
    pub owner: String,
    /// Why the finding is expected. No patient data belongs here.
    pub reason: String,
    /// From when on it is not expected any more: a date (its 00:00 UTC) or RFC 3339. It is compared
    /// with the time of the finding's last row, so a replay says the same.
    pub expires: String,
    /// Ids of the rules whose findings are expected; not coverage-gap and canary-touched.
    pub rules: Vec<String>,
    /// `website-2`, `global`. Empty: any.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Schemas. Empty: any.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Tables, without prefix, that the finding may have rows of. Empty: any.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Distinct persons that the finding may be about; one with more is raised. Unset: any number.
    #[serde(default)]
    pub persons_max: Option<u64>,
}

pub(super) fn exceptions(entries: &[ExceptionFile]) -> Result<Vec<Exception>, ConfigError> {
    let mut names = BTreeSet::new();
    for entry in entries {
        if !names.insert(&entry.name) {
            let expected = "a name of its own: another exception has this one";
            return Err(value("alerts.exception.name", &entry.name, expected));
        }
    }
    entries.iter().map(exception).collect()
}

fn exception(entry: &ExceptionFile) -> Result<Exception, ConfigError> {
    for (key, text) in [
        ("alerts.exception.name", &entry.name),
        ("alerts.exception.owner", &entry.owner),
        ("alerts.exception.reason", &entry.reason),
    ] {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(value(key, text, "some words on one line"));
        }
    }
    let rules = rules("alerts.exception.rules", &entry.rules)?;
    if rules.is_empty() {
        return Err(value("alerts.exception.rules", "", "at least one rule"));
    }
    if let Some(rule) = rules.iter().find(|rule| !rule.may_be_excepted()) {
        let expected = "no exception: what was not examined and who touched a seeded person are \
             always told; mend the cause, or announce the job with [[alerts.maintenance]]";
        return Err(value("alerts.exception.rules", RuleId::as_str(*rule), expected));
    }
    for tenant in &entry.tenants {
        let number = tenant.strip_prefix("website-").map(str::parse::<u32>);
        if tenant != "global" && !matches!(number, Some(Ok(_))) {
            let expected = "website-2, or global for rows of no website";
            return Err(value("alerts.exception.tenants", tenant, expected));
        }
    }
    Ok(Exception {
        name: entry.name.clone(),
        owner: entry.owner.clone(),
        expires: expires(&entry.expires)?,
        until: entry.expires.clone(),
        rules,
        tenants: entry.tenants.clone(),
        databases: entry.databases.clone(),
        tables: entry.tables.clone(),
        persons_max: entry.persons_max,
    })
}

fn expires(text: &str) -> Result<EventTime, ConfigError> {
    let time: Option<Timestamp> =
        text.parse().ok().or_else(|| format!("{text}T00:00:00Z").parse().ok());
    time.map(|time| EventTime(time.as_microsecond())).ok_or_else(|| {
        value("alerts.exception.expires", text, "2027-06-30 or 2027-06-30T00:00:00Z")
    })
}

impl super::Config {
    /// What is to be said of exceptions that have ended by the clock.
    pub(crate) fn ended_exceptions(&self, now: Timestamp) -> Vec<String> {
        let ended = |one: &&Exception| one.expires.0 <= now.as_microsecond();
        let words = |one: &Exception| {
            let Exception { name, owner, until, .. } = one;
            format!(
                "the exception {name:?} of {owner} ended at {until}: its findings are told as ever; \
                 ask {owner}, then give it another `expires` or take it out"
            )
        };
        self.exceptions.iter().filter(ended).map(words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides};

    const WHOLE: &str = "[[alerts.exception]]\nname = \"merge\"\nowner = \"shop team\"\n\
        reason = \"monthly merge\"\nexpires = \"2027-06-30\"\nrules = [\"bulk-change\"]\n\
        tenants = [\"website-2\", \"global\"]\ntables = [\"customer_entity\"]\npersons_max = 40\n";

    /// With `from` replaced by `to`.
    #[track_caller]
    fn check(from: &str, to: &str, says: &str) {
        assert!(WHOLE.contains(from), "{from}");
        let text = WHOLE.replacen(from, to, 1);
        let error = Config::read(&text, "a.toml", Overrides::default()).unwrap_err().to_string();
        assert!(error.contains(says), "{error:?} lacks {says:?}");
    }

    #[test]
    fn an_exception_has_an_owner_a_reason_and_an_end() {
        let config = Config::read(WHOLE, "a.toml", Overrides::default()).unwrap();
        let expires = config.exceptions[0].expires;
        assert_eq!(expires.secs(), 1_814_313_600);
        let at = |us| config.ended_exceptions(jiff::Timestamp::from_microsecond(us).unwrap());
        assert!(at(expires.0 - 1).is_empty());
        assert!(at(expires.0)[0].contains("\"merge\" of shop team ended at 2027-06-30"));
        for key in ["name", "owner", "reason", "expires", "rules"] {
            let line = WHOLE.lines().find(|line| line.starts_with(key)).unwrap();
            check(&format!("{line}\n"), "", &format!("missing field `{key}`"));
        }
        check("shop team", " ", "alerts.exception.owner");
        check("monthly merge", "", "alerts.exception.reason");
        check("2027-06-30", "in summer", "2027-06-30T00:00:00Z");
        check("[\"bulk-change\"]", "[]", "at least one rule");
        check("bulk-change", "bulk", "one of bulk-export");
        check("bulk-change", "coverage-gap", "mend the cause");
        check("bulk-change", "canary-touched", "always told");
        check("website-2", "web-2", "website-2, or global");
        check("persons_max", "people_max", "unknown field");
        check("[[alerts", &format!("{WHOLE}[[alerts"), "a name of its own");
    }
}

//! `phiwatch verdict` and `phiwatch snooze`: what people decide about findings, on record.
//!
//! A verdict changes no detection by itself: it prints the exception that would, for a review.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::bail;
use jiff::{Timestamp, ToSpan as _};
use phiwatch_detect::RuleId;
use serde_json::Value;

use super::say;
use crate::{
    cli::{ByArgs, SnoozeArgs, StoreArgs, VerdictArgs, VerdictWord},
    config::{Config, ConfigError, Overrides},
    store::{
        Store, StoreError,
        decisions::{Audit, Snooze},
    },
};

/// How long an exception that a verdict proposes lasts, days.
const EXCEPTION_DAYS: i64 = 90;
/// Transactions that an alert holds as evidence at most; one with as many may have had more.
const EVIDENCE_MAX: usize = 8;
/// Longest snooze, minutes.
const SNOOZE_MAX: u64 = 30 * 24 * 60;
/// Severity up to which a rule without an open finding is held back: what rules commonly tell.
const SEVERITY_COMMON: u8 = 3;

/// The configuration that names the store.
pub(super) fn config(args: &StoreArgs) -> Result<Config, ConfigError> {
    let overrides = Overrides { state: args.state.clone(), ..Overrides::default() };
    Config::load(args.config.as_deref(), overrides)
}

pub(super) fn verdict(args: &VerdictArgs) -> anyhow::Result<ExitCode> {
    let words = words(&args.by)?;
    let config = config(&args.store)?;
    let store = Store::open_existing(&config.file.state.dir)?;
    let found = Found::read(&store, &args.uid)?;
    let audit = Audit {
        time_ms: Timestamp::now().as_millisecond(),
        who: words.0.clone(),
        action: "verdict".into(),
        detail: args.verdict.as_str().into(),
        reason: words.1.clone(),
        uid: args.uid.clone(),
        rule: found.rule.clone(),
        tenant: found.tenant.clone(),
    };
    store.audit(&audit)?;
    say(&format!("on record: {} ({} of {}): {}", args.uid, found.rule, found.tenant, audit.detail));
    if args.verdict == VerdictWord::True {
        return Ok(ExitCode::SUCCESS);
    }
    if RuleId::ALL.into_iter().any(|rule| rule.as_str() == found.rule && !rule.may_be_excepted()) {
        say(&format!("findings of {} cannot be excepted: they are always told", found.rule));
        return Ok(ExitCode::SUCCESS);
    }
    let until = Timestamp::now().checked_add((EXCEPTION_DAYS * 24).hours())?.to_string();
    io::stdout()
        .lock()
        .write_all(found.exception(&audit, until.get(..10).unwrap_or(&until)).as_bytes())?;
    say("the lines on stdout, in the configuration file of `phiwatch run`, would have made this \
         finding severity 1\nhint: have them reviewed, `phiwatch replay --config FILE` or `phiwatch \
         backtest` shows what they do; nothing has changed yet");
    Ok(ExitCode::SUCCESS)
}

/// What a finding's states say of it.
struct Found {
    rule: String,
    tenant: String,
    severity: u8,
    databases: BTreeSet<String>,
    tables: BTreeSet<String>,
    /// `tables` are all that the finding had rows of.
    are_all_tables: bool,
    persons: u64,
}

impl Found {
    fn read(store: &Store, uid: &str) -> anyhow::Result<Self> {
        let states = store.states(uid)?;
        let mut found = Self {
            rule: String::new(),
            tenant: String::new(),
            severity: 0,
            databases: BTreeSet::new(),
            tables: BTreeSet::new(),
            are_all_tables: true,
            persons: 0,
        };
        for state in &states {
            let state: Value = serde_json::from_slice(state)
                .map_err(|_| StoreError::Content { what: "finding" })?;
            found.add(&state);
        }
        if states.is_empty() {
            bail!(
                "the store has no finding {uid:?}\n\
                 hint: the uid is finding_info.uid of an alert; --state DIR or --config FILE names \
                 the store"
            );
        }
        Ok(found)
    }

    fn add(&mut self, state: &Value) {
        let text = |at: &str| state.pointer(at).and_then(Value::as_str).unwrap_or_default();
        text("/finding_info/analytic/uid").clone_into(&mut self.rule);
        text("/metadata/tenant_uid").clone_into(&mut self.tenant);
        let number = |at: &str| state.pointer(at).and_then(Value::as_u64).unwrap_or_default();
        self.severity = u8::try_from(number("/severity_id")).unwrap_or(u8::MAX);
        self.persons = self.persons.max(number("/unmapped/subjects"));
        let none = Vec::new();
        let evidence = state["evidences"].as_array().unwrap_or(&none);
        self.are_all_tables &= evidence.len() < EVIDENCE_MAX;
        for one in evidence {
            if let Some(name) = one.pointer("/database/name").and_then(Value::as_str) {
                self.databases.insert(name.to_owned());
            }
            let mut count = 0;
            for kind in ["/data/tables", "/data/inferred"] {
                let tables = one.pointer(kind).and_then(Value::as_object);
                for table in tables.into_iter().flat_map(serde_json::Map::keys) {
                    count += 1;
                    self.tables.insert(table.clone());
                }
            }
            self.are_all_tables &= count > 0;
        }
    }

    /// `[[alerts.exception]]` that the finding fits.
    fn exception(&self, audit: &Audit, until: &str) -> String {
        let short = audit.uid.get(..8).unwrap_or(&audit.uid);
        let name = format!("{}-{}-{short}", self.rule, self.tenant);
        let mut out = format!(
            "[[alerts.exception]]\nname = {}\nowner = {}\nreason = {}\nexpires = {}\nrules = [{}]\n\
             tenants = [{}]\n",
            quoted(&name),
            quoted(&audit.who),
            quoted(&audit.reason),
            quoted(until),
            quoted(&self.rule),
            quoted(&self.tenant),
        );
        let list = |names: &BTreeSet<String>| {
            names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
        };
        if !self.databases.is_empty() {
            out += &format!("databases = [{}]\n", list(&self.databases));
        }
        if !self.are_all_tables || self.tables.is_empty() {
            // An alert keeps the first and the last transactions, and a statement names no rows.
            out += "# Not all tables of the finding are known; seen were:\n# ";
        }
        out += &format!("tables = [{}]\n", list(&self.tables));
        out + &format!("persons_max = {}\n", self.persons.saturating_mul(2))
    }
}

/// A TOML string: JSON's is one, where there are no control characters.
fn quoted(text: &str) -> String {
    Value::from(text.replace(char::is_control, " ")).to_string()
}

pub(super) fn snooze(args: &SnoozeArgs) -> anyhow::Result<ExitCode> {
    let (who, reason) = words(&args.by)?;
    let minutes = minutes(&args.length)?;
    let config = config(&args.store)?;
    let rule = args.rule.clone().unwrap_or_default();
    if args.rule.is_some() && !RuleId::ALL.into_iter().any(|known| known.as_str() == rule) {
        let known: Vec<&str> = RuleId::ALL.iter().map(|rule| rule.as_str()).collect();
        return Err(usage("--rule", &rule, &format!("one of {}", known.join(", "))).into());
    }
    let mut store = Store::open_existing(&config.file.state.dir)?;
    let uid = args.uid.clone().unwrap_or_default();
    let (severity, of_rule, tenant) = if uid.is_empty() {
        (store.open_severity(&rule)?.unwrap_or(SEVERITY_COMMON), rule.clone(), String::new())
    } else {
        let found = Found::read(&store, &uid)?;
        (found.severity, found.rule, found.tenant)
    };
    let now = Timestamp::now();
    let until = now.checked_add(i64::try_from(minutes)?.minutes())?;
    let until_words = format!("{:.0}", until);
    let snooze = Snooze {
        from_ms: now.as_millisecond(),
        until_ms: until.as_millisecond(),
        who: who.clone(),
        reason: reason.clone(),
        uid: uid.clone(),
        rule,
        severity_max: severity,
    };
    let detail = format!("until {until_words}, severity {severity} and below");
    let (time_ms, action) = (snooze.from_ms, "snooze".into());
    let audit = Audit { time_ms, who, action, detail, reason, uid, rule: of_rule, tenant };
    store.snooze(&snooze, &audit)?;
    say(&format!(
        "held back from the sinks until {until_words}: {}{} of severity {severity} and below; what is \
         worse is delivered, and at the end the newest state held back",
        snooze.uid, snooze.rule,
    ));
    Ok(ExitCode::SUCCESS)
}

/// Who and why, not empty and on one line.
fn words(by: &ByArgs) -> Result<(String, String), ConfigError> {
    for (key, text) in [("--by", &by.by), ("--reason", &by.reason)] {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(usage(key, text, "some words on one line"));
        }
    }
    Ok((by.by.clone(), by.reason.clone()))
}

fn usage(key: &'static str, found: &str, expected: &str) -> ConfigError {
    ConfigError::Value { key, found: found.to_owned(), expected: expected.to_owned() }
}

/// `30m`, `4h`, `2d`.
fn minutes(text: &str) -> Result<u64, ConfigError> {
    let of = |unit: char| text.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok());
    let minutes = of('m')
        .or_else(|| of('h')?.checked_mul(60))
        .or_else(|| of('d')?.checked_mul(24 * 60))
        .filter(|minutes| (1..=SNOOZE_MAX).contains(minutes));
    minutes.ok_or_else(|| {
        usage(
            "--for",
            text,
            "30m, 4h or 2d, at most 30d; what is expected for longer is an [[alerts.exception]]",
        )
    })
}

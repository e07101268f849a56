//! Exact rules of the operator: `[[rule]]` of a catalogue file.
//!
//! # Invariants
//! - A rule's words (id, title, remediation) come from the file only; what its `where` compares
//!   with never leaves this crate.
//! - A rule is checked before it is taken: its table is known, and persons can be counted if it
//!   asks for them.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::Op;
use serde::Deserialize;
use toml::Spanned;

/// Rules over all files.
const RULES_MAX: usize = 256;
/// Columns under `where` or `changed`, and constants of one column.
const COLUMNS_MAX: usize = 16;
const CONSTANTS_MAX: usize = 64;
const ID_MAX: usize = 64;
const TITLE_MAX: usize = 200;
const REMEDIATION_MAX: usize = 500;

/// What an operator's rule is called and how bad a match is: what alerts say of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorRule {
    /// Begins with `x-`.
    pub id: Arc<str>,
    /// One sentence, without its full stop.
    pub title: Arc<str>,
    /// What to do, or the address of a page that says it.
    pub remediation: Arc<str>,
    /// OCSF severity, 2-5.
    pub severity: u8,
    /// Distinct persons of one transaction from which it speaks; 0 = any rows.
    pub persons_min: u64,
}

/// A rule with what it looks for.
#[derive(Debug)]
pub(crate) struct OperatorSpec {
    pub(crate) rule: Arc<OperatorRule>,
    pub(crate) table: String,
    pub(crate) on: Vec<Op>,
    /// An UPDATE must have changed one of them; empty = any UPDATE.
    pub(crate) changed: Vec<String>,
    /// Every one of these columns must hold one of its constants.
    pub(crate) conditions: Vec<(String, Wanted)>,
}

impl OperatorSpec {
    /// Columns without which the rule cannot be judged.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        let conditions = self.conditions.iter().map(|(column, _)| column);
        self.changed.iter().chain(conditions).map(String::as_str)
    }
}

/// What a column must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Of an integer column: one of these.
    Numbers(Vec<i64>),
    /// Of a text column: one of these, byte for byte.
    Texts(Vec<String>),
}

/// `[[rule]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleEntry {
    id: Spanned<String>,
    title: Spanned<String>,
    table: Spanned<String>,
    on: Spanned<Vec<On>>,
    changed: Option<Spanned<Vec<String>>>,
    #[serde(default, rename = "where")]
    conditions: BTreeMap<Spanned<String>, Constants>,
    persons_min: Option<Spanned<u64>>,
    severity: Spanned<u8>,
    remediation: Spanned<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum On {
    Insert,
    Update,
    Delete,
}

impl From<On> for Op {
    fn from(on: On) -> Self {
        match on {
            On::Insert => Self::Create,
            On::Update => Self::Update,
            On::Delete => Self::Delete,
        }
    }
}

/// A constant, or a list of them, all numbers or all texts.
#[derive(Debug, Deserialize)]
#[serde(try_from = "toml::Value")]
struct Constants(Wanted);

impl TryFrom<toml::Value> for Constants {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let list = match value {
            toml::Value::Array(list) => list,
            one => vec![one],
        };
        if list.is_empty() || list.len() > CONSTANTS_MAX {
            return Err(format!("expected 1 to {CONSTANTS_MAX} constants"));
        }
        let numbers: Option<Vec<i64>> = list.iter().map(toml::Value::as_integer).collect();
        let texts = list.iter().map(|one| one.as_str().map(str::to_owned));
        let texts: Option<Vec<String>> = texts.collect();
        let wanted = numbers.map(Wanted::Numbers).or(texts.map(Wanted::Texts));
        wanted.map(Self).ok_or_else(|| {
            "a column under `where` is compared with an integer, a text, or a list of one kind of \
             them: write 1, \"pending\" or [1, 2]"
                .to_owned()
        })
    }
}

/// What a rule is checked against.
pub(super) struct Known<'a> {
    pub(super) rules: &'a [Arc<OperatorSpec>],
    /// Whether the catalogue, with this file, has the table; and if so, whether its rows name
    /// persons.
    pub(super) table: &'a dyn Fn(&str) -> Option<bool>,
}

/// Where a rule is wrong (a byte of the file), and how.
type Wrong = (usize, String);

/// The rules of one file, checked.
pub(super) fn rules(
    entries: Vec<RuleEntry>,
    known: &Known<'_>,
) -> Result<Vec<Arc<OperatorSpec>>, Wrong> {
    let mut all: Vec<Arc<OperatorSpec>> = Vec::new();
    for entry in entries {
        let at = entry.id.span().start;
        let spec = entry.checked(known)?;
        let is_same = |other: &&Arc<OperatorSpec>| other.rule.id == spec.rule.id;
        if known.rules.iter().chain(&all).any(|other| is_same(&other)) {
            return Err((at, format!("`id`: another rule is called {:?}", spec.rule.id)));
        }
        if known.rules.len() + all.len() >= RULES_MAX {
            return Err((at, format!("more than {RULES_MAX} rules: join some of them")));
        }
        all.push(Arc::new(spec));
    }
    Ok(all)
}

impl RuleEntry {
    fn checked(self, known: &Known<'_>) -> Result<OperatorSpec, Wrong> {
        self.check_words()?;
        self.check_changes()?;
        let persons_min = self.persons_min.as_ref().map_or(0, |min| *min.get_ref());
        let table = self.table.get_ref();
        let Some(has_persons) = (known.table)(table) else {
            return Err((
                self.table.span().start,
                format!(
                    "`table`: {table:?} is not in the catalogue: correct the name (without the \
                     shop's prefix), or add the table with `[[table]]`, `class = \"control\"` if it \
                     holds nothing of persons"
                ),
            ));
        };
        if let Some(min) = self.persons_min.as_ref().filter(|_| persons_min > 0 && !has_persons) {
            return Err((
                min.span().start,
                format!(
                    "`persons_min`: rows of {table:?} name no person: leave the key out, or give \
                     the table a `subject` under `[[table]]`"
                ),
            ));
        }
        let title = self.title.into_inner();
        Ok(OperatorSpec {
            rule: Arc::new(OperatorRule {
                id: self.id.into_inner().into(),
                title: title.trim().trim_end_matches('.').into(),
                remediation: self.remediation.into_inner().trim().into(),
                severity: self.severity.into_inner(),
                persons_min,
            }),
            table: self.table.into_inner(),
            on: self.on.into_inner().into_iter().map(Op::from).collect(),
            changed: self.changed.map(Spanned::into_inner).unwrap_or_default(),
            conditions: (self.conditions.into_iter())
                .map(|(column, constants)| (column.into_inner(), constants.0))
                .collect(),
        })
    }

    fn check_words(&self) -> Result<(), Wrong> {
        let id = self.id.get_ref();
        let is_id = id.strip_prefix("x-").is_some_and(|rest| {
            !rest.is_empty()
                && id.len() <= ID_MAX
                && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        });
        if !is_id {
            let message = format!(
                "`id`: {id:?} must begin with \"x-\", in at most {ID_MAX} lower-case letters, \
                 digits and \"-\": for example \"x-group-moved\""
            );
            return Err((self.id.span().start, message));
        }
        for (key, text, max) in
            [("title", &self.title, TITLE_MAX), ("remediation", &self.remediation, REMEDIATION_MAX)]
        {
            let words = text.get_ref().trim().trim_end_matches('.');
            if words.is_empty() || words.len() > max || words.chars().any(char::is_control) {
                let message = format!("`{key}`: expected one line of 1 to {max} bytes");
                return Err((text.span().start, message));
            }
        }
        if !(2..=5).contains(self.severity.get_ref()) {
            let message = "`severity`: expected 2 (low), 3 (medium), 4 (high) or 5 (critical)";
            return Err((self.severity.span().start, message.to_owned()));
        }
        Ok(())
    }

    fn check_changes(&self) -> Result<(), Wrong> {
        let on = self.on.get_ref();
        if on.is_empty() {
            let message = "`on`: expected one or more of \"insert\", \"update\", \"delete\"";
            return Err((self.on.span().start, message.to_owned()));
        }
        if let Some(changed) = &self.changed {
            let at = changed.span().start;
            if !(1..=COLUMNS_MAX).contains(&changed.get_ref().len()) {
                return Err((at, format!("`changed`: expected 1 to {COLUMNS_MAX} columns")));
            }
            if !on.contains(&On::Update) {
                let message = "`changed`: only an UPDATE changes columns: add \"update\" to `on`, \
                               or leave `changed` out";
                return Err((at, message.to_owned()));
            }
        }
        match self.conditions.keys().nth(COLUMNS_MAX) {
            Some(column) => {
                Err((column.span().start, format!("`where`: more than {COLUMNS_MAX} columns")))
            }
            None => Ok(()),
        }
    }
}

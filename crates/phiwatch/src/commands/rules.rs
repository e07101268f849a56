//! `phiwatch rules test`: detection as code. Cases say which files must give which findings.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use phiwatch_detect::{Alert, RuleId, Severity};
use serde::Deserialize;

use super::FAILED;
use crate::{
    cli::{RulesArgs, RulesCommand},
    config::{Config, Overrides, is_operators, unknown_rule},
    examination::examine,
    setup,
};

/// One case: a file `*.case.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Binlog files, oldest first, beside the case or below it.
    files: Vec<PathBuf>,
    /// Configuration, beside the case; without it the command's.
    config: Option<PathBuf>,
    /// Catalogue files, beside the case or below it, read after those of the configuration.
    #[serde(default)]
    catalog_files: Vec<PathBuf>,
    /// Findings that must come.
    #[serde(default)]
    expect: Vec<Expected>,
    /// Findings that must not come.
    #[serde(default)]
    forbid: Vec<Forbidden>,
    /// No finding but the expected ones may come.
    #[serde(default)]
    only: bool,
}

/// A rule by its id.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Rule(String);

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        // Whether an operator's own rule exists is known with the catalogue.
        let is_known = RuleId::ALL.into_iter().any(|rule| rule.as_str() == id);
        if is_known || is_operators(&id) {
            return Ok(Self(id));
        }
        Err(format!("no rule has the id {id:?}"))
    }
}

impl Case {
    /// Every id must be of a rule that exists: a case with a slip of the pen would pass for ever.
    fn check_ids(&self, config: &Config) -> anyhow::Result<()> {
        let catalog = setup::catalog(config)?;
        let own: Vec<&str> = catalog.operator_rules().map(|rule| &*rule.id).collect();
        let named = self.expect.iter().map(|one| &one.rule);
        for Rule(id) in named.chain(self.forbid.iter().map(|one| &one.rule)) {
            if is_operators(id) && !own.contains(&id.as_str()) {
                return Err(unknown_rule("rule", id, &own).into());
            }
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    rule: Rule,
    /// `website-2`, `global`; any if absent.
    tenant: Option<String>,
    /// The highest that it reaches; any if absent.
    severity: Option<u8>,
    /// How many; one or more if absent.
    findings: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forbidden {
    rule: Rule,
    tenant: Option<String>,
}

impl Expected {
    fn is(&self, alert: &Alert) -> bool {
        let is_tenant = self.tenant.as_deref().is_none_or(|tenant| *alert.tenant == *tenant);
        let is_severe = self.severity.is_none_or(|severity| alert.severity as u8 == severity);
        alert.rule_id() == self.rule.0 && is_tenant && is_severe
    }

    fn words(&self) -> String {
        let tenant = self.tenant.as_deref().map_or(String::new(), |name| format!(" of {name}"));
        let severity = self.severity.map_or(String::new(), |one| format!(" of severity {one}"));
        format!("{}{tenant}{severity}", self.rule.0)
    }
}

pub(super) fn run(args: &RulesArgs) -> anyhow::Result<ExitCode> {
    let RulesCommand::Test { config, dir } = &args.command;
    let mut cases: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".case.toml"))
        .collect();
    cases.sort();
    if cases.is_empty() {
        bail!(
            "no case in {}\nhint: a case is a file *.case.toml; docs/rules/README.md shows one",
            dir.display()
        );
    }
    let mut failed = 0;
    let mut out = io::stdout().lock();
    for case in &cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy();
        let wrong = check(case, config.as_deref()).with_context(|| case.display().to_string())?;
        if wrong.is_empty() {
            writeln!(out, "ok      {name}")?;
        } else {
            failed += 1;
            writeln!(out, "FAILED  {name}")?;
            wrong.iter().try_for_each(|line| writeln!(out, "        {line}"))?;
        }
    }
    writeln!(out, "{} cases, {failed} failed", cases.len())?;
    Ok(ExitCode::from(if failed > 0 { FAILED } else { 0 }))
}

/// What is wrong with a case's findings.
fn check(path: &Path, config: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(path)?;
    let case: Case = toml::from_str(&text)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let own = case.config.as_ref().map(|name| folder.join(name));
    let mut config = Config::load(own.as_deref().or(config), Overrides::default())?;
    let catalog = case.catalog_files.iter().map(|name| folder.join(name));
    config.file.magento.catalog_files.extend(catalog);
    case.check_ids(&config)?;
    let files: Vec<PathBuf> = case.files.iter().map(|name| folder.join(name)).collect();
    let examination = examine(&config, &files)?;
    let findings: Vec<&Alert> = examination
        .findings()
        .into_iter()
        .filter(|alert| alert.severity > Severity::Informational)
        .collect();
    Ok(compare(&case, &findings))
}

fn compare(case: &Case, findings: &[&Alert]) -> Vec<String> {
    let mut wrong = Vec::new();
    for expected in &case.expect {
        let came = findings.iter().filter(|alert| expected.is(alert)).count();
        let is_right = expected.findings.map_or(came > 0, |findings| came == findings);
        if !is_right {
            let wanted = expected.findings.map_or("at least 1".to_owned(), |n| n.to_string());
            wrong.push(format!("{}: {wanted} wanted, {came} came", expected.words()));
        }
    }
    for forbidden in &case.forbid {
        let is_it = |alert: &&&Alert| {
            let tenant = forbidden.tenant.as_deref();
            alert.rule_id() == forbidden.rule.0
                && tenant.is_none_or(|tenant| *alert.tenant == *tenant)
        };
        wrong.extend(findings.iter().filter(is_it).map(|alert| unwanted(alert)));
    }
    if case.only {
        let is_other = |alert: &&&Alert| !case.expect.iter().any(|expected| expected.is(alert));
        wrong.extend(findings.iter().filter(is_other).map(|alert| unwanted(alert)));
    }
    wrong
}

fn unwanted(alert: &Alert) -> String {
    let (rule, severity) = (alert.rule_id(), alert.severity as u8);
    format!("{rule} of {} (severity {severity}) came: {}", alert.tenant, alert.message)
}

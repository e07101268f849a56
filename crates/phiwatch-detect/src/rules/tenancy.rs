//! `cross-tenant-write` and `tenant-remap`.
//!
//! One act gives one finding: the broken invariants of a transaction are one signal per database,
//! led by the most serious one, and signals of one (database, tenant, group of invariants) merge
//! while the finding is open.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use phiwatch_magento::{Tenant, Weight};

use super::Excuse;
use crate::{
    alert::{Confidence, RuleId, Severity},
    finding::{Key, Signal},
    persons::Persons,
    summary::{Cross, Group, Item, Scope, Summary},
};

/// Persons in one statement over several websites from which it is a bulk job's, for `bulk-change`.
const BULK_PERSONS: u64 = 20;

pub(crate) fn judge(summary: &Summary, excuse: &Excuse, out: &mut Vec<Signal>) {
    let mut by_database: BTreeMap<Arc<str>, Vec<(u8, &Cross)>> = BTreeMap::new();
    for ((database, invariant, _), cross) in &summary.cross {
        by_database.entry(Arc::clone(database)).or_default().push((*invariant, cross));
    }
    let databases: BTreeSet<Arc<str>> = by_database
        .keys()
        .cloned()
        .chain(summary.groups.iter().map(|group| Arc::clone(&group.database)))
        .collect();
    for database in databases {
        let crossed = by_database.remove(&database).unwrap_or_default();
        let signal = if crossed.is_empty() {
            mixed(summary, &database, excuse)
        } else {
            broken(&database, &crossed)
        };
        out.extend(signal);
    }
    for note in summary.notes() {
        if let Item::Remap { what } = &note.item {
            let lead = format!("The tenancy of the shop changed: {what}");
            let key = super::key(note, String::new());
            let mut signal = Signal::exact(RuleId::TenantRemap, key, Severity::High, lead);
            signal.rows = 1;
            signal.is_news = true;
            out.push(signal);
        }
    }
}

/// Invariants broken in one transaction.
fn broken(database: &Arc<str>, crossed: &[(u8, &Cross)]) -> Option<Signal> {
    let (invariant, cross) = crossed.iter().max_by_key(|(invariant, cross)| {
        (cross.weight, cross.rows, std::cmp::Reverse(*invariant))
    })?;
    let rows = crossed.iter().map(|(_, cross)| cross.rows).sum();
    let severity = match cross.weight {
        Weight::High => Severity::High,
        Weight::Medium => Severity::Medium,
        Weight::Low => Severity::Low,
    };
    let others = crossed.len() - 1;
    let more = match others {
        0 => String::new(),
        _ => format!(", and {}", super::count(others as u64, "more invariant", "more invariants")),
    };
    let lead = format!(
        "{} of {} {} the invariant that {} (expected {}){more}",
        super::count(cross.rows, "row", "rows"),
        super::website(cross.found),
        if cross.rows == 1 { "breaks" } else { "break" },
        cross.statement,
        super::website(cross.expected),
    );
    let tenant = [cross.tenant, cross.found, cross.expected]
        .into_iter()
        .find(|tenant| matches!(tenant, Tenant::Website(_)))
        .unwrap_or(cross.tenant);
    let key = Key { database: super::named(database), tenant, what: group(*invariant).to_owned() };
    let mut signal = Signal::exact(RuleId::CrossTenantWrite, key, severity, lead);
    signal.rows = rows;
    signal.is_news = true;
    signal.phi = crossed.iter().fold(cross.phi, |phi, (_, cross)| phi.union(cross.phi));
    signal.scope = Scope { database: Some(Arc::clone(database)), tenant: None };
    Some(signal)
}

/// Which invariants one act tends to break together.
fn group(invariant: u8) -> &'static str {
    match invariant {
        3..=9 | 12 | 13 | 20 | 21 => "order",
        19 => "company",
        _ => "customer",
    }
}

/// The per-transaction invariant: persons of two websites are never written in one transaction.
fn mixed(summary: &Summary, database: &Arc<str>, excuse: &Excuse) -> Option<Signal> {
    let groups: Vec<&Group> = summary
        .groups
        .iter()
        .filter(|group| group.database == *database && group.core_rows > 0)
        .filter(|group| matches!(group.tenant, Tenant::Website(_)))
        .collect();
    if groups.len() < 2 || excuse.reason.is_some() || excuse.upgrade.is_some() || excuse.is_import {
        return None;
    }
    let mut all = Persons::new();
    groups.iter().for_each(|group| all.absorb(&group.persons, None, 1024));
    let persons = all.total().0;
    // One person over several websites: accounts are shared, and an e-mail address follows its
    // orders. Many persons in one statement: a job over all tenants, judged by its size.
    let is_bulk = summary.has_mixed_statement && persons >= BULK_PERSONS;
    if persons < 2 || is_bulk {
        return None;
    }
    let mut websites: Vec<String> =
        groups.iter().map(|group| super::website(group.tenant)).collect();
    websites.sort();
    let first =
        groups.iter().max_by_key(|group| (group.core_rows, std::cmp::Reverse(group.tenant)))?;
    let rows = groups.iter().map(|group| group.core_rows).sum();
    let lead = format!(
        "One transaction wrote rows of {} persons of {} websites ({})",
        persons,
        groups.len(),
        websites.iter().take(8).cloned().collect::<Vec<_>>().join(", "),
    );
    let key = Key {
        database: super::named(database),
        tenant: first.tenant,
        what: "transaction".to_owned(),
    };
    let mut signal = Signal::exact(RuleId::CrossTenantWrite, key, Severity::High, lead);
    signal.confidence = Confidence::Medium;
    signal.rows = rows;
    signal.is_news = true;
    signal.phi = groups.iter().fold(first.phi, |phi, group| phi.union(group.phi));
    signal.scope = Scope { database: Some(Arc::clone(database)), tenant: None };
    Some(signal)
}

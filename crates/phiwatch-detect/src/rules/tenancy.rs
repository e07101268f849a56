//! `cross-tenant-write` and `tenant-remap`.
//!
//! One act gives one finding: the broken invariants of a transaction are one signal per database,
//! led by the most serious one, and signals of one (database, tenant, group of invariants) merge
//! while the finding is open. What a store's move to another website leaves behind is the move's, not
//! thousands of findings. Customers with the e-mail addresses of another website's are a copied tenant
//! if they come in a burst.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{Sign, Tenant, Weight};

use super::Excuse;
use crate::{
    alert::{Confidence, RuleId, Severity},
    finding::{Key, Signal},
    persons::Persons,
    state::state_struct,
    summary::{Cross, Group, Item, Scope, Summary},
};

/// Persons in one statement over several websites from which it is a bulk job's, for `bulk-change`.
const BULK_PERSONS: u64 = 20;

/// What a moved store leaves behind is the move's for so long, seconds.
const MOVED_SECS: i64 = 7 * 86_400;
/// Moves remembered.
const MOVES_MAX: usize = 1_024;
/// Invariants that compare a store's website with another row's: a moved store breaks them.
const OF_STORES: [u8; 10] = [1, 3, 4, 7, 8, 12, 13, 14, 18, 20];
/// A burst of customers with other websites' addresses: within so long, so many, and so much of all
/// new customers.
const BURST_SECS: i64 = 3_600;
const BURST_MIN: u64 = 10;
const BURSTS_MAX: usize = 4_096;

/// New customers of a website of late.
#[derive(Debug, Clone, PartialEq)]
struct Burst {
    since: EventTime,
    customers: u64,
    /// By the website whose customers have their addresses.
    same: BTreeMap<u32, u64>,
}

/// Moves of stores, and bursts of known addresses.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Tenancy {
    /// From and to which website, and when.
    moves: BTreeMap<(Arc<str>, u32, u32), EventTime>,
    bursts: BTreeMap<(Arc<str>, Tenant), Burst>,
}

impl Tenancy {
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        excuse: &Excuse,
        out: &mut Vec<Signal>,
    ) {
        for signed in &summary.signs.list {
            if let Sign::Moved { from, to } = signed.sign
                && self.moves.len() < MOVES_MAX
            {
                self.moves.insert((Arc::clone(&signed.database), from, to), now);
            }
        }
        let age = |since: EventTime| now.secs().saturating_sub(since.secs());
        self.moves.retain(|_, since| age(*since) < MOVED_SECS);
        judge(summary, excuse, |database, crossed| self.follows_move(database, crossed), out);
        self.copied(summary, now, out);
    }

    /// Whether all that is broken is between the websites of a store that moved.
    fn follows_move(&self, database: &Arc<str>, crossed: &[(u8, &Cross)]) -> bool {
        let is_moved = |a: Tenant, b: Tenant| match (a, b) {
            (Tenant::Website(a), Tenant::Website(b)) => {
                let key = |from, to| (Arc::clone(database), from, to);
                self.moves.contains_key(&key(a, b)) || self.moves.contains_key(&key(b, a))
            }
            _ => false,
        };
        !self.moves.is_empty()
            && crossed.iter().all(|(invariant, cross)| {
                OF_STORES.contains(invariant) && is_moved(cross.found, cross.expected)
            })
    }

    /// Invariant 23.
    fn copied(&mut self, summary: &Summary, now: EventTime, out: &mut Vec<Signal>) {
        let is_new = |table: &str| table == "customer_entity";
        for tally in summary.tallies.iter().filter(|tally| is_new(&tally.table)) {
            if tally.counts.inserts == 0 || !matches!(tally.tenant, Tenant::Website(_)) {
                continue;
            }
            let key = (Arc::clone(&tally.database), tally.tenant);
            if self.bursts.len() >= BURSTS_MAX && !self.bursts.contains_key(&key) {
                self.bursts.pop_first();
            }
            let burst = self.bursts.entry(key.clone()).or_insert_with(|| Burst::new(now));
            if now.secs().saturating_sub(burst.since.secs()) >= BURST_SECS {
                *burst = Burst::new(now);
            }
            burst.customers = burst.customers.saturating_add(tally.counts.inserts);
            let before = burst.most();
            let mut has_more = false;
            for ((database, tenant, website), count) in &summary.signs.same {
                if (database, tenant) == (&key.0, &key.1) {
                    let same = burst.same.entry(*website).or_default();
                    *same = same.saturating_add(*count);
                    has_more = true;
                }
            }
            if has_more && let Some(mut signal) = burst.signal(&key) {
                // The burst is one act, that grows.
                signal.is_news = before < BURST_MIN;
                out.push(signal);
            }
        }
    }
}

impl Burst {
    fn new(now: EventTime) -> Self {
        Self { since: now, customers: 0, same: BTreeMap::new() }
    }

    fn most(&self) -> u64 {
        self.same.values().copied().max().unwrap_or(0)
    }

    fn signal(&self, (database, tenant): &(Arc<str>, Tenant)) -> Option<Signal> {
        let most = self.same.iter().max_by_key(|(website, same)| (**same, **website))?;
        let (website, same) = (*most.0, *most.1);
        if same < BURST_MIN || same.saturating_mul(2) < self.customers {
            return None;
        }
        let lead = format!(
            "{same} of {} new customers of {} have the e-mail addresses of customers of {}, as in a \
             copied tenant",
            self.customers,
            super::website(*tenant),
            super::website(Tenant::Website(website)),
        );
        let key =
            Key { database: super::named(database), tenant: *tenant, what: "customer".to_owned() };
        let mut signal = Signal::exact(RuleId::CrossTenantWrite, key, Severity::Medium, lead);
        signal.persons = same;
        signal.aspects = [COPIED].into();
        signal.scope = Scope { database: Some(Arc::clone(database)), tenant: Some(*tenant) };
        Some(signal)
    }
}

const COPIED: u8 = 23;

fn judge(
    summary: &Summary,
    excuse: &Excuse,
    follows_move: impl Fn(&Arc<str>, &[(u8, &Cross)]) -> bool,
    out: &mut Vec<Signal>,
) {
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
            broken(&database, &crossed).map(|mut signal| {
                if follows_move(&database, &crossed) {
                    signal.severity = Severity::Informational;
                    signal.benign = Some(format!("reported as {}", RuleId::TenantRemap));
                }
                signal
            })
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
    signal.aspects = crossed.iter().map(|(invariant, _)| *invariant).collect();
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

state_struct!(Burst { since, customers, same });
state_struct!(Tenancy { moves, bursts });

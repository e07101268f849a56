//! Rows of one transaction that the operator's rules fit, summed by rule and tenant.
//!
//! # Invariants
//! - At most [`SUMS_MAX`] sums are held, each with at most [`PERSONS_EXACT_MAX`] exact persons.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::Op;
use phiwatch_magento::{Observation, OperatorRule, PhiClasses, Tenant};

use crate::{
    alert::TableCounts,
    persons::{Kinds, Persons},
    state::state_struct,
};

/// Rules by tenant, told apart in a transaction.
const SUMS_MAX: usize = 1024;
/// Persons counted exactly per sum.
const PERSONS_EXACT_MAX: usize = 4096;

/// Rows that one rule fits, of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sum {
    pub(crate) rule: Arc<OperatorRule>,
    pub(crate) table: Arc<str>,
    pub(crate) phi: PhiClasses,
    pub(crate) counts: TableCounts,
    pub(crate) persons: Persons,
}

impl Sum {
    pub(crate) fn rows(&self) -> u64 {
        self.counts.inserts + self.counts.updates + self.counts.deletes
    }
}

/// What the operator's rules found in one transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Own {
    /// By database, rule and tenant.
    pub(crate) sums: BTreeMap<(Arc<str>, Arc<str>, Tenant), Sum>,
}

impl Own {
    /// Adds a row; false if there is no room.
    pub(crate) fn push(
        &mut self,
        observation: &Observation,
        rule: &Arc<OperatorRule>,
        op: Op,
    ) -> bool {
        let table = &observation.table;
        let key = (Arc::clone(&table.database), Arc::clone(&rule.id), observation.tenant);
        if self.sums.len() >= SUMS_MAX && !self.sums.contains_key(&key) {
            return false;
        }
        let sum = self.sums.entry(key).or_insert_with(|| Sum {
            rule: Arc::clone(rule),
            table: Arc::clone(&table.name),
            phi: table.phi,
            counts: TableCounts::default(),
            persons: Persons::new(),
        });
        match op {
            Op::Create => sum.counts.inserts += 1,
            Op::Update => sum.counts.updates += 1,
            Op::Delete => sum.counts.deletes += 1,
        }
        if let Some(subject) = observation.subject {
            sum.persons.insert(subject, Kinds::SEEN, PERSONS_EXACT_MAX);
        }
        true
    }

    /// Memory that it takes, bytes, estimated from above.
    pub(crate) fn bytes(&self) -> usize {
        self.sums.values().map(|sum| 512 + sum.persons.bytes()).sum()
    }
}

state_struct!(Sum { rule, table, phi, counts, persons });
state_struct!(Own { sums });

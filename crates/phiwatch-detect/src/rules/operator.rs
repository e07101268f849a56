//! The operator's own rules: one signal per rule and tenant of the transaction.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::EventTime;

use super::{count, named};
use crate::{
    alert::{EvidenceTables, RuleId, Severity},
    finding::{Key, Signal},
    summary::Summary,
};

pub(super) fn judge(summary: &Summary, now: EventTime, out: &mut Vec<Signal>) {
    let sums = &summary.own.sums;
    if sums.is_empty() {
        return;
    }
    // The threshold is for the transaction, the findings are for its tenants.
    let mut persons: BTreeMap<(&Arc<str>, &Arc<str>), u64> = BTreeMap::new();
    for ((database, id, _), sum) in sums {
        *persons.entry((database, id)).or_default() += sum.persons.total().0;
    }
    for ((database, id, tenant), sum) in sums {
        let all = persons.get(&(database, id)).copied().unwrap_or_default();
        if all < sum.rule.persons_min {
            continue;
        }
        let (number, is_exact) = sum.persons.total();
        let rows = count(sum.rows(), "row", "rows");
        let about = if is_exact { "" } else { "about " };
        let of = match number {
            0 => String::new(),
            _ => format!(" of {about}{}", count(number, "person", "persons")),
        };
        let lead = format!("{}: {rows} of {}{of}", sum.rule.title, sum.table);
        let key = Key { database: named(database), tenant: *tenant, what: id.to_string() };
        // The catalogue takes 2 to 5 only, but a saved state is bytes from outside.
        let severity = Severity::from_id(sum.rule.severity).unwrap_or(Severity::Critical);
        let mut signal = Signal::exact(RuleId::Operator, key, severity, lead);
        signal.rows = sum.rows();
        signal.phi = sum.phi;
        let tables = EvidenceTables::from([(Arc::clone(&sum.table), sum.counts)]);
        signal.evidence = Some(summary.origin.evidence(now, tables, sum.persons.total()));
        signal.own = Some(sum.persons.clone());
        signal.operator = Some(Arc::clone(&sum.rule));
        out.push(signal);
    }
}

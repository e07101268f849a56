//! Exact rules: one transaction's [`Summary`] and a little memory to [`Signal`]s.

pub(crate) mod access;
mod control;
mod copies;
mod exports;
mod grants;
mod jobs;
mod operator;
mod phi;
mod rates;
mod retention;
mod shadows;
mod tenancy;
mod trails;
mod values;

use std::sync::Arc;

use phiwatch_binlog::EventTime;
use phiwatch_magento::Tenant;

pub(crate) use jobs::Excuse;

use crate::{
    finding::{Key, Signal},
    settings::Settings,
    state::state_struct,
    stats::Stats,
    summary::{Note, Summary},
};

/// Memory of the exact rules.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Rules {
    exports: exports::Exports,
    copies: copies::Copies,
    shadows: shadows::Shadows,
    grants: grants::Grants,
    jobs: jobs::Jobs,
    access: access::Access,
    trails: trails::Trails,
    retention: retention::Retention,
    tenancy: tenancy::Tenancy,
    texts: phi::Texts,
    values: values::Sinks,
}

/// Persons of a database that the engine has seen, by what the statistical side knows.
pub(crate) trait Known {
    /// Distinct persons ever seen in the database, estimated.
    fn persons(&self, database: &Arc<str>) -> f64;
}

impl Rules {
    /// Judges a committed transaction. The excuse is for the bulk rules.
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        settings: &Settings,
        known: &dyn Known,
        stats: &mut Stats,
    ) -> (Vec<Signal>, Excuse) {
        let mut signals = Vec::new();
        let excuse = self.jobs.excuse(summary, now, settings, &mut signals);
        self.exports.judge(summary, now, &mut signals);
        self.copies.judge(summary, now, &excuse, known, &mut signals);
        self.shadows.judge(summary, now, &excuse, known, &mut signals);
        self.grants.judge(summary, now, known, &mut signals);
        self.tenancy.judge(summary, now, &excuse, &mut signals);
        self.values.judge(summary, now, &excuse, known, &mut signals);
        self.texts.judge(summary, now, &excuse, &mut signals);
        phi::judge(summary, &excuse, &mut signals);
        control::judge(summary, &excuse, known, &mut signals);
        self.retention.judge(summary, now, &mut signals);
        let per_week = settings.false_alerts_per_week.clamp(0.001, 1000.0) * access::SHARE;
        self.access.judge(summary, now, per_week, &excuse, stats, &mut signals);
        let (trails, retention) = (&mut self.trails, &self.retention);
        trails.judge(summary, now, settings, retention, &excuse, &mut signals);
        operator::judge(summary, now, &mut signals);
        (signals, excuse)
    }

    /// Keys with a baseline.
    pub(crate) fn keys(&self) -> usize {
        self.access.keys()
    }

    /// Transactions were not seen.
    pub(crate) fn blind(&mut self, now: EventTime) {
        self.retention.blind(now);
    }
}

/// Why a shop without any person in the log so far writes what it writes.
const INSTALLED: &str = "the shop is being installed";

/// Key of a finding on a note's table.
fn key(note: &Note, what: String) -> Key {
    Key { database: named(&note.database), tenant: note.tenant, what }
}

/// A schema's name, if there is one.
fn named(database: &Arc<str>) -> Option<Arc<str>> {
    (!database.is_empty()).then(|| Arc::clone(database))
}

/// "website 2" in a sentence.
pub(crate) fn website(tenant: Tenant) -> String {
    match tenant {
        Tenant::Website(id) => format!("website {id}"),
        Tenant::Global => "the admin scope".to_owned(),
        Tenant::Unknown => "an unknown website".to_owned(),
    }
}

/// "1 row", "2 rows".
fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

state_struct!(Rules {
    exports,
    copies,
    shadows,
    grants,
    jobs,
    access since 3,
    trails since 3,
    retention since 3,
    tenancy since 3,
    texts since 3,
    values since 3,
});

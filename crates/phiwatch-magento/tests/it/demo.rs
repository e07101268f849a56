//! The recorded shop: what the classifier says of four weeks.

use std::{collections::BTreeMap, fs, sync::Arc};

use phiwatch_binlog::{
    BinlogPosition, Decoder, End, Gap, Limits, Plan, RowChange, Statement, Table, Transaction,
    Visitor, framing,
};
use phiwatch_magento::{
    Catalog, Classifier, Fact, Mark, Observation, Settings, TableClass, Tenant, TokenKey,
};

use crate::world::fixtures;

struct Listener {
    classifier: Classifier,
    observations: Vec<Observation>,
    gaps: usize,
}

impl Visitor for Listener {
    fn table(&mut self, table: &Table) -> Plan {
        self.classifier.table(table)
    }
    fn begin(&mut self, transaction: &Transaction) {
        self.classifier.begin(transaction);
    }
    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        self.classifier.row(transaction, change, &mut self.observations);
    }
    fn statement(&mut self, transaction: &Transaction, statement: &Statement<'_>) {
        self.classifier.statement(transaction, statement, &mut self.observations);
    }
    fn end(&mut self, transaction: &Transaction, end: &End, _next: &BinlogPosition) {
        self.classifier.end(transaction, end);
    }
    fn gap(&mut self, _gap: &Gap) {
        self.gaps += 1;
    }
}

fn replay() -> Listener {
    let classifier =
        Classifier::new(Arc::new(Catalog::builtin()), Settings::default(), &TokenKey([7; 32]));
    let mut listener = Listener { classifier, observations: Vec::new(), gaps: 0 };
    let mut decoder = Decoder::new(Limits::default());
    for number in 1..=4 {
        let name = format!("binlog.{number:06}");
        let bytes = fs::read(fixtures().join("demo").join(&name)).unwrap();
        decoder.start_file(&name);
        let mut offset = 4;
        while offset < bytes.len() {
            let header = framing::Header::parse(&bytes[offset..]).unwrap();
            let end = offset + header.event_bytes as usize;
            decoder.event(offset as u64, &bytes[offset..end], &mut listener);
            offset = end;
        }
    }
    listener
}

/// A fact in a few words.
fn words(observation: &Observation) -> Option<String> {
    let table = &observation.table.name;
    Some(match observation.fact.as_ref()? {
        Fact::CrossTenant(breach) => {
            format!("cross {} {:?} {:?}", breach.invariant, breach.found, breach.expected)
        }
        Fact::Unverified(invariant) => format!("unverified {invariant}"),
        Fact::ExportQueued { entity, is_filtered, .. } => {
            format!("export {entity:?} {is_filtered}")
        }
        Fact::ExportStatus { status, .. } => format!("export status {status}"),
        Fact::ExportNotice => "notice".to_owned(),
        Fact::Config(change) => format!("{} {:?}", change.path, change.verdict),
        Fact::Account(change) => {
            let name = format!("{change:?}");
            let word = name.split([' ', '{']).next().unwrap_or_default().to_owned();
            format!("account {word}")
        }
        Fact::Copy { form, sources, .. } => format!("copy {table} {form:?} {sources:?}"),
        Fact::Maintenance { kind } => (*kind).to_owned(),
        Fact::Import { phase, .. } => format!("import {phase:?}"),
        Fact::Sign(sign) => {
            let name = format!("{sign:?}");
            let word = name.split([' ', '{']).next().unwrap_or_default().to_owned();
            format!("sign {word}")
        }
        Fact::Mark(Mark::Value { place, seen, .. }) => format!("{table} {place:?} {seen:?}"),
        Fact::NewSurface { kind, .. } => format!("{table} {kind}"),
        other => format!("{table} {other:?}"),
    })
}

/// What one row or statement shows of the incidents of `incidents.json`, with how often.
const INCIDENTS: [(&str, u64); 5] = [
    ("export Customer false", 1),
    ("copy customer_backup CreateSelect []", 1),
    ("cross 3 Website(2) Website(1)", 1),
    ("admin/security/session_lifetime Weakened", 1),
    ("grid reindex", 2),
];

/// What else is said: exports of products, imports, the settings, users and attributes of a new
/// shop.
const ORDINARY: [&str; 31] = [
    "account PasswordRecorded",
    "account RoleAssigned",
    "account RoleGroup",
    "account RoleRule",
    "account UserCreated",
    "admin/security/lockout_failures Neutral",
    "admin/security/password_lifetime Neutral",
    "admin/security/session_lifetime Neutral",
    "checkout/cart/delete_quote_after Strengthened",
    "copy customer_backup RowUnknownTable []",
    "customer/account_share/scope Neutral",
    "customer/password/lockout_failures Neutral",
    "customer_backup Table Active",
    "customer_backup Table Known",
    "eav_attribute customer attribute",
    "export Impersonal false",
    "export status 2",
    "export status 3",
    "export status 4",
    "import Begin",
    "import Data",
    "import End",
    "notice",
    "sign Failure",
    "sign Job",
    "sign Kept",
    "sign Looked",
    "sign Period",
    "sign ResetAsked",
    "web/secure/use_in_adminhtml Neutral",
    "web/secure/use_in_frontend Neutral",
];

#[test]
fn four_weeks_say_what_happened() {
    let listener = replay();
    assert_eq!(listener.gaps, 0);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for word in listener.observations.iter().filter_map(words) {
        *counts.entry(word).or_default() += 1;
    }
    for (word, times) in INCIDENTS {
        assert_eq!(counts.remove(word), Some(times), "{word}");
    }
    assert_eq!(counts.into_keys().collect::<Vec<_>>(), ORDINARY);
}

#[test]
fn twice_is_the_same() {
    let (one, two) = (replay(), replay());
    assert!(one.observations == two.observations);
    assert_eq!(one.classifier.save(), two.classifier.save());
    // Only the copy's rows: the log does not say what they were copied from.
    let unknown =
        |o: &&Observation| o.tenant == Tenant::Unknown && o.table.class != TableClass::Unknown;
    assert_eq!(one.observations.iter().filter(unknown).count(), 0);
}

//! The middle of the data path over fuzzed bytes: classifier and engine behind a decoder.

use std::sync::Arc;

use phiwatch_binlog::{
    BinlogPosition, End, Gap, Plan, RowChange, Statement, Table, Transaction, Visitor,
};
use phiwatch_detect::{Alert, Engine};
use phiwatch_magento::{Catalog, Classifier, Observation, TokenKey};

thread_local! {
    static CATALOG: Arc<Catalog> = Arc::new(Catalog::builtin());
}

/// A classifier that knows the built-in catalogue and has seen nothing.
#[must_use]
pub fn classifier() -> Classifier {
    let settings = phiwatch_magento::Settings::default();
    Classifier::new(CATALOG.with(Arc::clone), settings, &TokenKey([7; 32]))
}

/// An engine that tells everything.
#[must_use]
pub fn engine_settings() -> phiwatch_detect::Settings {
    phiwatch_detect::Settings {
        severity_min: phiwatch_detect::Severity::Informational,
        ..phiwatch_detect::Settings::default()
    }
}

/// Decoder's visitor, as the program's own one.
#[derive(Debug)]
pub struct Pipeline {
    /// Learned maps.
    pub classifier: Classifier,
    /// State of the detectors.
    pub engine: Engine,
    /// What was told, in order.
    pub alerts: Vec<Alert>,
    /// The engine is saved, dropped and restored after every transaction.
    pub restarts: bool,
    observations: Vec<Observation>,
    is_open: bool,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}

impl Pipeline {
    /// Before any input.
    #[must_use]
    pub fn new() -> Self {
        Self {
            classifier: classifier(),
            engine: Engine::new(engine_settings()),
            alerts: Vec::new(),
            restarts: false,
            observations: Vec::new(),
            is_open: false,
        }
    }

    /// Asserts that the state after the input is one that can be saved and taken back as the same.
    pub fn check(&mut self) {
        assert!(!self.is_open, "a transaction without an end");
        let saved = self.engine.checkpoint();
        let restored = Engine::restore(engine_settings(), &saved);
        let restored = restored.expect("an engine reads its own checkpoint");
        assert!(restored.checkpoint() == saved, "equal engine states give equal bytes");
        let saved = self.classifier.save();
        let mut restored = classifier();
        restored.restore(&saved).expect("a classifier reads its own maps");
        assert!(restored.save() == saved, "equal maps give equal bytes");
        self.engine.finish(&mut self.alerts);
    }

    fn push(&mut self) {
        for observation in self.observations.drain(..) {
            self.engine.push(&observation);
        }
    }
}

impl Visitor for Pipeline {
    fn table(&mut self, table: &Table) -> Plan {
        self.classifier.table(table)
    }
    fn begin(&mut self, transaction: &Transaction) {
        self.is_open = true;
        self.classifier.begin(transaction);
        self.engine.begin(transaction);
    }
    fn prepares(&mut self, transaction: &Transaction) {
        self.classifier.prepares(transaction);
    }
    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        self.classifier.row(transaction, change, &mut self.observations);
        self.push();
    }
    fn statement(&mut self, transaction: &Transaction, statement: &Statement<'_>) {
        self.classifier.statement(transaction, statement, &mut self.observations);
        self.push();
    }
    fn end(&mut self, transaction: &Transaction, end: &End, _: &BinlogPosition) {
        self.is_open = false;
        let engine = &mut self.engine;
        self.classifier.infer(transaction, end, |observation| engine.push(observation));
        for gap in self.classifier.end(transaction, end) {
            self.engine.gap(&gap, &mut self.alerts);
        }
        self.engine.end(transaction, end, &mut self.alerts);
        if self.restarts {
            let saved = self.engine.checkpoint();
            let restored = Engine::restore(engine_settings(), &saved);
            self.engine = restored.expect("an engine reads its own checkpoint");
        }
    }
    fn gap(&mut self, gap: &Gap) {
        self.engine.gap(gap, &mut self.alerts);
    }
}

//! The simulated months as binlog bytes say what they say as observations.

use std::sync::Arc;

use phiwatch_binlog::{
    BinlogPosition, Decoder, End, Gap, Limits, Plan, RowChange, Statement, Table, Transaction,
    Visitor, framing,
};
use phiwatch_detect::{Alert, Engine, Settings};
use phiwatch_magento::{Catalog, Classifier, Observation, TokenKey};
use phiwatch_testkit::months::{
    EPOCH,
    attack::{Attack, KINDS},
    binlog::Binlog,
    model::{Jobs, Tenant},
};

use crate::{feed::Feeder, trial::Setting, written::bin_of};

struct Listener {
    classifier: Classifier,
    engine: Engine,
    observations: Vec<Observation>,
    alerts: Vec<Alert>,
}

impl Visitor for Listener {
    fn table(&mut self, table: &Table) -> Plan {
        self.classifier.table(table)
    }
    fn begin(&mut self, transaction: &Transaction) {
        self.classifier.begin(transaction);
        self.engine.begin(transaction);
    }
    fn row(&mut self, transaction: &Transaction, change: &RowChange<'_>) {
        self.classifier.row(transaction, change, &mut self.observations);
        self.observations.drain(..).for_each(|one| self.engine.push(&one));
    }
    fn statement(&mut self, _transaction: &Transaction, _statement: &Statement<'_>) {
        unreachable!("only rows are written");
    }
    fn end(&mut self, transaction: &Transaction, end: &End, _next: &BinlogPosition) {
        self.classifier.end(transaction, end);
        self.engine.end(transaction, end, &mut self.alerts);
    }
    fn gap(&mut self, gap: &Gap) {
        panic!("{gap:?}");
    }
}

fn examine(file: &[u8], settings: Settings) -> Vec<Alert> {
    let catalog = Arc::new(Catalog::builtin());
    let magento = phiwatch_magento::Settings::default();
    let mut listener = Listener {
        classifier: Classifier::new(catalog, magento, &TokenKey([7; 32])),
        engine: Engine::new(settings),
        observations: Vec::new(),
        alerts: Vec::new(),
    };
    let mut decoder = Decoder::new(Limits::default());
    decoder.start_file("binlog.000001");
    let mut offset = 4;
    while offset < file.len() {
        let header = framing::Header::parse(&file[offset..]).unwrap();
        let end = offset + header.event_bytes as usize;
        decoder.event(offset as u64, &file[offset..end], &mut listener);
        offset = end;
    }
    listener.alerts
}

/// What must not depend on the way: rule, tenant, time and severity, in order.
fn short(alerts: &[Alert]) -> Vec<String> {
    let line = |alert: &Alert| {
        let Alert { rule, tenant, time, severity, activity, .. } = alert;
        format!("{rule} {tenant} {} {severity:?} {activity:?}", time.secs())
    };
    alerts.iter().map(line).collect()
}

#[test]
fn bytes_and_observations_give_the_same_alerts() {
    let setting = Setting {
        seed: 5,
        weeks: 6,
        tenants: 2,
        budget: 1.0,
        jobs: Jobs::Announced,
        attacks: true,
    };
    let tenants: Vec<Tenant> =
        [(1, 10.0), (2, 30.0)].map(|(id, size)| Tenant::new(5, id, size, 6)).into();
    // 1 % in ten minutes.
    let attacks: Vec<Option<Attack>> =
        tenants.iter().map(|tenant| Some(Attack::on(tenant, KINDS[2]))).collect();
    let settings = Settings { false_alerts_per_week: 2.0, ..Settings::default() };
    let mut engine = Engine::new(settings.clone());
    let mut feeders = [Feeder::new(1), Feeder::new(2)];
    let mut binlog = Binlog::begin(Vec::new(), EPOCH, &[1, 2]).unwrap();
    let mut alerts = Vec::new();
    for bin in 0..tenants[0].bins.len() {
        for (website, write) in bin_of(&tenants, &attacks, setting, bin) {
            binlog.write(website, &write).unwrap();
            feeders[website as usize - 1].feed(&mut engine, &write, &mut alerts);
        }
    }
    let from_bytes = examine(&binlog.finish().unwrap(), settings);
    assert_eq!(short(&from_bytes), short(&alerts));
    for (tenant, attack) in tenants.iter().zip(attacks.iter().flatten()) {
        let begin = EPOCH + attack.from as i64 * 300;
        let name = format!("website-{}", tenant.website);
        let found = alerts.iter().any(|alert| {
            *alert.tenant == *name && (begin..begin + 900).contains(&alert.time.secs())
        });
        assert!(found, "the attack on {name} was missed");
    }
}

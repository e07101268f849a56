//! One tenant's months: without an attack, and with each attack on top of the same noise.

use phiwatch_detect::{Activity, Alert, Engine, Settings, Severity};
use phiwatch_testkit::months::{
    BIN_SECS, EPOCH, HOUR, WEEK,
    attack::{Attack, KINDS},
    model::{Jobs, Tenant},
    people::People,
};

use crate::feed::Feeder;

/// Weeks that are learned from and not scored.
pub(crate) const LEARNING_WEEKS: usize = 4;
/// An alert counts for an attack so long after its last bin.
const GRACE_BINS: usize = HOUR;
/// The noise alone explains an alert if it alerts so close to it, seconds.
const EXPLAINED_SECS: i64 = 3_600;

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) weeks: usize,
    /// Tenants that share the sequence of ids.
    pub(crate) tenants: u64,
    /// False alerts a week allowed for this tenant.
    pub(crate) budget: f64,
    pub(crate) jobs: Jobs,
    pub(crate) attacks: bool,
}

/// What came of one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) size: f64,
    /// Findings in the scored weeks without an attack.
    pub(crate) false_alerts: Vec<FalseAlert>,
    /// Seconds from the begin of each attack to its first alert, by [`KINDS`].
    pub(crate) delays: Vec<Option<i64>>,
    /// Reports of changes per order in those weeks.
    pub(crate) false_reports: usize,
    pub(crate) transactions: u64,
}

/// A finding that no attack caused.
#[derive(Debug, Clone)]
pub(crate) struct FalseAlert {
    pub(crate) day: f64,
    pub(crate) message: String,
}

/// Runs one tenant.
pub(crate) fn run(website: u32, size: f64, setting: Setting) -> Outcome {
    let tenant = Tenant::new(setting.seed, website, size, setting.weeks);
    let people = People::new(&tenant, setting.tenants, setting.jobs);
    let settings = Settings {
        false_alerts_per_week: setting.budget,
        severity_min: Severity::Informational,
        ..Settings::default()
    };
    let mut run = Run {
        engine: Engine::new(settings.clone()),
        feeder: Feeder::new(website),
        alerts: Vec::new(),
    };
    let attacks: Vec<Attack> = KINDS.iter().map(|kind| Attack::on(&tenant, *kind)).collect();
    let mut forks: Vec<Option<Vec<Alert>>> = vec![None; attacks.len()];
    for bin in 0..tenant.bins.len() {
        for (attack, fork) in attacks.iter().zip(&mut forks) {
            if setting.attacks && attack.from == bin {
                let mut forked = run.fork(&settings);
                let until = (attack.until + GRACE_BINS).min(tenant.bins.len());
                (bin..until).for_each(|bin| forked.bin(&people, bin, Some(attack)));
                *fork = Some(forked.alerts);
            }
        }
        run.bin(&people, bin, None);
    }
    let told: Vec<&Alert> = run.alerts.iter().filter(|alert| is_told(alert)).collect();
    let start = EPOCH + (LEARNING_WEEKS * WEEK) as i64 * BIN_SECS;
    let false_alerts = told
        .iter()
        .filter(|alert| alert.activity == Activity::Create && alert.time.secs() >= start)
        .map(|alert| FalseAlert {
            day: (alert.time.secs() - EPOCH) as f64 / 86_400.0,
            message: format!("{} {}", alert.rule_id(), alert.message),
        })
        .collect();
    let reports = run.alerts.iter().filter(|alert| is_report(alert));
    let false_reports = reports.filter(|alert| alert.time.secs() >= start).count();
    let delays = attacks
        .iter()
        .zip(&forks)
        .map(|(attack, fork)| {
            let begin = EPOCH + attack.from as i64 * BIN_SECS;
            let alerts = fork.iter().flatten().filter(|alert| {
                if attack.is_scattered() { is_report(alert) } else { is_told(alert) }
            });
            let mut times = alerts.map(|alert| alert.time.secs());
            let is_explained = |time: i64| {
                told.iter().any(|alert| (alert.time.secs() - time).abs() <= EXPLAINED_SECS)
            };
            times.find(|time| !is_explained(*time)).map(|time| time - begin)
        })
        .collect();
    let transactions = run.engine.stats().transactions;
    Outcome { size, false_alerts, delays, false_reports, transactions }
}

/// The weekly report of changes per order, which is no alert.
fn is_report(alert: &Alert) -> bool {
    alert.severity == Severity::Informational && alert.message.contains("standard deviations")
}

/// Whether an operator would see it as news; the end of a finding is none.
fn is_told(alert: &Alert) -> bool {
    alert.severity > Severity::Informational && alert.activity != Activity::Close
}

struct Run {
    engine: Engine,
    feeder: Feeder,
    alerts: Vec<Alert>,
}

impl Run {
    fn bin(&mut self, people: &People<'_>, bin: usize, attack: Option<&Attack>) {
        for write in people.writes(bin, attack) {
            self.feeder.feed(&mut self.engine, &write, &mut self.alerts);
        }
    }

    /// The same state, without the alerts so far.
    fn fork(&self, settings: &Settings) -> Self {
        let state = self.engine.checkpoint();
        let engine = Engine::restore(settings.clone(), &state).expect("state of the same build");
        Self { engine, feeder: self.feeder.clone(), alerts: Vec::new() }
    }
}

//! `failed-access`, `access-volume`, and carts deleted by hand (`mass-deletion`): counts against the
//! key's own past ([`Rate`]), with exact floors for what needs no past.
//!
//! Exact: a user of the admin area is locked; one account fails far more often than a person would;
//! an account is locked again and again; "login as customer" walks through many persons on the first
//! day of a user that nothing is known of.

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::EventTime;
use phiwatch_magento::{Account, LookedBy, Sign, TableClass, Tenant};

use super::{
    Excuse,
    rates::{Limits, Over, Rate},
};
use crate::{
    alert::{Confidence, RuleId, Severity},
    finding::{Key, Measure, Signal, tenant_uid},
    signs::Signed,
    state::{CheckpointError, Reader, State, state_enum},
    stats::Stats,
    summary::{Scope, Summary},
};

/// Share of the budget of false alerts for these counts; the rest is the volumes'.
pub(crate) const SHARE: f64 = 0.1;
/// Keys; over it the longest idle one is forgotten.
const KEYS_MAX: usize = 4096;
/// Silence of the whole stream that makes it a new beginning, seconds.
const RESUME_SECS: i64 = 86_400;
/// Accounts whose locks are remembered, and for how long, seconds.
const LOCKS_MAX: usize = 1024;
const LOCKS_SECS: i64 = 86_400;
/// Locks of one account within a day that no forgotten password explains.
const LOCKS_MIN: u64 = 3;
/// Failures in a row of one account that no forgotten password explains.
const FAILURES_MIN: u64 = 20;
/// Persons entered by "login as customer" within two hours, without anything known of the user.
const LOGINS_MIN: u64 = 25;
/// The same of views in the action log.
const VIEWS_MIN: u64 = 200;
/// Accounts or persons that make a finding a large one.
const LARGE: u64 = 500;

/// What is counted, per database and tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Failed { of: Account },
    Locked,
    Reset { of: Account },
    Views { user: u64 },
    Logins { user: u64 },
    Tokens,
    Carts,
}

impl What {
    fn rule(self) -> RuleId {
        match self {
            Self::Failed { .. } | Self::Locked | Self::Reset { .. } => RuleId::FailedAccess,
            Self::Views { .. } | Self::Logins { .. } | Self::Tokens => RuleId::AccessVolume,
            Self::Carts => RuleId::MassDeletion,
        }
    }

    /// Things over the mean in two hours, and in a day, from which it may alert.
    fn floors(self) -> (f64, f64) {
        match self {
            Self::Failed { of: Account::Customer } => (10.0, 25.0),
            Self::Failed { of: Account::Admin } | Self::Reset { of: Account::Admin } => (3.0, 5.0),
            Self::Failed { of: Account::Api } => (5.0, 10.0),
            Self::Locked => (3.0, 6.0),
            Self::Reset { .. } => (8.0, 20.0),
            Self::Views { .. } => (15.0, 40.0),
            Self::Logins { .. } => (6.0, 12.0),
            Self::Tokens => (20.0, 50.0),
            Self::Carts => (100.0, 250.0),
        }
    }

    /// What of a finding's key tells it from others of its tenant.
    fn key(self) -> String {
        match self {
            Self::Failed { of: Account::Customer } | Self::Locked => "customers".to_owned(),
            Self::Failed { of: Account::Admin } => ADMINS.to_owned(),
            Self::Failed { of: Account::Api } => "tokens".to_owned(),
            Self::Reset { of: Account::Admin } => "admin resets".to_owned(),
            Self::Reset { .. } => "resets".to_owned(),
            Self::Views { user } | Self::Logins { user } => format!("user {user}"),
            Self::Tokens => "tokens".to_owned(),
            Self::Carts => String::new(),
        }
    }

    /// The sentence up to its numbers, and the measured parameter.
    fn words(self, over: &Over, tenant: Tenant) -> (String, u8) {
        let (count, of) = (over.observed, of_website(tenant));
        match self {
            Self::Failed { of: Account::Customer } => {
                (format!("Logons to {count} distinct customer accounts{of} failed"), 10)
            }
            Self::Failed { of: Account::Admin } => {
                (format!("Logons to {count} distinct admin accounts failed"), 10)
            }
            Self::Failed { of: Account::Api } => {
                (format!("Requests of API tokens for {count} distinct accounts failed"), 10)
            }
            Self::Locked => (format!("{count} distinct customer accounts{of} were locked"), 11),
            Self::Reset { of: Account::Admin } => {
                (format!("New passwords of {count} distinct admin accounts were asked for"), 12)
            }
            Self::Reset { .. } => {
                (format!("New passwords of {count} distinct accounts were asked for"), 12)
            }
            Self::Views { user } => {
                (format!("Admin user {user} opened the data of {count} distinct persons{of}"), 13)
            }
            Self::Logins { user } => {
                (format!("Admin user {user} logged in as {count} distinct customers{of}"), 13)
            }
            Self::Tokens => {
                (format!("API tokens were made for {count} distinct customers{of}"), 14)
            }
            Self::Carts => (format!("{count} carts{of} were deleted"), 15),
        }
    }
}

const ADMINS: &str = "admins";

fn of_website(tenant: Tenant) -> String {
    match tenant {
        Tenant::Website(_) => format!(" of {}", super::website(tenant)),
        Tenant::Global | Tenant::Unknown => String::new(),
    }
}

/// Counts of access.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Access {
    rates: BTreeMap<(Arc<str>, Tenant, What), Rate>,
    /// Locks of an account: how many since when.
    locks: BTreeMap<(Arc<str>, u64), (u64, EventTime)>,
    /// Last commit.
    last: Option<EventTime>,
}

impl Access {
    pub(crate) fn keys(&self) -> usize {
        self.rates.len()
    }

    /// Judges and learns a committed transaction. `per_week`: false alerts for all of it.
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        per_week: f64,
        excuse: &Excuse,
        stats: &mut Stats,
        out: &mut Vec<Signal>,
    ) {
        self.resume(now);
        let first = out.len();
        for signed in &summary.signs.list {
            self.exact(signed, now, out);
            if let Some((what, tenant, item)) = counted(signed) {
                let key = (Arc::clone(&signed.database), tenant, what);
                self.count(&key, item, signed.tenant, now, stats);
                out.extend(self.over(&key, now, per_week));
            }
        }
        self.carts(summary, now, per_week, stats, out);
        if let Some(reason) = &excuse.reason {
            for signal in out.iter_mut().skip(first) {
                signal.severity = Severity::Informational;
                signal.benign = Some(reason.clone());
            }
        }
    }

    /// A stream without any transaction for a day was not read, or its server stood still.
    fn resume(&mut self, now: EventTime) {
        let silence = self.last.map_or(0, |last| now.secs().saturating_sub(last.secs()));
        self.last = Some(now);
        if silence >= RESUME_SECS {
            self.rates.values_mut().for_each(|rate| rate.resume(now.secs()));
        }
    }

    fn rate(
        &mut self,
        key: &(Arc<str>, Tenant, What),
        now: EventTime,
        stats: &mut Stats,
    ) -> &mut Rate {
        if !self.rates.contains_key(key) && self.rates.len() >= KEYS_MAX {
            let idle = self.rates.iter().min_by_key(|(key, rate)| (rate.hour(), *key));
            if let Some(idle) = idle.map(|(key, _)| key.clone()) {
                self.rates.remove(&idle);
                stats.keys_evicted += 1;
            }
        }
        let rate = self.rates.entry(key.clone()).or_insert_with(|| Rate::new(now.secs()));
        rate.advance(now.secs());
        rate
    }

    fn count(
        &mut self,
        key: &(Arc<str>, Tenant, What),
        item: u64,
        tenant: Tenant,
        now: EventTime,
        stats: &mut Stats,
    ) {
        self.rate(key, now, stats).add(item, tenant);
    }

    /// Mean of keys of the same kind in the database that have a past.
    fn peers(&self, (database, _, what): &(Arc<str>, Tenant, What)) -> Option<f64> {
        let is_like = |other: &What| std::mem::discriminant(other) == std::mem::discriminant(what);
        let like =
            self.rates.iter().filter(|((name, _, other), _)| name == database && is_like(other));
        let means: Vec<f64> = like.filter_map(|(_, rate)| rate.mean()).collect();
        (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
    }

    fn over(
        &mut self,
        key: &(Arc<str>, Tenant, What),
        now: EventTime,
        per_week: f64,
    ) -> Option<Signal> {
        // Users of one shop do like work; its websites are of any size.
        let has_peers = matches!(key.2, What::Views { .. } | What::Logins { .. });
        let is_young = self.rates.get(key)?.is_young();
        let peers = if has_peers && is_young { self.peers(key) } else { None };
        let budget = per_week / self.rates.len().max(1) as f64;
        let (database, tenant, what) = (&key.0, key.1, key.2);
        let rate = self.rates.get_mut(key)?;
        let limits = Limits { floors: what.floors(), budget, peers };
        let site = if matches!(what, What::Views { .. } | What::Logins { .. }) {
            rate.site.unwrap_or(tenant)
        } else {
            tenant
        };
        if let Some(over) = rate.over(&limits) {
            return Some(statistical(database, site, what, &over, now));
        }
        let least = match what {
            What::Logins { .. } => LOGINS_MIN,
            What::Views { .. } => VIEWS_MIN,
            _ => return None,
        };
        let observed = rate.in_hours();
        if !rate.is_young() || peers.is_some() || observed < least {
            return None;
        }
        let over = Over {
            window_secs: 7_200,
            observed,
            expected: 0.0,
            threshold: least,
            score: 0.0,
            history_secs: 0,
        };
        let (lead, _) = what.words(&over, site);
        let lead = format!("{lead} within two hours, and nothing is known of the user's past");
        let key = Key { database: super::named(database), tenant: site, what: what.key() };
        let mut signal = Signal::exact(what.rule(), key, Severity::Medium, lead);
        signal.persons = observed;
        signal.confidence = Confidence::Medium;
        signal.scope = scope(database, site);
        Some(signal)
    }

    /// What needs no past.
    fn exact(&mut self, signed: &Signed, now: EventTime, out: &mut Vec<Signal>) {
        let (severity, what, lead) = match &signed.sign {
            Sign::Locked { of: Account::Customer, account } => {
                let locks = self.locked(signed, *account, now);
                let usual = (Arc::clone(&signed.database), signed.tenant, What::Locked);
                let is_usual = self.rates.get(&usual).and_then(Rate::daily).unwrap_or(0.0) >= 0.5;
                let of = of_website(signed.tenant);
                match locks {
                    LOCKS_MIN.. => (
                        Severity::Medium,
                        What::Locked,
                        format!("One customer account{of} was locked {locks} times within a day"),
                    ),
                    _ if is_usual => return,
                    _ => (
                        Severity::Low,
                        What::Locked,
                        format!("A customer account{of} was locked after failed logons"),
                    ),
                }
            }
            Sign::Locked { of: Account::Admin | Account::Api, account } => {
                let locks = self.locked(signed, *account, now);
                let again =
                    if locks > 1 { format!(", {locks} times within a day") } else { String::new() };
                let lead = format!("An admin account was locked after failed logons{again}");
                (Severity::Medium, What::Failed { of: Account::Admin }, lead)
            }
            Sign::Failure { of, failures, .. } if is_step(*failures) => {
                let whose = match of {
                    Account::Customer => "customer account",
                    Account::Admin => "admin account",
                    Account::Api => "account for API tokens",
                };
                let lead = format!("Logons to one {whose} failed {failures} times in a row");
                (Severity::Medium, What::Failed { of: *of }, lead)
            }
            _ => return,
        };
        let tenant = signed.tenant;
        let key = Key { database: super::named(&signed.database), tenant, what: what.key() };
        let mut signal = Signal::exact(RuleId::FailedAccess, key, severity, lead);
        signal.rows = 1;
        signal.is_news = true;
        signal.scope = scope(&signed.database, tenant);
        out.push(signal);
    }

    /// Counts a lock; how many the account had within a day.
    fn locked(&mut self, signed: &Signed, account: u64, now: EventTime) -> u64 {
        let is_fresh = |since: EventTime| now.secs().saturating_sub(since.secs()) < LOCKS_SECS;
        if self.locks.len() >= LOCKS_MAX {
            self.locks.retain(|_, (_, since)| is_fresh(*since));
        }
        while self.locks.len() >= LOCKS_MAX {
            self.locks.pop_first();
        }
        let key = (Arc::clone(&signed.database), account);
        let (count, since) = self.locks.entry(key).or_insert((0, now));
        if !is_fresh(*since) {
            (*count, *since) = (0, now);
        }
        *count = count.saturating_add(1);
        *count
    }

    /// Carts deleted: the nightly job is the hour's usual; at another hour, or many more, it is not.
    fn carts(
        &mut self,
        summary: &Summary,
        now: EventTime,
        per_week: f64,
        stats: &mut Stats,
        out: &mut Vec<Signal>,
    ) {
        for tally in &summary.tallies {
            let is_cart = tally.class == TableClass::Quote && &*tally.table == "quote";
            if !is_cart || tally.is_inferred || tally.counts.deletes == 0 {
                continue;
            }
            let key = (Arc::clone(&tally.database), tally.tenant, What::Carts);
            self.rate(&key, now, stats).add_many(tally.counts.deletes);
            if let Some(mut signal) = self.over(&key, now, per_week) {
                signal.rows = tally.counts.deletes;
                out.push(signal);
            }
        }
    }
}

/// 20, 40, 80, ...
fn is_step(failures: u64) -> bool {
    failures >= FAILURES_MIN
        && failures.is_multiple_of(FAILURES_MIN)
        && (failures / FAILURES_MIN).is_power_of_two()
}

/// What a sign counts for, whose, and the thing.
fn counted(signed: &Signed) -> Option<(What, Tenant, u64)> {
    let tenant = signed.tenant;
    Some(match &signed.sign {
        Sign::Failure { of: Account::Customer, account, .. } => {
            (What::Failed { of: Account::Customer }, tenant, *account)
        }
        Sign::Failure { of, account, .. } => (What::Failed { of: *of }, Tenant::Global, *account),
        Sign::Locked { of: Account::Customer, account } => (What::Locked, tenant, *account),
        Sign::ResetAsked { of, account } => (What::Reset { of: *of }, Tenant::Global, *account),
        Sign::Looked { user, person, by: LookedBy::View } => {
            (What::Views { user: *user }, Tenant::Global, *person)
        }
        Sign::Looked { user, person, by: LookedBy::Login } => {
            (What::Logins { user: *user }, Tenant::Global, *person)
        }
        Sign::Token { person } => (What::Tokens, Tenant::Global, *person),
        _ => return None,
    })
}

fn scope(database: &Arc<str>, tenant: Tenant) -> Scope {
    let tenant = matches!(tenant, Tenant::Website(_)).then_some(tenant);
    Scope { database: Some(Arc::clone(database)), tenant }
}

fn statistical(
    database: &Arc<str>,
    tenant: Tenant,
    what: What,
    over: &Over,
    now: EventTime,
) -> Signal {
    let (words, parameter) = what.words(over, tenant);
    let within = if over.window_secs == 7_200 { "two hours" } else { "a day" };
    let lead = format!(
        "{words} within {within}, where {:.1} are usual and up to {} are tolerated",
        over.expected,
        over.threshold.saturating_sub(1),
    );
    let severity = if over.observed > LARGE { Severity::High } else { Severity::Medium };
    let key = Key { database: super::named(database), tenant, what: what.key() };
    let mut signal = Signal::exact(what.rule(), key, severity, lead);
    let span = i64::try_from(over.window_secs).unwrap_or(0).saturating_mul(1_000_000);
    signal.measure = Some(Measure {
        parameter,
        target: match what {
            What::Views { user } | What::Logins { user } => {
                format!("{} / user {user}", tenant_uid(tenant))
            }
            _ => tenant_uid(tenant),
        },
        window_secs: over.window_secs,
        from: EventTime(now.0.saturating_sub(span)),
        until: now,
        observed: over.observed,
        expected: over.expected,
        threshold: over.threshold,
        score: over.score,
        history_secs: over.history_secs,
    });
    signal.confidence = Confidence::Medium;
    if what != What::Carts {
        signal.persons = over.observed;
    }
    signal.scope = scope(database, tenant);
    signal
}

state_enum!(What {
    0 => Failed { of },
    1 => Locked,
    2 => Reset { of },
    3 => Views { user },
    4 => Logins { user },
    5 => Tokens,
    6 => Carts,
});

impl State for Access {
    fn save(&self, out: &mut Vec<u8>) {
        self.rates.save(out);
        self.locks.save(out);
        self.last.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let rates: BTreeMap<(Arc<str>, Tenant, What), Rate> = State::load(input)?;
        if !rates.values().all(Rate::is_sound) {
            return Err(CheckpointError::Damaged("rate"));
        }
        Ok(Self { rates, locks: State::load(input)?, last: State::load(input)? })
    }
}

//! The statistical side of `bulk-change` and `mass-deletion`.
//!
//! Input: distinct persons per transaction, by (database, tenant, [`Count`]). Output: [`Signal`]s
//! where a transaction, or a window up to it, has far more persons than the tenant's own past
//! allows. One knob: the false alerts a week of the deployment, shared evenly by all counts that
//! live.
//!
//! Two tests: persons in one transaction (from the first second on: Magento writes one person per
//! transaction), and persons per window of 5 minutes to 3 days (after a day of history).
//!
//! # Invariants
//! - Windows are scored at commits by what they hold so far: counts only grow, so an early verdict
//!   stands. Bins close lazily, when the tenant's next transaction comes.
//! - What an alert spoke of is not learned once a tenant is a week old.

mod channel;
mod drift;
pub(crate) mod tail;
mod walk;

use std::{collections::BTreeMap, sync::Arc};

use phiwatch_binlog::EventTime;
use phiwatch_magento::Tenant;

use self::{
    channel::{Age, Channel, Clock, SCALES, Scale, Slot, rounded},
    drift::Drift,
    tail::PerTransaction,
    walk::Walk,
};
use crate::{
    alert::{Confidence, RuleId, Severity},
    finding::{Key, Measure, Signal, tenant_uid},
    persons::{Kinds, Sketch},
    rules::{Excuse, Known, website},
    state::{CheckpointError, Reader, State, state_enum, state_struct},
    stats::Stats,
    summary::{Group, ORDINALS_MAX, Scope, Summary},
};

/// Tenants with a baseline; over it the longest idle one is forgotten.
const TENANTS_MAX: usize = 4096;
const BIN_SECS: i64 = 300;
/// Silence of the whole stream that makes it a new beginning, and how long windows are silent then.
const RESUME_SECS: i64 = 86_400;
/// Bins caught up at most: a longer silence forgets everything but the sums anyway (8 weeks).
const CATCH_UP_MAX: i64 = 16_128;
/// How long a tenant counts as moving in.
const FIRST_DAY_SECS: i64 = 86_400;
/// Persons in one transaction that may alert: by one SQL statement, and otherwise.
const STATEMENT_MIN: u64 = 25;
const TRANSACTION_MIN: u64 = 50;
/// Share of the budget for the test of single transactions.
const TRANSACTION_SHARE: f64 = 0.1;
/// Growth of an excess that was told from which the finding is not quiet.
const GOES_ON: f64 = 1.03;
/// Persons that make a finding a large one.
const PERSONS_LARGE: u64 = 500;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Count {
    /// Customers and addresses inserted or updated.
    Changed,
    OrdersChanged,
    /// Customers and addresses deleted.
    Deleted,
    OrdersDeleted,
    /// The rest is counted per transaction only: carts expire by the thousand at midnight, and
    /// newsletters queue all their readers.
    OtherChanged,
    QuotesChanged,
    QuotesDeleted,
    OtherDeleted,
    /// Customers edited one after the other in the order of their ids.
    Walked,
}

impl Count {
    /// Counted by persons.
    const ALL: [Self; 8] = [
        Self::Changed,
        Self::OrdersChanged,
        Self::Deleted,
        Self::OrdersDeleted,
        Self::OtherChanged,
        Self::QuotesChanged,
        Self::QuotesDeleted,
        Self::OtherDeleted,
    ];

    fn kind(self) -> Kinds {
        match self {
            Self::Changed => Kinds::CHANGED,
            Self::OrdersChanged => Kinds::ORDERS_CHANGED,
            Self::Deleted => Kinds::DELETED,
            Self::OrdersDeleted => Kinds::ORDERS_DELETED,
            Self::OtherChanged => Kinds::OTHER_CHANGED,
            Self::QuotesChanged => Kinds::QUOTES_CHANGED,
            Self::QuotesDeleted => Kinds::QUOTES_DELETED,
            Self::OtherDeleted => Kinds::OTHER_DELETED,
            Self::Walked => Kinds::CHANGED,
        }
    }

    fn is_deletion(self) -> bool {
        matches!(
            self,
            Self::Deleted | Self::OrdersDeleted | Self::QuotesDeleted | Self::OtherDeleted
        )
    }

    fn rule(self) -> RuleId {
        if self.is_deletion() { RuleId::MassDeletion } else { RuleId::BulkChange }
    }

    /// Persons over the expected ones from which a window may alert; None = windows do not count.
    fn floor(self) -> Option<f64> {
        match self {
            Self::Walked => Some(3.0),
            Self::Changed => Some(5.0),
            Self::OrdersChanged | Self::Deleted | Self::OrdersDeleted => Some(10.0),
            Self::OtherChanged | Self::QuotesChanged | Self::QuotesDeleted | Self::OtherDeleted => {
                None
            }
        }
    }

    /// Whether more orders explain more of it.
    fn follows_orders(self) -> bool {
        self != Self::OrdersDeleted
    }

    /// "were ..." in a sentence.
    fn verb(self) -> &'static str {
        match self {
            Self::Changed => "were changed",
            Self::OrdersChanged => "had their orders changed",
            Self::Deleted => "were deleted",
            Self::OrdersDeleted => "had their orders deleted",
            Self::OtherChanged => "had other personal rows changed",
            Self::QuotesChanged => "had their carts changed",
            Self::QuotesDeleted => "had their carts deleted",
            Self::OtherDeleted => "had other personal rows deleted",
            Self::Walked => "were changed one after the other in the order of their ids",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Changed | Self::Deleted | Self::Walked => "customer",
            Self::OrdersChanged | Self::OrdersDeleted => "order",
            Self::OtherChanged | Self::OtherDeleted => "other personal data",
            Self::QuotesChanged | Self::QuotesDeleted => "cart",
        }
    }

    fn parameter(self, in_transaction: bool) -> u8 {
        let window = match self {
            Self::Changed | Self::OtherChanged | Self::QuotesChanged => 0,
            // 9: no statement's persons are counted in order.
            Self::Walked => 9,
            Self::OrdersChanged => 2,
            Self::Deleted | Self::OtherDeleted | Self::QuotesDeleted => 4,
            Self::OrdersDeleted => 6,
        };
        window + u8::from(in_transaction)
    }
}

/// One tenant's counts.
#[derive(Debug, Clone, PartialEq)]
struct Volume {
    since: EventTime,
    last: EventTime,
    /// Open 5-minute bin since 1970.
    bin: i64,
    clock: Clock,
    channels: BTreeMap<Count, Channel>,
    orders: Channel,
    per_transaction: BTreeMap<Count, PerTransaction>,
    /// Persons ever seen.
    known: Sketch,
    /// How many they were when last counted, and edits since.
    known_count: (f64, u64),
    walk: Walk,
    drift: Drift,
}

/// All tenants' counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Volumes {
    tenants: BTreeMap<(Arc<str>, Tenant), Volume>,
    /// Counts that live, over all tenants: the budget's divisor.
    live: usize,
    /// Time of the last committed transaction of any tenant.
    last: Option<EventTime>,
    /// Windows are silent until then: the stream had stopped.
    silent_until: Option<EventTime>,
}

impl Known for Volumes {
    fn persons(&self, database: &Arc<str>) -> f64 {
        let of = self.tenants.iter().filter(|((name, _), _)| name == database);
        of.map(|(_, volume)| volume.known.estimate()).sum()
    }
}

impl Volumes {
    pub(crate) fn keys(&self) -> usize {
        self.live
    }

    /// Judges and learns a committed transaction.
    pub(crate) fn judge(
        &mut self,
        summary: &Summary,
        now: EventTime,
        per_week: f64,
        excuse: &Excuse,
        stats: &mut Stats,
    ) -> Vec<Signal> {
        let mut signals = Vec::new();
        self.resume(now);
        let is_silent = self.silent_until.is_some_and(|until| now < until);
        for group in &summary.groups {
            let id = (Arc::clone(&group.database), group.tenant);
            self.make_room(&id, stats);
            let live = self.live;
            let volume = self.tenants.entry(id).or_insert_with(|| Volume::new(now));
            let before = volume.live();
            volume.advance(now);
            let budget = per_week.clamp(0.001, 1000.0) / live.max(1) as f64;
            let mut judge = Judge { volume, group, summary, now, budget, excuse, is_silent, stats };
            signals.extend(judge.run());
            self.live = live + volume.live() - before;
        }
        stats.keys = u64::try_from(self.live).unwrap_or(u64::MAX);
        signals
    }

    /// A stream without any transaction for a day was not read, or its server stood still: the
    /// silence teaches nothing, and what comes after it is not measured against it.
    fn resume(&mut self, now: EventTime) {
        let silence = self.last.map_or(0, |last| now.secs().saturating_sub(last.secs()));
        self.last = Some(now);
        if silence < RESUME_SECS {
            return;
        }
        self.silent_until = Some(EventTime(now.0.saturating_add(RESUME_SECS * 1_000_000)));
        for volume in self.tenants.values_mut() {
            volume.resume(now, silence);
        }
    }

    fn make_room(&mut self, id: &(Arc<str>, Tenant), stats: &mut Stats) {
        if self.tenants.len() < TENANTS_MAX || self.tenants.contains_key(id) {
            return;
        }
        let idle = self.tenants.iter().min_by_key(|(id, volume)| (volume.last, *id));
        let Some(idle) = idle.map(|(id, _)| id.clone()) else { return };
        if let Some(volume) = self.tenants.remove(&idle) {
            self.live = self.live.saturating_sub(volume.live());
            stats.keys_evicted += 1;
        }
    }
}

impl Volume {
    fn new(now: EventTime) -> Self {
        let bin = now.secs().div_euclid(BIN_SECS);
        Self {
            since: now,
            last: now,
            bin,
            clock: Clock::new(),
            channels: BTreeMap::new(),
            orders: Channel::new(),
            per_transaction: BTreeMap::new(),
            known: Sketch::new(),
            known_count: (0.0, 0),
            walk: Walk::default(),
            drift: Drift::default(),
        }
    }

    fn live(&self) -> usize {
        self.channels.len()
    }

    fn history_secs(&self, now: EventTime) -> i64 {
        now.secs().saturating_sub(self.since.secs()).max(0)
    }

    /// Persons known, for so many further edits: counted each hour, and while they still grow fast.
    fn known_persons(&mut self, edits: usize) -> f64 {
        let (known, since) = &mut self.known_count;
        *since = since.saturating_add(u64::try_from(edits).unwrap_or(u64::MAX));
        if *since as f64 > known.max(16.0) {
            self.known_count = (self.known.estimate(), 0);
        }
        self.known_count.0
    }

    fn age_at(&self, bin: i64) -> Age {
        let secs = (bin * BIN_SECS).saturating_sub(self.since.secs());
        match secs {
            ..86_400 => Age::New,
            86_400..604_800 => Age::Learning,
            _ => Age::Grown,
        }
    }

    /// Goes on after a silence (seconds) of the whole stream, without learning from it. After a
    /// week of it the tenant is learned anew, from the old base.
    fn resume(&mut self, now: EventTime, silence: i64) {
        self.bin = self.bin.max(now.secs().div_euclid(BIN_SECS));
        if silence >= 604_800 {
            self.since = now;
        }
        let slot = Slot::of(self.bin);
        self.orders.restart(slot, &self.clock);
        for channel in self.channels.values_mut() {
            channel.restart(slot, &self.clock);
        }
    }

    /// Closes the bins before `now`.
    fn advance(&mut self, now: EventTime) {
        self.last = now;
        let until = now.secs().div_euclid(BIN_SECS);
        self.bin = self.bin.max(until.saturating_sub(CATCH_UP_MAX));
        while self.bin < until {
            self.close_bin();
            self.bin += 1;
        }
    }

    fn close_bin(&mut self) {
        let slot = Slot::of(self.bin);
        let age = self.age_at(self.bin);
        let ends_hour = self.bin.rem_euclid(12) == 11;
        let next = Slot::of(self.bin + 1);
        let changed = self.channels.get(&Count::Changed).map_or(0, Channel::open);
        let counts: Vec<Count> = self.channels.keys().copied().collect();
        for count in counts {
            let means = SCALES.map(|scale| self.mean(count, scale));
            if let Some(channel) = self.channels.get_mut(&count) {
                channel.close_bin(slot, &means, ends_hour, age);
                if ends_hour {
                    channel.close_hour(slot, &self.clock);
                }
            }
        }
        self.drift.add(changed, self.orders.open());
        let means = SCALES.map(|scale| self.orders.expected(scale));
        self.orders.close_bin(slot, &means, ends_hour, age);
        if ends_hour {
            self.orders.close_hour(slot, &self.clock);
            self.clock.close_hour(slot);
            self.orders.begin_hour(next, &self.clock);
            self.known_count = (self.known.estimate(), 0);
            for channel in self.channels.values_mut() {
                channel.begin_hour(next, &self.clock);
            }
            if next.hour == 0 {
                // In its first week a tenant teaches what is usual, told or not: its nightly jobs.
                let is_learned = age != Age::Grown;
                self.per_transaction.values_mut().for_each(|learned| learned.end_day(is_learned));
            }
            if next.hour_of_week == 0 {
                self.drift.end_week();
                self.per_transaction.values_mut().for_each(PerTransaction::decay);
            }
        }
    }

    /// Expected count of a window, with the activity of orders and what recurs at this hour.
    fn mean(&self, count: Count, scale: Scale) -> f64 {
        let Some(channel) = self.channels.get(&count) else { return 0.001 };
        let mut mu = channel.expected(scale);
        if count.follows_orders() {
            // A sale brings orders and sign-ups alike; the shortest window borrows the hour's.
            let long = if scale.index == 0 { SCALES[1] } else { scale };
            let orders = self.orders.observed(long) as f64;
            mu *= ((orders + 20.0) / (self.orders.expected(long) + 20.0)).clamp(1.0, 20.0);
        }
        let days = (self.bin * BIN_SECS).saturating_sub(self.since.secs()) / 86_400;
        let days = usize::try_from(days).unwrap_or_default();
        let recurring = channel.recurring(scale, Slot::of(self.bin), days);
        mu.max(recurring as f64)
    }
}

/// What may be expected of an hour of a tenant without any history.
#[derive(Debug, Clone, Copy)]
struct Prior {
    mean: f64,
    dispersion: f64,
    /// Persons over the mean from which it may alert.
    floor: f64,
}

impl Volume {
    /// For counts that are small in every shop: edits in the order of ids are chance, and the shop
    /// itself deletes no customer (both by the hour's edits).
    fn prior(&self, count: Count) -> Option<Prior> {
        let edited = self.channels.get(&Count::Changed);
        let edited = edited.map_or(0, |channel| channel.observed(SCALES[1])) as f64;
        match count {
            Count::Walked => {
                Some(Prior { mean: (0.1 * edited).max(5.0), dispersion: 0.3, floor: 100.0 })
            }
            Count::Deleted => {
                Some(Prior { mean: (0.05 * edited).max(5.0), dispersion: 1.0, floor: 50.0 })
            }
            _ => None,
        }
    }
}

/// One group of one transaction against its tenant's past.
struct Judge<'a> {
    volume: &'a mut Volume,
    group: &'a Group,
    summary: &'a Summary,
    now: EventTime,
    /// Alerts a week for one count.
    budget: f64,
    excuse: &'a Excuse,
    is_silent: bool,
    stats: &'a mut Stats,
}

/// A window that has too many.
struct Over {
    scale: Scale,
    observed: u64,
    mu: f64,
    a: f64,
    score: f64,
    wanted: f64,
    /// Persons over `mu` from which it may alert.
    floor: f64,
    /// Told already; it only grows on.
    goes_on: bool,
}

impl Over {
    fn excess(&self) -> f64 {
        self.observed as f64 - self.mu
    }

    /// New things before those that go on, then by how far they are over.
    fn rank(&self) -> (bool, f64) {
        (!self.goes_on, self.score / self.wanted)
    }
}

impl Judge<'_> {
    fn run(&mut self) -> Vec<Signal> {
        let mut best: BTreeMap<RuleId, Signal> = BTreeMap::new();
        for count in Count::ALL {
            let persons = self.group.persons.of(count.kind());
            if persons == 0 {
                continue;
            }
            let signal = self.transaction(count, persons).or_else(|| self.window(count));
            if let Some(signal) = signal {
                // One act, one finding: the count with the most persons leads.
                let weaker = best.get(&signal.rule).is_none_or(|other| {
                    (other.severity, other.persons) < (signal.severity, signal.persons)
                });
                if weaker {
                    best.insert(signal.rule, signal);
                }
            }
        }
        let reported = self.drifted();
        if let Some(signal) = self.walked() {
            best.entry(signal.rule).or_insert(signal);
        }
        self.volume.orders.rows(self.group.orders);
        self.group.persons.feed(&mut self.volume.known);
        best.into_values().chain(reported).collect()
    }

    /// The week's report of changes per order: severity 1, a finding of its own.
    fn drifted(&mut self) -> Option<Signal> {
        let report = self.volume.drift.report.take()?;
        let measure = Measure {
            parameter: 0,
            target: format!("{} / changes per order", tenant_uid(self.group.tenant)),
            window_secs: report.current * 604_800,
            from: EventTime(self.now.0.saturating_sub_unsigned(report.current * 604_800_000_000)),
            until: self.now,
            observed: report.changed,
            expected: report.expected,
            threshold: report.changed,
            score: report.z,
            history_secs: u64::try_from(self.volume.history_secs(self.now)).unwrap_or_default(),
        };
        let lead = format!(
            "{} persons of {} were changed in {} weeks, where {:.0} fit its orders as they did up \
             to {} weeks ago ({:.1} standard deviations)",
            report.changed,
            website(self.group.tenant),
            report.current,
            report.expected,
            report.weeks,
            report.z,
        );
        let mut signal = self.signal(Count::Changed, Severity::Informational, 0, lead, measure);
        signal.key.what = "changes per order".to_owned();
        signal.confidence = Confidence::Low;
        Some(signal)
    }

    /// Customers in the order of their ids, over transactions of few.
    fn walked(&mut self) -> Option<Signal> {
        let ordinals = &self.group.ordinals;
        if ordinals.is_empty() || ordinals.len() >= ORDINALS_MAX || self.excuse.reason.is_some() {
            return None;
        }
        let known = self.volume.known_persons(ordinals.len());
        let walk = &mut self.volume.walk;
        let steps = ordinals.iter().filter(|who| walk.step(**who, known)).count();
        if steps == 0 {
            return None;
        }
        open_channel(self.volume, Count::Walked).rows(u64::try_from(steps).unwrap_or(u64::MAX));
        self.window(Count::Walked)
    }

    /// Persons in this one transaction.
    fn transaction(&mut self, count: Count, persons: u64) -> Option<Signal> {
        if self.is_first_load() {
            return None;
        }
        let widest = &self.summary.widest;
        let is_statement = widest.columns.is_some() && widest.persons >= STATEMENT_MIN;
        let floor = if is_statement { STATEMENT_MIN } else { TRANSACTION_MIN };
        let learned = self.volume.per_transaction.entry(count).or_insert_with(PerTransaction::new);
        let tests = learned.transactions.max(1000.0);
        let wanted = libm::log10(tests / (self.budget * TRANSACTION_SHARE));
        // Nearly every transaction has one person: its score is not worth its sums.
        let score = if persons < floor { 0.0 } else { learned.score(persons) };
        if persons < floor || score < wanted {
            if self.excuse.reason.is_none() {
                learned.learn(persons);
                self.count(count);
            }
            return None;
        }
        let (usual, threshold) = (learned.mean(), learned.threshold(floor, wanted));
        learned.told(persons);
        let measure = Measure {
            parameter: count.parameter(true),
            target: format!("{} / {}", tenant_uid(self.group.tenant), count.noun()),
            window_secs: 0,
            from: self.now,
            until: self.now,
            observed: persons,
            expected: usual,
            threshold,
            score,
            history_secs: u64::try_from(self.volume.history_secs(self.now)).unwrap_or_default(),
        };
        let about = if self.group.persons.total().1 { "" } else { "About " };
        let how = if is_statement { "one statement" } else { "one transaction" };
        let lead = format!(
            "{about}{persons} distinct persons of {} {} by {how}, where {usual:.1} in a \
             transaction are usual",
            website(self.group.tenant),
            count.verb(),
        );
        let severity = self.severity(persons, self.is_most_of_tenant(persons));
        Some(self.signal(count, severity, persons, lead, measure))
    }

    /// Whether the tenant is in its first day and the transaction only adds rows: a shop that is
    /// set up or moved in. Nobody's data is touched by its own arrival, and it teaches nothing.
    fn is_first_load(&self) -> bool {
        let age = self.now.secs().saturating_sub(self.volume.since.secs());
        let mut tallies = self.summary.tallies.iter().filter(|tally| {
            tally.tenant == self.group.tenant
                && tally.database == self.group.database
                && tally.class.is_personal()
        });
        age < FIRST_DAY_SECS
            && self.group.persons.total().0 >= STATEMENT_MIN
            && tallies.all(|tally| tally.counts.updates == 0 && tally.counts.deletes == 0)
    }

    /// Adds the transaction's persons to the open bin.
    fn count(&mut self, count: Count) {
        if count.floor().is_none() {
            return;
        }
        let persons = &self.group.persons;
        let channel = open_channel(self.volume, count);
        let mut people = Vec::new();
        persons.each(count.kind(), |person| people.push(person), |all| channel.merge(all));
        people.into_iter().for_each(|person| channel.person(person));
        channel.settle();
    }

    /// Persons in the windows that end with this transaction: the scale that is most over.
    fn window(&mut self, count: Count) -> Option<Signal> {
        let floor = count.floor()?;
        let bin = self.volume.bin;
        let age = self.volume.age_at(bin);
        if self.is_silent || self.excuse.reason.is_some() {
            return None;
        }
        let mut worst: Option<Over> = None;
        for scale in SCALES {
            let is_ready = match age {
                Age::New => scale.index == 1,
                Age::Learning => scale.index <= 1,
                Age::Grown => true,
            };
            if !is_ready {
                continue;
            }
            if let Some(over) = self.over(count, scale, floor, age)
                && worst.as_ref().is_none_or(|worst| worst.rank() < over.rank())
            {
                worst = Some(over);
            }
        }
        let over = worst?;
        let channel = self.volume.channels.get_mut(&count)?;
        if over.goes_on {
            channel.go_on(over.scale, over.excess(), bin);
        } else {
            channel.speak(over.excess(), bin);
        }
        let mut signal = self.over_signal(count, &over, over.excess());
        signal.is_follow_up = over.goes_on;
        Some(signal)
    }

    fn over(&mut self, count: Count, scale: Scale, floor: f64, age: Age) -> Option<Over> {
        let channel = self.volume.channels.get(&count)?;
        let observed = channel.observed(scale);
        // Cheap bound first: nearly every commit ends here.
        if (observed as f64) < channel.expected(scale) + floor {
            return None;
        }
        let prior = self.volume.prior(count);
        let (floor, mu) = match (age, prior) {
            (Age::New, Some(prior)) => (prior.floor, prior.mean),
            (Age::New, None) => return None,
            _ => (floor, self.volume.mean(count, scale)),
        };
        let excess = observed as f64 - mu;
        let (told, largest) = channel.spoken(scale, self.volume.bin);
        let goes_on = excess < 1.5 * told;
        if excess < floor || (goes_on && excess < GOES_ON * largest) {
            return None;
        }
        let slot = Slot::of(self.volume.bin);
        let mut a = match prior.filter(|_| age == Age::New) {
            Some(prior) => prior.dispersion,
            None => channel.dispersion(scale, slot, mu, age),
        };
        if channel.is_estimate() {
            let error = 0.02 * observed as f64 / mu;
            a += error * error;
        }
        let wanted = libm::log10(scale.tests / (self.budget * scale.share));
        let Some(score) = tail::score(observed, mu, a) else {
            self.stats.scores_failed += 1;
            return None;
        };
        (score >= wanted).then_some(Over { scale, observed, mu, a, score, wanted, floor, goes_on })
    }

    fn over_signal(&self, count: Count, over: &Over, excess: f64) -> Signal {
        let least = rounded(over.mu + over.floor);
        let from = self.window_start(over.scale);
        let measure = Measure {
            parameter: count.parameter(false),
            target: format!("{} / {}", tenant_uid(self.group.tenant), count.noun()),
            window_secs: over.scale.secs,
            from,
            until: self.now,
            observed: over.observed,
            expected: over.mu,
            threshold: tail::threshold(least, over.mu, over.a, over.wanted),
            score: over.score,
            history_secs: u64::try_from(self.volume.history_secs(self.now)).unwrap_or_default(),
        };
        let lead = format!(
            "{} distinct persons of {} {} within {}, where {:.1} are usual and up to {} are \
             tolerated",
            over.observed,
            website(self.group.tenant),
            count.verb(),
            span(over.scale),
            over.mu,
            measure.threshold.saturating_sub(1),
        );
        let persons = rounded(excess);
        let is_most = self.volume.history_secs(self.now) >= 604_800
            && excess > 0.5 * self.volume.known.estimate().max(100.0);
        self.signal(count, self.severity(persons, is_most), persons, lead, measure)
    }

    fn window_start(&self, scale: Scale) -> EventTime {
        let bins = i64::try_from(scale.secs / 300).unwrap_or(864);
        let bin = self.volume.bin;
        let first =
            if scale.index < 2 { bin + 1 - bins } else { bin.div_euclid(12) * 12 + 12 - bins };
        EventTime(first.saturating_mul(BIN_SECS * 1_000_000))
    }

    fn severity(&self, persons: u64, is_most: bool) -> Severity {
        if is_most {
            Severity::Critical
        } else if persons > PERSONS_LARGE {
            Severity::High
        } else {
            Severity::Medium
        }
    }

    /// Whether more than half of the persons known of the tenant are in this transaction. What is
    /// known may be a small part of all, but a part of the same tenant: half of it says half of all.
    fn is_most_of_tenant(&self, persons: u64) -> bool {
        if persons < STATEMENT_MIN {
            return false;
        }
        let known = self.volume.known.estimate();
        let touched = self.group.persons.as_sketch();
        let mut both = touched.clone();
        both.merge(&self.volume.known);
        let common = known + touched.estimate() - both.estimate();
        known >= 50.0 && common > 0.5 * known
    }

    fn signal(
        &self,
        count: Count,
        severity: Severity,
        persons: u64,
        lead: String,
        measure: Measure,
    ) -> Signal {
        let database = (!self.group.database.is_empty()).then(|| Arc::clone(&self.group.database));
        let scope = Scope { database: database.clone(), tenant: Some(self.group.tenant) };
        let window_secs = measure.window_secs;
        let mut signal = Signal {
            rule: count.rule(),
            key: Key { database, tenant: self.group.tenant, what: String::new() },
            severity,
            confidence: if window_secs == 0 { Confidence::High } else { Confidence::Medium },
            lead,
            measure: Some(measure),
            phi: self.group.phi,
            // A window's rows came in many transactions; its persons say how it grows.
            rows: if window_secs == 0 {
                self.summary.rows_of(self.group, count.is_deletion())
            } else {
                0
            },
            persons,
            own: None,
            evidence: None,
            scope,
            kind: Some(count.kind()),
            benign: None,
            is_follow_up: false,
            is_news: window_secs == 0,
            aspects: std::collections::BTreeSet::new(),
            operator: None,
        };
        if let Some(reason) = &self.excuse.reason {
            signal.severity = Severity::Informational;
            signal.benign = Some(reason.clone());
        }
        signal
    }
}

fn open_channel(volume: &mut Volume, count: Count) -> &mut Channel {
    let (bin, clock) = (volume.bin, &volume.clock);
    volume.channels.entry(count).or_insert_with(|| {
        let mut channel = Channel::new();
        channel.begin_hour(Slot::of(bin), clock);
        channel
    })
}

fn span(scale: Scale) -> &'static str {
    match scale.index {
        0 => "5 minutes",
        1 => "1 hour",
        2 => "6 hours",
        3 => "1 day",
        _ => "3 days",
    }
}

state_enum!(Count {
    0 => Changed,
    1 => OrdersChanged,
    2 => Deleted,
    3 => OrdersDeleted,
    4 => OtherChanged,
    5 => QuotesChanged,
    6 => QuotesDeleted,
    7 => OtherDeleted,
    8 => Walked,
});
state_struct!(Volume {
    since,
    last,
    bin,
    clock,
    channels,
    orders,
    per_transaction,
    known,
    known_count since 3,
    walk since 3,
    drift since 3,
});

impl State for Volumes {
    fn save(&self, out: &mut Vec<u8>) {
        self.tenants.save(out);
        self.last.save(out);
        self.silent_until.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let tenants: BTreeMap<(Arc<str>, Tenant), Volume> = State::load(input)?;
        for volume in tenants.values() {
            volume.orders.check()?;
            volume.walk.check()?;
            volume.drift.check()?;
            volume.channels.values().try_for_each(Channel::check)?;
            let are_sound = volume.clock.is_sound()
                && volume.per_transaction.values().all(PerTransaction::is_sound);
            if !are_sound {
                return Err(CheckpointError::Damaged("volume"));
            }
        }
        let live = tenants.values().map(Volume::live).sum();
        Ok(Self { tenants, live, last: State::load(input)?, silent_until: State::load(input)? })
    }
}

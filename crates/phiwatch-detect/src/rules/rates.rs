//! Counts of distinct things per hour and day against the key's own past.
//!
//! Input: things (tokens) with their event time, by key. Output: whether the present hour (with the
//! one before) or the last day holds far more of them than that hour of the day usually does.
//!
//! A thing counts again after a day. Counts are negative binomial around the key's mean at that hour
//! of the day; what is far over the mean is cut before it is learned, so that an attack does not
//! teach itself.
//!
//! # Invariants
//! - Counts only grow within a window, so an early verdict stands.
//! - Memory: at most [`ITEMS_MAX`] things are told apart per key; further ones count as new.

use std::collections::{BTreeMap, VecDeque};

use phiwatch_magento::Tenant;

use crate::{state::state_struct, volume::tail};

/// Things told apart per key within a day.
const ITEMS_MAX: usize = 4096;
const HOURS: i64 = 24;
/// Hours caught up at most: a longer silence forgets the rest.
const CATCH_UP_MAX: i64 = 24 * 28;
/// Tests a week: two windows, each hour.
const TESTS: f64 = 336.0;
/// Least mean of an hour.
const MEAN_MIN: f64 = 0.02;
/// Hours of history before a key is judged by its own past.
const YOUNG_HOURS: i64 = 24;

/// One key's counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rate {
    /// First and open hour, since 1970.
    since: i64,
    hour: i64,
    /// New things of the open hour.
    open: u64,
    /// New things of the hours before it, the latest last.
    recent: VecDeque<u64>,
    /// Things of the last day, and the hour in which they counted.
    items: BTreeMap<u64, i64>,
    /// Mean per hour of the day.
    profile: Vec<f64>,
    /// Mean per hour.
    mean: f64,
    /// Variance over Poisson's, and square of the mean, averaged: their ratio is the dispersion.
    excess: f64,
    square: f64,
    /// Whose things these are: one tenant's, or of several.
    pub(crate) site: Option<Tenant>,
    /// Hour in which an alert was told.
    told: i64,
}

/// What is needed to alert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Things over the mean, in an hour and in a day.
    pub(crate) floors: (f64, f64),
    /// False alerts a week for this key.
    pub(crate) budget: f64,
    /// Mean per hour of keys like it, for a key without a past.
    pub(crate) peers: Option<f64>,
}

/// A window that holds too many.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Over {
    pub(crate) window_secs: u64,
    pub(crate) observed: u64,
    pub(crate) expected: f64,
    pub(crate) threshold: u64,
    pub(crate) score: f64,
    pub(crate) history_secs: u64,
}

impl Rate {
    pub(crate) fn new(secs: i64) -> Self {
        let hour = secs.div_euclid(3_600);
        Self {
            since: hour,
            hour,
            open: 0,
            recent: VecDeque::new(),
            items: BTreeMap::new(),
            profile: vec![0.0; 24],
            mean: 0.0,
            excess: 0.0,
            square: 0.0,
            site: None,
            told: i64::MIN,
        }
    }

    /// Event time of the last call, in hours.
    pub(crate) fn hour(&self) -> i64 {
        self.hour
    }

    /// Mean per hour; None while the key is young.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.age() >= 2 * YOUNG_HOURS).then_some(self.mean)
    }

    /// Mean per day; None before a week.
    pub(crate) fn daily(&self) -> Option<f64> {
        (self.age() >= 7 * HOURS).then_some(self.mean * 24.0)
    }

    fn age(&self) -> i64 {
        self.hour.saturating_sub(self.since)
    }

    /// Closes the hours before `secs`.
    pub(crate) fn advance(&mut self, secs: i64) {
        let hour = secs.div_euclid(3_600);
        if hour <= self.hour {
            return;
        }
        if hour - self.hour > CATCH_UP_MAX {
            self.hour = hour - CATCH_UP_MAX;
            self.recent.clear();
        }
        while self.hour < hour {
            self.close();
            self.hour += 1;
        }
        let day = hour - HOURS;
        self.items.retain(|_, counted| *counted > day);
    }

    /// The stream stood still until `secs`: the silence teaches nothing.
    pub(crate) fn resume(&mut self, secs: i64) {
        let hour = secs.div_euclid(3_600);
        if hour > self.hour {
            self.since = self.since.saturating_add(hour - self.hour);
            self.hour = hour;
            self.open = 0;
            self.recent.clear();
            self.items.clear();
        }
    }

    fn close(&mut self) {
        let mu = self.expected(self.hour, None);
        let is_grown = self.age() >= 2 * YOUNG_HOURS;
        let count = self.open as f64;
        let most = mu + 4.0 * libm::sqrt(mu + self.dispersion() * mu * mu) + 4.0;
        let count = if is_grown { count.min(most) } else { count };
        let hours = self.age() as f64;
        let slot = usize::try_from(self.hour.rem_euclid(HOURS)).unwrap_or(0);
        let share = (1.0 / (1.0 + (hours / 24.0))).max(1.0 / 14.0);
        if let Some(mean) = self.profile.get_mut(slot) {
            *mean += share * (count - *mean);
        }
        let share = (1.0 / (1.0 + hours)).max(1.0 / 336.0);
        self.mean += share * (count - self.mean);
        self.excess += share * ((count - mu) * (count - mu) - mu - self.excess);
        self.square += share * (mu * mu - self.square);
        self.recent.push_back(self.open);
        if self.recent.len() > 24 {
            self.recent.pop_front();
        }
        self.open = 0;
    }

    fn dispersion(&self) -> f64 {
        if self.square > 1e-9 { (self.excess / self.square).clamp(0.2, 4.0) } else { 1.0 }
    }

    /// Mean of an hour. Jobs drift into the next hour, and summer time moves them by one.
    fn expected(&self, hour: i64, peers: Option<f64>) -> f64 {
        let at = |hour: i64| {
            let slot = usize::try_from(hour.rem_euclid(HOURS)).unwrap_or(0);
            self.profile.get(slot).copied().unwrap_or(0.0)
        };
        let local = at(hour).max(0.7 * at(hour - 1)).max(0.7 * at(hour + 1));
        let days = (self.age() as f64 / 24.0).max(0.0);
        let trust = days / (days + 3.0);
        let own = trust * local + (1.0 - trust) * self.mean;
        own.max(peers.unwrap_or(0.0)).max(MEAN_MIN)
    }

    /// Counts a thing, if it did not within a day.
    pub(crate) fn add(&mut self, item: u64, tenant: Tenant) {
        if self.hour.saturating_sub(self.told) > HOURS {
            let is_first = self.items.is_empty() || self.site.is_none();
            if is_first {
                self.site = Some(tenant);
            } else if self.site != Some(tenant) {
                self.site = Some(Tenant::Global);
            }
        }
        if self.items.contains_key(&item) {
            return;
        }
        if self.items.len() < ITEMS_MAX {
            self.items.insert(item, self.hour);
        }
        self.open += 1;
    }

    /// Counts things that are not told apart.
    pub(crate) fn add_many(&mut self, count: u64) {
        self.open = self.open.saturating_add(count);
    }

    /// Distinct things of this hour and the one before.
    pub(crate) fn in_hours(&self) -> u64 {
        self.open + self.recent.back().copied().unwrap_or(0)
    }

    /// Whether the key has no past of its own yet.
    pub(crate) fn is_young(&self) -> bool {
        self.age() < YOUNG_HOURS
    }

    /// The window that is most over, if one is. None without a past, if there are no peers.
    pub(crate) fn over(&mut self, limits: &Limits) -> Option<Over> {
        if self.is_young() && limits.peers.is_none() {
            return None;
        }
        let peers = limits.peers.filter(|_| self.is_young());
        let a = if self.age() < 7 * HOURS { self.dispersion().max(1.0) } else { self.dispersion() };
        let two = self.expected(self.hour, peers) + self.expected(self.hour - 1, peers);
        let hours = self.judge(7_200, self.in_hours(), two, a, limits.floors.0, limits.budget);
        let day = self.recent.iter().sum::<u64>() + self.open;
        let mean = (25.0 * self.mean.max(peers.unwrap_or(0.0))).max(25.0 * MEAN_MIN);
        let day = self.judge(90_000, day, mean, (a / 3.0).max(0.2), limits.floors.1, limits.budget);
        let over = match (hours, day) {
            (Some(hours), Some(day)) if day.score > hours.score => Some(day),
            (hours, day) => hours.or(day),
        };
        if over.is_some() {
            self.told = self.hour;
        }
        over
    }

    fn judge(
        &self,
        window_secs: u64,
        observed: u64,
        mu: f64,
        a: f64,
        floor: f64,
        budget: f64,
    ) -> Option<Over> {
        if (observed as f64) < mu + floor {
            return None;
        }
        let wanted = libm::log10(TESTS / budget.max(1e-12));
        let score = tail::score(observed, mu, a)?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean of counts, not negative"
        )]
        let least = libm::ceil(mu + floor) as u64;
        let history = u64::try_from(self.age()).unwrap_or(0);
        (score >= wanted).then(|| Over {
            window_secs,
            observed,
            expected: mu,
            threshold: tail::threshold(least, mu, a, wanted),
            score,
            history_secs: history * 3_600,
        })
    }

    /// Whether a loaded one can be gone on with.
    pub(crate) fn is_sound(&self) -> bool {
        const HOURS_MAX: i64 = 1 << 40;
        const COUNT_MAX: u64 = 1 << 48;
        self.profile.len() == 24
            && self.profile.iter().all(|mean| *mean >= 0.0)
            && self.mean >= 0.0
            && self.since <= self.hour
            && (-HOURS_MAX..HOURS_MAX).contains(&self.hour)
            && self.since > -HOURS_MAX
            && self.recent.len() <= 24
            && self.recent.iter().all(|count| *count < COUNT_MAX)
            && self.open < COUNT_MAX
            && self.items.len() <= ITEMS_MAX
    }
}

state_struct!(Rate { since, hour, open, recent, items, profile, mean, excess, square, site, told });

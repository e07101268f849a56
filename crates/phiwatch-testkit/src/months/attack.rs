//! Attacks: persons taken one by one, in the order of their ids.

use rand::RngExt as _;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};

use super::{
    BIN_SECS, DAY, HOUR, WEEK,
    model::{Tenant, poisson},
};

/// What is done to the persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Their rows are changed.
    Change,
    /// They are deleted.
    Delete,
}

/// A kind of attack.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name in reports.
    pub name: &'static str,
    deed: Deed,
    /// Share of the tenant's persons, in all or an hour.
    share: f64,
    is_an_hour: bool,
    bins: usize,
    in_quietest_hour: bool,
    is_ramp: bool,
    /// Growth a day on top of the ordinary changes, of ordinary persons, from the fifth week to the
    /// end: it means to teach the baseline.
    growth: f64,
}

const fn total(name: &'static str, deed: Deed, share: f64, bins: usize) -> Kind {
    Kind {
        name,
        deed,
        share,
        is_an_hour: false,
        bins,
        in_quietest_hour: false,
        is_ramp: false,
        growth: 0.0,
    }
}

const fn hourly(name: &'static str, deed: Deed, share: f64, hours: usize) -> Kind {
    let bins = hours * HOUR;
    Kind {
        name,
        deed,
        share,
        is_an_hour: true,
        bins,
        in_quietest_hour: false,
        is_ramp: false,
        growth: 0.0,
    }
}

/// The kinds that are scored.
pub const KINDS: [Kind; 11] = [
    total("100 % in 20 minutes", Deed::Change, 1.0, 4),
    total("10 % in ten minutes", Deed::Change, 0.1, 2),
    total("1 % in ten minutes", Deed::Change, 0.01, 2),
    total("0.1 % in ten minutes", Deed::Change, 0.001, 2),
    Kind {
        in_quietest_hour: true,
        ..total("0.3 % in the quietest hour", Deed::Change, 0.003, HOUR)
    },
    hourly("0.1 % an hour for 3 days", Deed::Change, 0.001, 72),
    hourly("0.02 % an hour for 7 days", Deed::Change, 0.0002, 168),
    Kind {
        is_ramp: true,
        ..hourly("a ramp to 0.1 % an hour over 2 weeks", Deed::Change, 0.001, 336)
    },
    total("5 % deleted in ten minutes", Deed::Delete, 0.05, 2),
    hourly("0.05 % an hour deleted for 3 days", Deed::Delete, 0.0005, 72),
    Kind { growth: 0.01, ..total("slow poisoning, 1 % a day", Deed::Change, 0.0, 1) },
];

/// One attack on one tenant.
#[derive(Debug, Clone)]
pub struct Attack {
    /// Its kind.
    pub kind: Kind,
    /// First bin.
    pub from: usize,
    /// One after the last bin.
    pub until: usize,
    /// Ordinal of the first person taken.
    first: u64,
    /// Persons taken, by bin from `from` on.
    counts: Vec<u32>,
}

impl Attack {
    /// Draws the attack on a tenant, in the weeks after the first four, with room for its length.
    #[must_use]
    pub fn on(tenant: &Tenant, kind: Kind) -> Self {
        let name =
            kind.name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
        let mut random = ChaCha8Rng::seed_from_u64(tenant.seed ^ name);
        if kind.growth > 0.0 {
            return Self::poison(tenant, kind, &mut random);
        }
        let last = tenant.bins.len() - kind.bins - 1;
        let mut from = random.random_range((4 * WEEK).min(last)..last);
        if kind.in_quietest_hour {
            from = tenant.quietest(from).min(last);
        }
        let hours = if kind.is_an_hour { HOUR } else { kind.bins } as f64;
        let rate = tenant.persons as f64 * kind.share / hours;
        let counts = (0..kind.bins)
            .map(|bin| {
                let part = if kind.is_ramp { bin as f64 / (kind.bins - 1) as f64 } else { 1.0 };
                poisson(&mut random, rate * part)
            })
            .collect();
        let first = random.random_range(0..tenant.persons);
        Self { kind, from, until: from + kind.bins, first, counts }
    }

    fn poison(tenant: &Tenant, kind: Kind, random: &mut ChaCha8Rng) -> Self {
        let (from, until) = ((4 * WEEK).min(tenant.bins.len()), tenant.bins.len());
        let counts = (from..until)
            .map(|bin| {
                let days = (bin - from) as f64 / DAY as f64;
                let extra = (1.0 + kind.growth).powf(days) - 1.0;
                poisson(random, f64::from(tenant.bins[bin].changed) * extra)
            })
            .collect();
        Self { kind, from, until, first: 0, counts }
    }

    /// Whether it takes persons here and there, as ordinary traffic does.
    #[must_use]
    pub fn is_scattered(&self) -> bool {
        self.kind.growth > 0.0
    }

    /// What is done.
    #[must_use]
    pub fn deed(&self) -> Deed {
        self.kind.deed
    }

    /// Persons taken in a bin.
    #[must_use]
    pub fn count(&self, bin: usize) -> u32 {
        self.counts.get(bin.wrapping_sub(self.from)).copied().unwrap_or_default()
    }

    /// Persons (ordinals) taken in a bin, and the second at which each is, in their order.
    pub fn taken(&self, bin: usize, persons: u64) -> impl Iterator<Item = (i64, u64)> + '_ {
        let index = bin.wrapping_sub(self.from);
        let before: u64 = self
            .counts
            .iter()
            .take(index.min(self.counts.len()))
            .map(|count| u64::from(*count))
            .sum();
        let count = self.count(bin);
        let first = self.first;
        (0..u64::from(count)).map(move |n| {
            let secs = n as i64 * BIN_SECS / i64::from(count.max(1));
            (secs, (first + before + n) % persons.max(1))
        })
    }
}

//! Counts per 5-minute bin of one tenant.
//!
//! Ordinary traffic: negative-binomial counts around size x growth x hour of the day x day of the
//! week x autocorrelated log-noise x day effect, with a nightly job and a weekly campaign. Hard
//! negatives, which are no attacks: flash sales, imports, attribute backfills, outages, permanent
//! level shifts.

use std::f64::consts::TAU;

use rand::RngExt as _;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use rand_distr::{Distribution as _, Gamma, LogNormal, Normal, Poisson};

use super::{DAY, HOUR, WEEK};

/// Mean customer writes an hour of the tenants of one world.
pub const SIZES: [f64; 6] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 50_000.0];

/// Whether imports and backfills are announced by the rows that Magento's import writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// `import_history` and its data rows come first.
    Announced,
    /// Only the writes themselves.
    Unannounced,
}

/// What one tenant does in a bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bin {
    /// Customers changed, one a transaction.
    pub changed: u32,
    /// Customers changed by the nightly job, in multi-row statements.
    pub nightly: u32,
    /// Customers changed by an import or a backfill, in multi-row statements.
    pub job: u32,
    /// Orders placed.
    pub orders: u32,
    /// Customers deleted.
    pub deleted: u32,
}

/// One tenant's life.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// 1, 2, ... : its website.
    pub website: u32,
    /// Mean customer writes an hour.
    pub size: f64,
    /// Its customers when the simulation begins.
    pub persons: u64,
    /// Everything random about it follows from this.
    pub seed: u64,
    /// Bin by bin.
    pub bins: Vec<Bin>,
    /// Seasonal shape of the first week, mean 1.
    pub shape: Vec<f64>,
}

/// Multipliers and additions while a tenant is drawn.
struct Draft {
    factor: Vec<f64>,
    nightly: Vec<f64>,
    job: Vec<f64>,
    deleted: Vec<f64>,
}

/// What stays the same of a tenant over the weeks.
struct Traits {
    size: f64,
    persons: f64,
    shift: f64,
    amplitude: f64,
    weekend: f64,
    growth: f64,
    day_sd: f64,
    noise_sd: f64,
}

impl Tenant {
    /// Draws a tenant.
    #[must_use]
    pub fn new(seed: u64, website: u32, size: f64, weeks: usize) -> Self {
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(website) << 32;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let persons = (2_000.0 * size.powf(0.8)).round();
        let traits = Traits {
            size,
            persons,
            shift: f64::from(random.random_range(-8_i32..9)),
            amplitude: random.random_range(0.5..1.8),
            weekend: random.random_range(0.5..1.3),
            growth: random.random_range(-0.005..0.03),
            day_sd: random.random_range(0.05..0.15),
            noise_sd: random.random_range(0.08..0.25),
        };
        let bins = weeks * WEEK;
        let mut draft = Draft {
            factor: vec![1.0; bins],
            nightly: vec![0.0; bins],
            job: vec![0.0; bins],
            deleted: vec![0.0; bins],
        };
        draft.shift_and_campaign(&mut random, weeks);
        draft.nightly(&mut random, &traits, weeks);
        draft.hard_negatives(&mut random, &traits, weeks);
        let shape = traits.shape(bins);
        let bins = draft.counts(&mut random, &traits, &shape);
        let shape = shape.into_iter().take(WEEK).collect();
        Self { website, size, persons: persons as u64, seed, bins, shape }
    }

    /// The bin of the day (of `bin`) in which the tenant is quietest.
    #[must_use]
    pub fn quietest(&self, bin: usize) -> usize {
        let day = bin / DAY * DAY;
        let of = |bin: &usize| self.shape[bin % WEEK];
        (day..day + DAY).min_by(|a, b| of(a).total_cmp(&of(b))).unwrap_or(day)
    }
}

impl Traits {
    /// Season, by bin; the first week has mean 1.
    fn shape(&self, bins: usize) -> Vec<f64> {
        let mut shape: Vec<f64> = (0..bins)
            .map(|bin| {
                let hour = ((bin % DAY) as f64 / HOUR as f64 + self.shift).rem_euclid(24.0);
                let noon = ((hour - 14.0) * TAU / 24.0).cos();
                let evening = 0.35 * ((hour - 20.0) * 2.0 * TAU / 24.0).cos();
                let is_weekend = (bin / DAY) % 7 >= 5;
                (self.amplitude * (noon + evening)).exp()
                    * if is_weekend { self.weekend } else { 1.0 }
            })
            .collect();
        let first = &shape[..WEEK.min(bins)];
        let mean = first.iter().sum::<f64>() / first.len() as f64;
        shape.iter_mut().for_each(|value| *value /= mean);
        shape
    }
}

impl Draft {
    fn add(of: &mut [f64], from: usize, bins: usize, total: f64) {
        for bin in of.iter_mut().skip(from).take(bins) {
            *bin += total / bins as f64;
        }
    }

    fn multiply(&mut self, from: usize, bins: usize, factor: f64) {
        self.factor.iter_mut().skip(from).take(bins).for_each(|bin| *bin *= factor);
    }

    fn shift_and_campaign(&mut self, random: &mut ChaCha8Rng, weeks: usize) {
        let bins = self.factor.len();
        if random.random_bool(0.25) {
            let from = random.random_range(WEEK.min(bins - 1)..bins);
            self.multiply(from, bins, random.random_range(1.3..1.9));
        }
        if random.random_bool(0.5) {
            let at = random.random_range(0..WEEK);
            let factor = random.random_range(1.5..2.5);
            for week in 0..weeks {
                if random.random_bool(0.7) {
                    self.multiply(week * WEEK + at, 3 * HOUR, factor);
                }
            }
        }
    }

    fn nightly(&mut self, random: &mut ChaCha8Rng, traits: &Traits, weeks: usize) {
        if !random.random_bool(0.6) {
            return;
        }
        let at = random.random_range(0..DAY);
        let size = traits.size * random.random_range(0.2..2.0);
        let wide = LogNormal::new(0.0, 0.2).expect("sigma is finite");
        let wider = LogNormal::new(0.0, 0.3).expect("sigma is finite");
        for day in 0..weeks * 7 {
            if random.random_bool(0.95) {
                let from = day * DAY + at + random.random_range(0..3);
                let bins = random.random_range(2..7);
                Self::add(&mut self.nightly, from, bins, size * wide.sample(random));
                let deleted = 0.001 * traits.persons * wider.sample(random);
                Self::add(&mut self.deleted, from, bins, deleted);
            }
        }
    }

    fn hard_negatives(&mut self, random: &mut ChaCha8Rng, traits: &Traits, weeks: usize) {
        let bins = self.factor.len();
        let events = |random: &mut ChaCha8Rng, a_week: f64| -> Vec<usize> {
            let count =
                Poisson::new(a_week * weeks as f64).expect("mean is positive").sample(random);
            (0..count as usize).map(|_| random.random_range(0..bins)).collect()
        };
        for from in events(random, 0.15) {
            let length = random.random_range(HOUR..4 * HOUR);
            let top: f64 = random.random_range(3.0..8.0);
            for (n, bin) in self.factor.iter_mut().skip(from).take(length).enumerate() {
                *bin *= 1.0 + (top - 1.0) * (n as f64 / 3.0 + 0.4).min(1.0);
            }
        }
        for from in events(random, 0.05) {
            let length = random.random_range(2..7);
            let rows = traits.persons * random.random_range(0.005..0.03);
            Self::add(&mut self.job, from, length, rows);
        }
        for from in events(random, 0.02) {
            let rows = traits.persons * random.random_range(0.3..1.0);
            Self::add(&mut self.job, from, 6, rows);
        }
        for from in events(random, 0.05) {
            let length = random.random_range(2..19);
            self.multiply(from, length, 0.0);
            self.nightly.iter_mut().skip(from).take(length).for_each(|bin| *bin = 0.0);
            self.multiply(from + length, length, 1.6);
        }
    }

    fn counts(&self, random: &mut ChaCha8Rng, traits: &Traits, shape: &[f64]) -> Vec<Bin> {
        let normal = Normal::new(0.0, 1.0).expect("sigma is finite");
        let k = random.random_range(5.0..50.0);
        let gamma = Gamma::new(k, 1.0 / k).expect("shape is positive");
        let rho = (-1.0 / (2.0 * HOUR as f64)).exp();
        let step = traits.noise_sd * (1.0 - rho * rho).sqrt();
        let (mut noise, mut day, mut hour) = (traits.noise_sd * normal.sample(random), 1.0, 1.0);
        (0..shape.len())
            .map(|bin| {
                if bin % DAY == 0 {
                    day = (traits.day_sd * normal.sample(random)).exp();
                }
                if bin % HOUR == 0 {
                    hour = (0.06 * normal.sample(random)).exp();
                }
                noise = rho * noise + step * normal.sample(random);
                let growth = (traits.growth * bin as f64 / WEEK as f64).exp();
                let base = traits.size / HOUR as f64;
                let activity = base * shape[bin] * growth * day * noise.exp() * self.factor[bin];
                let (a, b, c) = (gamma.sample(random), gamma.sample(random), gamma.sample(random));
                Bin {
                    changed: poisson(random, activity * hour * a),
                    nightly: poisson(random, self.nightly[bin] * a),
                    job: poisson(random, self.job[bin] * a),
                    orders: poisson(random, 0.4 * activity * b),
                    deleted: poisson(random, (0.01 * activity + self.deleted[bin]) * c),
                }
            })
            .collect()
    }
}

/// A Poisson count; 0 if the mean is 0.
pub(super) fn poisson(random: &mut ChaCha8Rng, mean: f64) -> u32 {
    Poisson::new(mean).map_or(0, |poisson| poisson.sample(random) as u32)
}

//! Simulated ordinary traffic of several tenants, and attacks on top.
//!
//! Per tenant and 5-minute bin: Poisson counts around size x hour of day x day of week x slow
//! growth x day effect x autocorrelated log-noise, a nightly job, a weekly campaign, now and then a
//! sale (which brings orders as well). Each count is a transaction of one person.

use phiwatch_binlog::Op;
use phiwatch_magento::Observation;

use crate::shop::{Run, Tx, person, row, site, tx};

const BIN: i64 = 300;
const BINS_A_WEEK: i64 = 2016;

/// splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit().max(1e-300), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn poisson(&mut self, mu: f64) -> u64 {
        if mu > 30.0 {
            return (mu + mu.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let (limit, mut product, mut count) = ((-mu).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

struct Tenant {
    id: u32,
    /// Changed persons an hour.
    size: f64,
    persons: u64,
    shift: f64,
    amplitude: f64,
    weekend: f64,
    growth: f64,
    day_sd: f64,
    day: f64,
    noise_sd: f64,
    noise: f64,
    /// Hour and persons of a nightly job.
    job: Option<(i64, u64)>,
    /// Bin of the week at which a campaign begins.
    campaign: i64,
    sale_until: i64,
}

/// Extra persons changed (or deleted) one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) website: u32,
    pub(crate) op: Op,
    /// Bins since the start.
    pub(crate) from: i64,
    pub(crate) bins: i64,
    pub(crate) per_bin: f64,
}

impl Tenant {
    fn new(id: u32, size: f64, random: &mut Random) -> Self {
        let persons = (2000.0 * size.powf(0.8)) as u64;
        let has_job = random.unit() < 0.5;
        let job = (random.between(0.0, 6.0) as i64, (persons as f64 * 0.005) as u64 + 5);
        Self {
            id,
            size,
            persons,
            shift: random.between(-8.0, 8.0),
            amplitude: random.between(0.5, 1.8),
            weekend: random.between(0.5, 1.3),
            growth: random.between(-0.005, 0.03),
            day_sd: random.between(0.05, 0.15),
            day: 1.0,
            noise_sd: random.between(0.08, 0.25),
            noise: 0.0,
            job: has_job.then_some(job),
            campaign: random.between(0.0, BINS_A_WEEK as f64) as i64,
            sale_until: 0,
        }
    }

    /// Persons changed, orders, and carts deleted in a bin.
    fn bin(&mut self, bin: i64, random: &mut Random) -> (u64, u64) {
        let hour = (bin as f64 / 12.0 + self.shift).rem_euclid(24.0);
        let day = bin.div_euclid(288).rem_euclid(7);
        if bin.rem_euclid(288) == 0 {
            self.day = (self.day_sd * random.normal()).exp();
        }
        let rho = (-1.0f64 / 24.0).exp();
        self.noise = rho * self.noise + self.noise_sd * (1.0 - rho * rho).sqrt() * random.normal();
        let tau = std::f64::consts::TAU;
        let shape = ((hour - 14.0) * tau / 24.0).cos() + 0.35 * ((hour - 20.0) * tau / 12.0).cos();
        let mut rate =
            self.size / 12.0 * (self.amplitude * shape).exp() / (1.0 + self.amplitude / 3.0);
        if day == 2 || day == 3 {
            rate *= self.weekend;
        }
        rate *= (self.growth * bin as f64 / BINS_A_WEEK as f64).exp() * self.day * self.noise.exp();
        if (self.campaign..self.campaign + 48).contains(&bin.rem_euclid(BINS_A_WEEK)) {
            rate *= 1.6;
        }
        if random.unit() < 0.15 / BINS_A_WEEK as f64 {
            self.sale_until = bin + 36;
        }
        if bin < self.sale_until {
            rate *= 3.0;
        }
        let orders = random.poisson(rate * 0.4);
        let mut changed = random.poisson(rate);
        if let Some((hour, persons)) = self.job
            && (hour * 12..hour * 12 + 2).contains(&bin.rem_euclid(288))
        {
            changed += random.poisson(persons as f64 / 2.0);
        }
        (changed, orders)
    }
}

/// Runs weeks of traffic of tenants of the given sizes (website 1, 2, ...).
pub(crate) fn simulate(
    seed: u64,
    weeks: i64,
    sizes: &[f64],
    budget: f64,
    attacks: &[Attack],
) -> Run {
    simulate_beside(seed, weeks, sizes, budget, attacks, |_| Vec::new())
}

/// The same with further transactions: those of a bin (since the start), in the order of time.
pub(crate) fn simulate_beside(
    seed: u64,
    weeks: i64,
    sizes: &[f64],
    budget: f64,
    attacks: &[Attack],
    beside: impl Fn(i64) -> Vec<Tx>,
) -> Run {
    let mut random = Random(seed);
    let mut tenants: Vec<Tenant> =
        sizes.iter().zip(1..).map(|(size, id)| Tenant::new(id, *size, &mut random)).collect();
    let mut noise = Random(seed ^ 0xa77a_c4ed);
    let customer = row("customer_entity", Op::Update, site(1), 0);
    let order = row("sales_order", Op::Create, site(1), 0);
    let mut run = Run::with(phiwatch_detect::Settings {
        false_alerts_per_week: budget,
        ..phiwatch_detect::Settings::default()
    });
    for bin in 0..weeks * BINS_A_WEEK {
        let mut events = beside(bin);
        for tenant in &mut tenants {
            let (changed, orders) = tenant.bin(bin, &mut random);
            let persons = tenant.persons;
            let mut push = |random: &mut Random, like: &Observation, op: Op, count: u64| {
                for _ in 0..count {
                    let secs = (random.next() % 300) as i64;
                    let who = (u64::from(tenant.id) << 32) + random.next() % persons;
                    let (tenant, subject) = (site(tenant.id), Some(person(who)));
                    let row = Observation { op: Some(op), tenant, subject, ..like.clone() };
                    events.push(tx(bin * BIN + secs, vec![row]));
                }
            };
            push(&mut random, &customer, Op::Update, changed);
            push(&mut random, &order, Op::Create, orders);
            for attack in attacks.iter().filter(|attack| attack.website == tenant.id) {
                if (attack.from..attack.from + attack.bins).contains(&bin) {
                    let count = noise.poisson(attack.per_bin);
                    push(&mut noise, &customer, attack.op, count);
                }
            }
        }
        events.sort_by_key(|tx| tx.secs);
        for tx in &events {
            run.feed(tx);
        }
    }
    run
}

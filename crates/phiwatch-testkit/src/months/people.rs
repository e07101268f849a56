//! Who is written in a bin: the transactions of one tenant, in the order of time.
//!
//! Ordinary traffic touches people unevenly: a few are active, most are not, and one write in
//! twenty is a sign-up, whose id is the next one. Jobs write many persons by one statement. Ids of
//! all tenants come from one sequence, so that a tenant's ids have gaps.

use rand::RngExt as _;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};

use super::{
    BIN_SECS, EPOCH,
    attack::{Attack, Deed},
    model::{Jobs, Tenant},
};

/// Persons of one statement of a job.
const BATCH: u32 = 100;

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Seconds since 1970.
    pub secs: i64,
    /// The connection: jobs have one of their own.
    pub thread: u32,
    /// What it does.
    pub what: What,
}

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A customer signs up (an INSERT).
    SignUp(u64),
    /// Customers (ids) are changed by one statement.
    Change(Vec<u64>),
    /// A customer is deleted.
    Delete(u64),
    /// A customer orders.
    Order(u64),
    /// An import announces so many rows.
    ImportBegins(u32),
    /// It ends.
    ImportEnds,
}

/// A tenant's customers.
#[derive(Debug, Clone, Copy)]
pub struct People<'a> {
    tenant: &'a Tenant,
    /// Tenants that share the sequence of ids.
    tenants: u64,
    jobs: Jobs,
}

impl<'a> People<'a> {
    /// The people of a tenant of a shop of so many tenants.
    #[must_use]
    pub fn new(tenant: &'a Tenant, tenants: u64, jobs: Jobs) -> Self {
        Self { tenant, tenants, jobs }
    }

    /// Customer id of the tenant's n-th person.
    #[must_use]
    pub fn id(&self, ordinal: u64) -> u64 {
        ordinal * self.tenants + u64::from(self.tenant.website)
    }

    /// The transactions of a bin, with those of an attack.
    #[must_use]
    pub fn writes(&self, bin: usize, attack: Option<&Attack>) -> Vec<Write> {
        let counts = self.tenant.bins[bin];
        let start = EPOCH + bin as i64 * BIN_SECS;
        let seed =
            self.tenant.seed.rotate_left(17) ^ (bin as u64).wrapping_mul(0x2545_f491_4f6c_dd1d);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut out = Vec::with_capacity((counts.changed + counts.orders) as usize);
        let mut push = |random: &mut ChaCha8Rng, what: What| {
            let secs = start + random.random_range(0..BIN_SECS);
            out.push(Write { secs, thread: random.random_range(1_000..1_000_000), what });
        };
        for n in 0..counts.changed {
            // Sign-ups of a bin have the ids after those of all bins before it, roughly.
            let what = if random.random_bool(0.05) {
                let before = bin as u64 * u64::from(counts.changed / 20 + 1);
                What::SignUp(self.id(self.tenant.persons + before + u64::from(n)))
            } else {
                What::Change(vec![self.someone(&mut random)])
            };
            push(&mut random, what);
        }
        for _ in 0..counts.orders {
            let who = self.someone(&mut random);
            push(&mut random, What::Order(who));
        }
        for _ in 0..counts.deleted {
            let who = self.someone(&mut random);
            push(&mut random, What::Delete(who));
        }
        self.batches(&mut random, start, counts.nightly, false, &mut out);
        self.batches(&mut random, start, counts.job, true, &mut out);
        if let Some(attack) = attack {
            for (secs, ordinal) in attack.taken(bin, self.tenant.persons) {
                let who = if attack.is_scattered() {
                    self.someone(&mut random)
                } else {
                    self.id(ordinal)
                };
                let what = match attack.deed() {
                    Deed::Change => What::Change(vec![who]),
                    Deed::Delete => What::Delete(who),
                };
                out.push(Write { secs: start + secs, thread: 77, what });
            }
        }
        out.sort_by_key(|write| write.secs);
        out
    }

    /// Multi-row statements over persons in the order of their ids; the first bin of an announced
    /// job announces this bin's rows.
    fn batches(
        &self,
        random: &mut ChaCha8Rng,
        start: i64,
        rows: u32,
        is_job: bool,
        out: &mut Vec<Write>,
    ) {
        if rows == 0 {
            return;
        }
        let thread = 500 + u32::from(is_job);
        let is_announced = is_job && self.jobs == Jobs::Announced;
        let first = random.random_range(0..self.tenant.persons);
        if is_announced {
            out.push(Write { secs: start, thread, what: What::ImportBegins(rows) });
        }
        let statements = rows.div_ceil(BATCH);
        for n in 0..statements {
            let ids = (n * BATCH..rows.min((n + 1) * BATCH))
                .map(|row| self.id((first + u64::from(row)) % self.tenant.persons))
                .collect();
            let secs = start + i64::from(n) * (BIN_SECS - 2) / i64::from(statements) + 1;
            out.push(Write { secs, thread, what: What::Change(ids) });
        }
        if is_announced {
            let secs = start + BIN_SECS - 1;
            out.push(Write { secs, thread, what: What::ImportEnds });
        }
    }

    /// A person of ordinary traffic: rank r is chosen with density r^(-0.6); ranks are spread over
    /// the ids.
    fn someone(&self, random: &mut ChaCha8Rng) -> u64 {
        let persons = self.tenant.persons.max(1);
        let unit: f64 = random.random();
        let rank = (persons as f64 * unit.powf(2.5)) as u64;
        self.id(rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % persons)
    }
}

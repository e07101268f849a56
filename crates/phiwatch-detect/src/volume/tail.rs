//! Tail probabilities, as scores: -log10 of the probability of at least so much.

use statrs::distribution::{DiscreteCDF, NegativeBinomial};

use crate::state::state_struct;

/// Scores are capped: below 1e-300 the tail underflows.
const SCORE_MAX: f64 = 300.0;

/// -log10 P(X >= x) for a negative binomial of mean `mu` and variance `mu + a mu^2`.
/// None if it cannot be computed; 0 if `x <= mu`.
pub(crate) fn score(x: u64, mu: f64, a: f64) -> Option<f64> {
    if x as f64 <= mu {
        return Some(0.0);
    }
    // Outside of these bounds statrs panics or p = k / (k + mu) loses its digits.
    let mu = mu.clamp(1e-9, 1e12);
    let a = a.clamp(1e-6, 20.0);
    if !(mu.is_finite() && a.is_finite()) {
        return None;
    }
    let k = 1.0 / a;
    let p = k / (k + mu);
    if !(p > 0.0 && p < 1.0) {
        return None;
    }
    let tail = NegativeBinomial::new(k, p).ok()?.sf(x.saturating_sub(1));
    if tail.is_nan() {
        return None;
    }
    if tail <= 0.0 {
        return Some(SCORE_MAX);
    }
    Some((-libm::log10(tail)).clamp(0.0, SCORE_MAX))
}

/// The least count from `floor` on whose score reaches `wanted`, and is over `mu`.
pub(crate) fn threshold(floor: u64, mu: f64, a: f64, wanted: f64) -> u64 {
    let reaches = |x: u64| score(x, mu, a).is_some_and(|score| score >= wanted);
    let (mut low, mut high) = (floor, floor.max(1));
    while !reaches(high) && high < 1 << 48 {
        low = high;
        high *= 2;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if reaches(middle) { high = middle } else { low = middle + 1 }
    }
    high.max(floor)
}

/// Half-octaves of persons per transaction.
const STEPS: usize = 64;
/// Weight of the prior, in transactions.
const PRIOR: f64 = 10.0;
/// The prior's tail: P(X >= n) = n^-3. Magento writes one person per transaction; batches of an
/// extension fall off steeply.
const EXPONENT: f64 = 3.0;

/// How steeply the batches fall off that were seen.
const BATCH_EXPONENT: f64 = 4.0;

/// Transactions that alerted, kept for a day.
const TOLD_MAX: usize = 64;

/// Distribution of distinct persons per transaction of one key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PerTransaction {
    /// Transactions (decayed) by half-octave of their persons.
    steps: Vec<f64>,
    /// Sum of `steps`.
    pub(crate) transactions: f64,
    /// Sum of persons (decayed).
    persons: f64,
    /// Persons of transactions that alerted today, for [`PerTransaction::end_day`]; the first few.
    told: Vec<u64>,
}

impl PerTransaction {
    pub(crate) fn new() -> Self {
        Self { steps: vec![0.0; STEPS], transactions: 0.0, persons: 0.0, told: Vec::new() }
    }

    /// Whether a loaded one has the right shape.
    pub(crate) fn is_sound(&self) -> bool {
        self.steps.len() == STEPS
            && self.told.len() <= TOLD_MAX
            && self.steps.iter().all(|step| *step >= 0.0)
    }

    pub(crate) fn learn(&mut self, persons: u64) {
        if let Some(step) = self.steps.get_mut(step(persons)) {
            *step += 1.0;
        }
        self.transactions += 1.0;
        self.persons += persons as f64;
    }

    /// A transaction that alerted.
    pub(crate) fn told(&mut self, persons: u64) {
        if self.told.len() < TOLD_MAX {
            self.told.push(persons);
        }
    }

    /// A day has passed; what alerted in it is learned or not.
    pub(crate) fn end_day(&mut self, is_learned: bool) {
        for persons in std::mem::take(&mut self.told) {
            if is_learned {
                self.learn(persons);
            }
        }
    }

    /// A week has passed.
    pub(crate) fn decay(&mut self) {
        self.steps.iter_mut().for_each(|step| *step *= 0.75);
        self.transactions *= 0.75;
        self.persons *= 0.75;
    }

    /// Mean persons per transaction.
    pub(crate) fn mean(&self) -> f64 {
        (self.persons + PRIOR) / (self.transactions + PRIOR)
    }

    /// -log10 of the probability that a transaction has at least so many persons.
    pub(crate) fn score(&self, persons: u64) -> f64 {
        // Batches vary: what was seen of smaller ones says how often one of this size may come.
        let at = step(persons);
        let mut from: f64 = self.steps.iter().skip(at + 1).sum();
        let mut seen = 0.0_f64;
        for (index, count) in self.steps.iter().enumerate().take(at + 1).rev() {
            from += count;
            let share = libm::pow(least(index) as f64 / persons.max(1) as f64, BATCH_EXPONENT);
            seen = seen.max(from * share.min(1.0));
        }
        let prior = PRIOR * libm::pow(persons.max(1) as f64, -EXPONENT);
        let tail = (seen + prior) / (self.transactions + PRIOR);
        (-libm::log10(tail)).clamp(0.0, SCORE_MAX)
    }

    /// The least count from `floor` on whose score reaches `wanted`.
    pub(crate) fn threshold(&self, floor: u64, wanted: f64) -> u64 {
        let (mut low, mut high) = (floor, floor.max(1));
        while self.score(high) < wanted && high < 1 << 48 {
            low = high;
            high *= 2;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.score(middle) >= wanted { high = middle } else { low = middle + 1 }
        }
        high.max(floor)
    }
}

/// The least count of a half-octave.
fn least(step: usize) -> u64 {
    let octave = u64::try_from(step / 2).unwrap_or(63).min(63);
    (1 << octave) + if step % 2 == 1 { (1 << octave) / 2 } else { 0 }
}

/// Half-octave of a count: 1, 2, 3, 4-5, 6-7, 8-11, ...
fn step(persons: u64) -> usize {
    let persons = persons.max(1);
    let octave = 63 - persons.leading_zeros();
    let half = if octave == 0 { 0 } else { persons >> (octave - 1) & 1 };
    usize::try_from(u64::from(octave) * 2 + half).unwrap_or(STEPS).min(STEPS - 1)
}

state_struct!(PerTransaction { steps, transactions, persons, told since 3 });

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(x: u64, mu: f64, a: f64, want: f64) {
        let got = score(x, mu, a).unwrap();
        assert!((got - want).abs() < 1e-6 * want.max(1.0), "{x} {mu} {a}: {got}, not {want}");
    }

    #[test]
    fn tails_of_the_negative_binomial() {
        // k = 1 is geometric: P(X >= x) = (mu / (1 + mu))^x.
        check(10, 1.0, 1.0, 10.0 * 2f64.log10());
        check(30, 3.0, 1.0, 30.0 * (4.0f64 / 3.0).log10());
        check(3, 5.0, 0.1, 0.0);
        check(1, 0.01, 1.0, -(0.01f64 / 1.01).log10());
    }

    #[test]
    fn no_panic_at_the_edges() {
        for mu in [0.0, -1.0, 1e-300, f64::NAN, f64::INFINITY, 1e300] {
            for a in [0.0, 1e-300, f64::NAN, f64::INFINITY, 1e300] {
                for x in [0, 1, 1 << 40, u64::MAX] {
                    let got = score(x, mu, a);
                    assert!(got.is_none_or(|score| (0.0..=SCORE_MAX).contains(&score)));
                }
            }
        }
    }

    #[test]
    fn threshold_is_the_first_count_that_reaches() {
        let at = threshold(4, 20.0, 0.1, 5.0);
        assert!(score(at, 20.0, 0.1).unwrap() >= 5.0);
        assert!(score(at - 1, 20.0, 0.1).unwrap() < 5.0);
    }

    #[test]
    fn batches_that_were_seen_are_expected() {
        let mut learned = PerTransaction::new();
        (0..10_000).for_each(|_| learned.learn(1));
        let fresh = PerTransaction::new();
        assert!(fresh.score(3_000) > 10.0 && learned.score(3_000) > 13.0);
        (0..10).for_each(|_| learned.learn(200));
        assert!(learned.score(200) < 3.1);
        let at = learned.threshold(1, 5.0);
        assert!(learned.score(at) >= 5.0 && learned.score(at - 1) < 5.0);
        assert_eq!(
            (step(1), step(2), step(3), step(4), step(6), step(u64::MAX)),
            (0, 2, 3, 4, 5, 63)
        );
    }
}

//! One count over time: its open windows, its baseline, its dispersion.
//!
//! Input: counts as they come, and the end of each 5-minute bin and each hour. Output: observed and
//! expected count per [`Scale`]. Counts are distinct persons per 5-minute bin, summed over longer
//! windows (or plain rows, for order inserts).
//!
//! Method (facts of the design, all O(1) a bin): a seasonal base by hour of the week, shrunk to the
//! hour of the day; a fast and a slow level; counts clipped before they are learned, so that an
//! outbreak does not teach its own baseline; a dispersion per scale, because autocorrelation makes
//! long windows wider than the sum of short ones; and the peaks of the last seven days by hour of
//! the day, because nightly jobs recur.

use std::collections::{BTreeSet, VecDeque};

use phiwatch_magento::Subject;

use crate::{
    persons::Sketch,
    state::{CheckpointError, state_struct},
};

/// Hours of a week.
pub(crate) const WEEK: usize = 168;
/// Persons of a bin counted exactly.
const BIN_EXACT_MAX: usize = 4096;
const BINS: usize = 11;
const HOURS: usize = 71;
const DAYS: usize = 7;

/// Window lengths that are scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(crate) index: usize,
    pub(crate) secs: u64,
    /// Independent tests a week: a window is judged at each commit, which is more than one an hour.
    pub(crate) tests: f64,
    /// Share of the budget.
    pub(crate) share: f64,
    /// Dispersion before anything is known.
    prior: f64,
}

pub(crate) const SCALES: [Scale; 5] = [
    Scale { index: 0, secs: 300, tests: 2016.0, share: 0.1, prior: 0.3 },
    Scale { index: 1, secs: 3_600, tests: 2016.0, share: 0.3, prior: 0.2 },
    Scale { index: 2, secs: 21_600, tests: 2016.0, share: 0.2, prior: 0.1 },
    Scale { index: 3, secs: 86_400, tests: 672.0, share: 0.2, prior: 0.05 },
    Scale { index: 4, secs: 259_200, tests: 672.0, share: 0.1, prior: 0.05 },
];

/// Where a bin stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Days since 1970.
    pub(crate) day: i64,
    /// 0..24, UTC.
    pub(crate) hour: usize,
    /// 0..168 from Thursday 00:00 UTC.
    pub(crate) hour_of_week: usize,
}

impl Slot {
    /// Of a 5-minute bin since 1970.
    pub(crate) fn of(bin: i64) -> Self {
        let hours = bin.div_euclid(12);
        Self {
            day: hours.div_euclid(24),
            hour: usize::try_from(hours.rem_euclid(24)).unwrap_or_default(),
            hour_of_week: usize::try_from(hours.rem_euclid(168)).unwrap_or_default(),
        }
    }
}

/// How much time stands behind the seasonal sums; the same for all counts of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Clock {
    week: Vec<f64>,
    day: Vec<f64>,
    total: f64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { week: vec![0.0; WEEK], day: vec![0.0; 24], total: 0.0 }
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.week.len() == WEEK && self.day.len() == 24
    }

    pub(crate) fn close_hour(&mut self, slot: Slot) {
        if let Some(week) = self.week.get_mut(slot.hour_of_week) {
            *week = 0.75 * *week + 1.0;
        }
        if let Some(day) = self.day.get_mut(slot.hour) {
            *day = 0.9 * *day + 1.0;
        }
        self.total = self.total * decay(168.0) + 1.0;
    }
}

/// How long the tenant has been watched, for what may be said and learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// First day: windows say nothing, everything is learned.
    New,
    /// First week: short windows only, with a wider dispersion.
    Learning,
    /// After it.
    Grown,
}

/// Exponentially weighted sums of counts and of their base.
#[derive(Debug, Clone, PartialEq, Default)]
struct Level {
    counts: f64,
    bases: f64,
}

impl Level {
    fn value(&self) -> f64 {
        (self.counts + 5.0) / (self.bases + 5.0)
    }

    fn add(&mut self, count: f64, base: f64, hours: f64) {
        self.counts = self.counts * decay(hours) + count;
        self.bases = self.bases * decay(hours) + base;
    }
}

/// Sums for the excess variance `a` in `mu + a mu^2`.
#[derive(Debug, Clone, PartialEq, Default)]
struct Dispersion {
    excess: f64,
    squares: f64,
}

impl Dispersion {
    fn value(&self, mu: f64, prior: f64) -> f64 {
        let weight = 3.0 * (mu * mu).max(4.0);
        ((self.excess + prior * weight) / (self.squares + weight)).clamp(1e-4, 10.0)
    }

    fn add(&mut self, x: f64, mu: f64, prior: f64) {
        let variance = mu + self.value(mu, prior) * mu * mu;
        let square = ((x - mu) * (x - mu)).min(12.0 * variance + 4.0);
        // Slow forgetting: a shop that calms down gets its narrow bounds back.
        self.excess = self.excess * 0.999 + square - mu;
        self.squares = self.squares * 0.999 + mu * mu;
    }
}

/// One count over time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Channel {
    /// Persons of the open bin, exact; plain counts have none.
    people: BTreeSet<u64>,
    sketch: Option<Sketch>,
    /// Count of the open bin.
    open: u64,
    /// An alert spoke in the open bin.
    is_alerted: bool,
    /// Closed bins of the last hour: count, expected.
    bins: VecDeque<(u64, f64)>,
    /// Closed hours of the last three days: count, expected.
    hours: VecDeque<(u64, f64)>,
    /// The open hour: count and learned (clipped) count of its closed bins.
    hour: (u64, f64),
    /// Expected counts of the open hour, by the fast and the slow level.
    expected: (f64, f64),
    week: Vec<f64>,
    day: Vec<f64>,
    total: f64,
    fast: Level,
    slow: Level,
    /// 24 of 5 minutes, 24 of 1 hour, then 6 hours, 1 day, 3 days.
    dispersion: Vec<Dispersion>,
    /// Largest 5-minute and 1-hour counts of the last seven days by hour of the day.
    peaks: Vec<(u64, u64)>,
    /// Count and expected of the closed part of each scale's window.
    closed: Vec<(u64, f64)>,
    /// Excess already told per scale, the largest seen since, and the bin until which it counts.
    spoken: Vec<(f64, f64, i64)>,
}

impl Channel {
    pub(crate) fn new() -> Self {
        Self {
            people: BTreeSet::new(),
            sketch: None,
            open: 0,
            is_alerted: false,
            bins: VecDeque::new(),
            hours: VecDeque::new(),
            hour: (0, 0.0),
            expected: (0.0, 0.0),
            week: vec![0.0; WEEK],
            day: vec![0.0; 24],
            total: 0.0,
            fast: Level::default(),
            slow: Level::default(),
            dispersion: vec![Dispersion::default(); 51],
            peaks: vec![(0, 0); DAYS * 24],
            closed: vec![(0, 0.0); SCALES.len()],
            spoken: vec![(0.0, 0.0, 0); SCALES.len()],
        }
    }

    /// Refuses a loaded one of another shape.
    pub(crate) fn check(&self) -> Result<(), CheckpointError> {
        let is_sound = self.week.len() == WEEK
            && self.day.len() == 24
            && self.dispersion.len() == 51
            && self.peaks.len() == DAYS * 24
            && self.closed.len() == SCALES.len()
            && self.spoken.len() == SCALES.len()
            && self.bins.len() <= BINS
            && self.hours.len() <= HOURS
            && self.people.len() <= BIN_EXACT_MAX;
        if is_sound { Ok(()) } else { Err(CheckpointError::Damaged("channel")) }
    }

    /// Counts a person in the open bin.
    pub(crate) fn person(&mut self, subject: Subject) {
        if let Some(sketch) = &mut self.sketch {
            sketch.insert(subject.sketch);
        } else if self.people.len() < BIN_EXACT_MAX {
            // Sketch tokens, so that the set can become a sketch.
            self.people.insert(subject.sketch);
        } else if !self.people.contains(&subject.sketch) {
            let mut sketch = Sketch::new();
            std::mem::take(&mut self.people).into_iter().for_each(|token| sketch.insert(token));
            sketch.insert(subject.sketch);
            self.sketch = Some(sketch);
        }
    }

    /// Counts persons that are known only as a sketch.
    pub(crate) fn merge(&mut self, other: &Sketch) {
        let mut sketch = self.sketch.take().unwrap_or_else(Sketch::new);
        std::mem::take(&mut self.people).into_iter().for_each(|token| sketch.insert(token));
        sketch.merge(other);
        self.sketch = Some(sketch);
    }

    /// Takes over the persons counted since the last call into the open bin's count.
    pub(crate) fn settle(&mut self) {
        let count = match &self.sketch {
            Some(sketch) => rounded(sketch.estimate()),
            None => u64::try_from(self.people.len()).unwrap_or(u64::MAX),
        };
        self.open = self.open.max(count);
    }

    /// Counts rows in the open bin.
    pub(crate) fn rows(&mut self, rows: u64) {
        self.open = self.open.saturating_add(rows);
    }

    /// Count of the open bin.
    pub(crate) fn open(&self) -> u64 {
        self.open
    }

    /// Observed in the window that ends in the open bin.
    pub(crate) fn observed(&self, scale: Scale) -> u64 {
        self.closed.get(scale.index).map_or(0, |closed| closed.0).saturating_add(self.open)
    }

    /// Expected in it, by season and level.
    pub(crate) fn expected(&self, scale: Scale) -> f64 {
        let closed = self.closed.get(scale.index).map_or(0.0, |closed| closed.1);
        let open = if scale.index < 2 { self.expected.0 / 12.0 } else { self.expected.1 };
        (closed + open).max(0.001)
    }

    /// Whether the open bin's count is an estimate.
    pub(crate) fn is_estimate(&self) -> bool {
        self.sketch.is_some()
    }

    /// The count that recurs at this hour of the day (an hour earlier or later included).
    pub(crate) fn recurring(&self, scale: Scale, slot: Slot, days: usize) -> u64 {
        if scale.index > 1 || days == 0 {
            return 0;
        }
        let mut largest = [0u64; DAYS];
        let hours = [slot.hour, (slot.hour + 1) % 24, (slot.hour + 23) % 24];
        for (day, largest) in largest.iter_mut().enumerate() {
            for hour in hours {
                let peak = self.peaks.get(day * 24 + hour).copied().unwrap_or_default();
                *largest = (*largest).max(if scale.index == 0 { peak.0 } else { peak.1 });
            }
        }
        largest.sort_unstable();
        // The third largest of seven days; of fewer while there are fewer.
        largest.iter().rev().nth(days.min(3) - 1).copied().unwrap_or_default()
    }

    /// Excess variance for a test, with the baseline's own uncertainty.
    pub(crate) fn dispersion(&self, scale: Scale, slot: Slot, mu: f64, age: Age) -> f64 {
        let index = dispersion_index(scale, slot);
        let own = self.dispersion.get(index).map_or(scale.prior, |d| d.value(mu, scale.prior));
        let behind = if scale.index < 2 {
            let week = self.week.get(slot.hour_of_week).copied().unwrap_or_default();
            week + 0.5 * self.day.get(slot.hour).copied().unwrap_or_default()
        } else {
            self.slow.counts
        };
        let learning = if age == Age::Grown { 0.0 } else { 0.5 };
        own + 1.0 / (behind + 0.5) + learning
    }

    /// Excess that was told already in a window of this scale, and the largest seen since.
    pub(crate) fn spoken(&self, scale: Scale, bin: i64) -> (f64, f64) {
        let spoken = self.spoken.get(scale.index).filter(|spoken| bin < spoken.2);
        spoken.map_or((0.0, 0.0), |spoken| (spoken.0, spoken.1))
    }

    /// An alert spoke: longer windows hold the same excess, and none of it is to be learned.
    pub(crate) fn speak(&mut self, excess: f64, bin: i64) {
        self.is_alerted = true;
        for scale in SCALES {
            let (told, largest) = self.spoken(scale, bin);
            let until = bin + i64::try_from(scale.secs / 300).unwrap_or(864);
            if let Some(spoken) = self.spoken.get_mut(scale.index) {
                *spoken = (told.max(excess), largest.max(excess), until);
            }
        }
    }

    /// What an alert spoke of goes on in a window of this scale.
    pub(crate) fn go_on(&mut self, scale: Scale, excess: f64, bin: i64) {
        self.is_alerted = true;
        let until = bin + i64::try_from(scale.secs / 300).unwrap_or(864);
        if let Some(spoken) = self.spoken.get_mut(scale.index) {
            *spoken = (spoken.0, spoken.1.max(excess), until);
        }
    }

    /// Ends the open bin, the last of its hour or not. `means` are the expected counts per scale,
    /// with everything that the test counts in.
    pub(crate) fn close_bin(&mut self, slot: Slot, means: &[f64; 5], ends_hour: bool, age: Age) {
        let x = self.open;
        let hour = self.observed(SCALES[1]);
        let mu = means[0];
        let wide = self.dispersion_of(0, slot).value(mu, SCALES[0].prior);
        let spread = libm::sqrt(mu + wide * mu * mu);
        let learned = match age {
            Age::New => x as f64,
            Age::Learning => (x as f64).min(mu + 6.0 * spread + 3.0),
            Age::Grown if self.is_alerted => (x as f64).min(mu),
            Age::Grown => (x as f64).min(mu + 3.0 * spread + 1.0),
        };
        for (scale, mu) in SCALES.iter().zip(means) {
            // In the first day the expected counts are not worth a comparison.
            if age != Age::New && (scale.index == 0 || ends_hour) {
                let observed = self.observed(*scale);
                self.disperse(scale.index, slot, observed as f64, *mu);
            }
        }
        let may_recur = age != Age::Grown || !self.is_alerted;
        let day = usize::try_from(slot.day.rem_euclid(7)).unwrap_or_default();
        if let (true, Some(peak)) = (may_recur, self.peaks.get_mut(day * 24 + slot.hour)) {
            *peak = (peak.0.max(x), peak.1.max(hour));
        }
        self.hour = (self.hour.0.saturating_add(x), self.hour.1 + learned);
        self.bins.push_back((x, self.expected.0 / 12.0));
        if self.bins.len() > BINS {
            self.bins.pop_front();
        }
        self.open = 0;
        self.is_alerted = false;
        self.people.clear();
        self.sketch = None;
        self.sum();
    }

    /// Ends the open hour, after its last bin.
    pub(crate) fn close_hour(&mut self, slot: Slot, clock: &Clock) {
        let (x, learned) = self.hour;
        let base = self.base(slot, clock);
        if let Some(week) = self.week.get_mut(slot.hour_of_week) {
            *week = 0.75 * *week + learned;
        }
        if let Some(day) = self.day.get_mut(slot.hour) {
            *day = 0.9 * *day + learned;
        }
        self.total = self.total * decay(168.0) + learned;
        self.fast.add(learned, base, 36.0);
        self.slow.add(learned, base, 14.0 * 24.0);
        self.hours.push_back((x, self.expected.1));
        if self.hours.len() > HOURS {
            self.hours.pop_front();
        }
        self.hour = (0, 0.0);
        self.sum();
    }

    /// Begins an hour: its expected count, and at midnight a fresh day of peaks.
    pub(crate) fn begin_hour(&mut self, slot: Slot, clock: &Clock) {
        let base = self.base(slot, clock);
        self.expected = (base * self.fast.value(), base * self.slow.value());
        if slot.hour == 0 {
            let day = usize::try_from(slot.day.rem_euclid(7)).unwrap_or_default();
            self.peaks.iter_mut().skip(day * 24).take(24).for_each(|peak| *peak = (0, 0));
        }
    }

    /// Forgets the open windows and begins again at an hour; the baseline stays.
    pub(crate) fn restart(&mut self, slot: Slot, clock: &Clock) {
        self.open = 0;
        self.is_alerted = false;
        self.people.clear();
        self.sketch = None;
        self.bins.clear();
        self.hours.clear();
        self.hour = (0, 0.0);
        self.spoken.fill((0.0, 0.0, 0));
        self.begin_hour(slot, clock);
        self.sum();
    }

    /// Seasonal count of an hour: the hour of the week, shrunk to the hour of the day, shrunk to
    /// the mean.
    fn base(&self, slot: Slot, clock: &Clock) -> f64 {
        let mean = if clock.total > 0.0 { self.total / clock.total } else { 0.0 };
        let of = |sums: &[f64], index: usize| sums.get(index).copied().unwrap_or_default();
        let day = (of(&self.day, slot.hour) + 0.3 * mean) / (of(&clock.day, slot.hour) + 0.3);
        (of(&self.week, slot.hour_of_week) + 0.5 * day) / (of(&clock.week, slot.hour_of_week) + 0.5)
    }

    fn dispersion_of(&self, scale: usize, slot: Slot) -> Dispersion {
        let index = SCALES.get(scale).map_or(0, |scale| dispersion_index(*scale, slot));
        self.dispersion.get(index).cloned().unwrap_or_default()
    }

    fn disperse(&mut self, scale: usize, slot: Slot, x: f64, mu: f64) {
        let Some(scale) = SCALES.get(scale) else { return };
        if let Some(dispersion) = self.dispersion.get_mut(dispersion_index(*scale, slot)) {
            dispersion.add(x, mu, scale.prior);
        }
    }

    fn sum(&mut self) {
        let add =
            |sum: (u64, f64), item: &(u64, f64)| (sum.0.saturating_add(item.0), sum.1 + item.1);
        let hour = self.bins.iter().fold((0, 0.0), add);
        let last = |hours: usize| self.hours.iter().rev().take(hours).fold((self.hour.0, 0.0), add);
        self.closed = vec![(0, 0.0), hour, last(5), last(23), last(71)];
    }
}

fn dispersion_index(scale: Scale, slot: Slot) -> usize {
    match scale.index {
        0 => slot.hour,
        1 => 24 + slot.hour,
        longer => 46 + longer,
    }
}

/// Factor per hour of an exponential average of so many hours.
fn decay(hours: f64) -> f64 {
    libm::exp(-1.0 / hours)
}

/// Nearest count.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer saturates, and estimates are not negative"
)]
pub(crate) fn rounded(value: f64) -> u64 {
    libm::round(value) as u64
}

state_struct!(Clock { week, day, total });
state_struct!(Level { counts, bases });
state_struct!(Dispersion { excess, squares });
state_struct!(Channel {
    people,
    sketch,
    open,
    is_alerted,
    bins,
    hours,
    hour,
    expected,
    week,
    day,
    total,
    fast,
    slow,
    dispersion,
    peaks,
    closed,
    spoken,
});

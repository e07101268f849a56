//! Distinct persons: exact up to a bound, then estimated.
//!
//! Input: [`Subject`]s with the kinds of change ([`Kinds`]) that touched them. Output: distinct
//! persons per kind, and over all, with whether that is exact.
//!
//! Estimates: HyperLogLog, 4,096 registers (standard error 1.6 %), estimator of Ertl, "New
//! cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6. Written here
//! because registers that are merged by maximum give the same estimate whatever the order of rows
//! and wherever a run was cut; estimators that follow the order (HIP) do not.

use std::{
    collections::BTreeMap,
    hash::{BuildHasherDefault, Hasher},
};

use indexmap::{IndexMap, map::Entry};
use phiwatch_magento::Subject;

use crate::state::{CheckpointError, Reader, State};

/// Registers of a sketch.
const REGISTERS: usize = 4096;
/// Registers set from which a sketch is stored whole.
const SPARSE_MAX: usize = 1024;
/// Bits of the hash that choose the register.
const INDEX_BITS: u32 = 12;

/// A HyperLogLog sketch of persons.
#[derive(Clone, PartialEq)]
pub(crate) struct Sketch {
    /// Largest rank seen per register, 0..=53.
    registers: Box<[u8; REGISTERS]>,
}

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sketch(about {:.0})", self.estimate())
    }
}

impl Sketch {
    pub(crate) fn new() -> Self {
        Self { registers: Box::new([0; REGISTERS]) }
    }

    pub(crate) fn insert(&mut self, sketch: u64) {
        let hash = mix(sketch);
        let index = usize::try_from(hash >> (64 - INDEX_BITS)).unwrap_or_default();
        let rank = (hash << INDEX_BITS | 1 << (INDEX_BITS - 1)).leading_zeros() + 1;
        if let Some(register) = self.registers.get_mut(index) {
            *register = (*register).max(u8::try_from(rank).unwrap_or(u8::MAX));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.registers.iter_mut().zip(other.registers.iter()) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Distinct persons, estimated.
    pub(crate) fn estimate(&self) -> f64 {
        const Q: usize = 64 - INDEX_BITS as usize;
        let mut ranks = [0u32; Q + 2];
        for register in self.registers.iter() {
            if let Some(count) = ranks.get_mut(usize::from(*register)) {
                *count += 1;
            }
        }
        let m = 4096.0;
        let share = |rank: usize| ranks.get(rank).map_or(0.0, |count| f64::from(*count)) / m;
        let mut z = m * tau(1.0 - share(Q + 1));
        for rank in (1..=Q).rev() {
            z = 0.5 * (z + m * share(rank));
        }
        z += m * sigma(share(0));
        // 1 / (2 ln 2): the bias constant for infinitely many registers.
        if z > 0.0 { m * m * 0.721_347_520_444_481_7 / z } else { f64::MAX }
    }
}

/// Ertl's correction for registers that are still empty.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::MAX;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// Ertl's correction for registers that are full.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = libm::sqrt(x);
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

/// Finaliser of splitmix64: tokens need not be uniform.
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

impl State for Sketch {
    // Few registers: their gaps and ranks; many: all ranks. Most tenants know few persons.
    fn save(&self, out: &mut Vec<u8>) {
        let set = self.registers.iter().filter(|rank| **rank > 0).count();
        let is_sparse = set < SPARSE_MAX;
        is_sparse.save(out);
        if !is_sparse {
            out.extend_from_slice(self.registers.as_slice());
            return;
        }
        set.save(out);
        let mut gap = 0usize;
        for rank in self.registers.iter() {
            if *rank == 0 {
                gap += 1;
            } else {
                gap.save(out);
                rank.save(out);
                gap = 0;
            }
        }
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        const DAMAGED: CheckpointError = CheckpointError::Damaged("sketch");
        let mut sketch = Self::new();
        let is_sparse = bool::load(input)?;
        if is_sparse {
            let set = input.count()?;
            let mut at = 0usize;
            for _ in 0..set {
                at = at.checked_add(usize::load(input)?).ok_or(DAMAGED)?;
                let register = sketch.registers.get_mut(at).ok_or(DAMAGED)?;
                *register = u8::load(input)?;
                if *register == 0 {
                    return Err(DAMAGED);
                }
                at += 1;
            }
        } else {
            sketch.registers.copy_from_slice(input.take(REGISTERS)?);
        }
        let set = sketch.registers.iter().filter(|rank| **rank > 0).count();
        let is_canonical = is_sparse == (set < SPARSE_MAX);
        let is_sound = sketch.registers.iter().all(|rank| *rank <= 53);
        if is_canonical && is_sound { Ok(sketch) } else { Err(DAMAGED) }
    }
}

/// Number of [`Channel`]s and other kinds.
pub(crate) const KINDS: usize = 10;

/// What happened to a person, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(pub(crate) u16);

impl Kinds {
    pub(crate) const CHANGED: Self = Self(1);
    pub(crate) const OTHER_CHANGED: Self = Self(1 << 1);
    pub(crate) const ORDERS_CHANGED: Self = Self(1 << 2);
    pub(crate) const QUOTES_CHANGED: Self = Self(1 << 3);
    pub(crate) const DELETED: Self = Self(1 << 4);
    pub(crate) const ORDERS_DELETED: Self = Self(1 << 5);
    pub(crate) const QUOTES_DELETED: Self = Self(1 << 6);
    pub(crate) const OTHER_DELETED: Self = Self(1 << 7);
    /// The `customer_entity` row itself went: what else goes with it is its cascade.
    pub(crate) const PARENT_DELETED: Self = Self(1 << 8);
    /// New orders and carts, touches: no change, but the person is known.
    pub(crate) const SEEN: Self = Self(1 << 9);
}

/// Hashes a token, the same in every run.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, token: u64) {
        self.0 = mix(self.0 ^ token);
    }
}

/// In the order in which they came; what leaves the set in an order leaves it sorted, as a
/// restored set knows no other.
type Tokens = IndexMap<u64, (u64, u16), BuildHasherDefault<Mix>>;

/// Distinct persons by kind of change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Persons {
    /// Token to (sketch token, kinds), while exact.
    exact: Tokens,
    /// Exact counts per kind, while exact.
    counts: Vec<u64>,
    /// One sketch per kind and one over all, after.
    sketches: Option<Vec<Sketch>>,
}

impl Persons {
    pub(crate) fn new() -> Self {
        Self { exact: Tokens::default(), counts: vec![0; KINDS], sketches: None }
    }

    /// Tokens held.
    pub(crate) fn held(&self) -> usize {
        self.exact.len()
    }

    /// Memory that they take, bytes, estimated.
    pub(crate) fn bytes(&self) -> usize {
        let sketches = self.sketches.as_ref().map_or(0, Vec::len);
        self.exact.len() * 48 + sketches * REGISTERS
    }

    /// Counts a person; `exact_max` is how many tokens may be held before estimating.
    pub(crate) fn insert(&mut self, subject: Subject, kinds: Kinds, exact_max: usize) {
        if self.sketches.is_none() {
            let len = self.exact.len();
            match self.exact.entry(subject.token) {
                Entry::Occupied(mut entry) => {
                    let new = kinds.0 & !entry.get().1;
                    entry.get_mut().1 |= kinds.0;
                    self.count(new);
                    return;
                }
                Entry::Vacant(entry) if len < exact_max => {
                    entry.insert((subject.sketch, kinds.0));
                    self.count(kinds.0);
                    return;
                }
                Entry::Vacant(_) => self.spill(),
            }
        }
        self.sketch(subject.sketch, kinds.0);
    }

    fn count(&mut self, kinds: u16) {
        for (bit, count) in self.counts.iter_mut().enumerate() {
            *count += u64::from(kinds >> bit & 1);
        }
    }

    /// From exact to estimated.
    fn spill(&mut self) {
        self.sketches = Some(vec![Sketch::new(); KINDS + 1]);
        self.counts.fill(0);
        for (sketch, kinds) in std::mem::take(&mut self.exact).into_values() {
            self.sketch(sketch, kinds);
        }
    }

    fn sketch(&mut self, token: u64, kinds: u16) {
        for (bit, sketch) in self.sketches.iter_mut().flatten().enumerate() {
            if bit == KINDS || kinds >> bit & 1 == 1 {
                sketch.insert(token);
            }
        }
    }

    /// Distinct persons in all, and whether exact.
    pub(crate) fn total(&self) -> (u64, bool) {
        match &self.sketches {
            None => (u64::try_from(self.exact.len()).unwrap_or(u64::MAX), true),
            Some(sketches) => (sketches.last().map_or(0, rounded), false),
        }
    }

    /// Distinct persons with a kind of change, without those whose own row was deleted in the same
    /// transaction where the change is a dependant's.
    pub(crate) fn of(&self, kind: Kinds) -> u64 {
        let raw = self.raw(kind);
        let parents = self.raw(Kinds::PARENT_DELETED);
        if parents == 0 || kind == Kinds::DELETED || kind == Kinds::PARENT_DELETED {
            return raw;
        }
        if self.sketches.is_some() {
            return raw.saturating_sub(parents);
        }
        let wanted = |kinds: u16| kinds & kind.0 != 0 && kinds & Kinds::PARENT_DELETED.0 == 0;
        let count = self.exact.values().filter(|(_, kinds)| wanted(*kinds)).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    fn raw(&self, kind: Kinds) -> u64 {
        let bit = usize::try_from(kind.0.trailing_zeros()).unwrap_or_default();
        match &self.sketches {
            None => self.counts.get(bit).copied().unwrap_or_default(),
            Some(sketches) => sketches.get(bit).map_or(0, rounded),
        }
    }

    /// Hands out the persons with a kind of change (as [`Self::of`] counts them): one by one while
    /// exact, else as a sketch.
    pub(crate) fn each(
        &self,
        kind: Kinds,
        mut one: impl FnMut(Subject),
        all: impl FnOnce(&Sketch),
    ) {
        let bit = usize::try_from(kind.0.trailing_zeros()).unwrap_or_default();
        if let Some(sketches) = &self.sketches {
            if let Some(sketch) = sketches.get(bit) {
                all(sketch);
            }
            return;
        }
        let is_cascade = kind != Kinds::DELETED && kind != Kinds::PARENT_DELETED;
        let is_it = |kinds: u16| {
            let is_parent = kinds & Kinds::PARENT_DELETED.0 != 0;
            kinds & kind.0 != 0 && !(is_cascade && is_parent)
        };
        let mut subjects: Vec<Subject> = (self.exact.iter())
            .filter(|(_, (_, kinds))| is_it(*kinds))
            .map(|(token, (sketch, _))| Subject { token: *token, sketch: *sketch })
            .collect();
        subjects.sort_unstable_by_key(|subject| subject.token);
        subjects.into_iter().for_each(&mut one);
    }

    /// All persons as a sketch.
    pub(crate) fn as_sketch(&self) -> Sketch {
        if let Some(all) = self.sketches.as_ref().and_then(|sketches| sketches.last()) {
            return all.clone();
        }
        let mut sketch = Sketch::new();
        self.feed(&mut sketch);
        sketch
    }

    /// Adds all persons to a sketch.
    pub(crate) fn feed(&self, sketch: &mut Sketch) {
        match self.sketches.as_ref().and_then(|sketches| sketches.last()) {
            Some(all) => sketch.merge(all),
            None => self.exact.values().for_each(|(token, _)| sketch.insert(*token)),
        }
    }

    /// Adds the persons of another set (one kind of change or all), for counts over transactions.
    pub(crate) fn absorb(&mut self, other: &Self, kind: Option<Kinds>, exact_max: usize) {
        if let Some(theirs) = &other.sketches {
            if self.sketches.is_none() {
                self.spill();
            }
            let bit = kind.map_or(KINDS, |kind| kind.0.trailing_zeros() as usize);
            let all = self.sketches.as_mut().and_then(|sketches| sketches.last_mut());
            if let (Some(all), Some(theirs)) = (all, theirs.get(bit)) {
                all.merge(theirs);
            }
            return;
        }
        for (token, (sketch, kinds)) in &other.exact {
            if kind.is_none_or(|kind| kinds & kind.0 != 0) {
                let subject = Subject { token: *token, sketch: *sketch };
                self.insert(subject, Kinds::SEEN, exact_max);
            }
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer saturates, and estimates are not negative"
)]
fn rounded(sketch: &Sketch) -> u64 {
    libm::round(sketch.estimate()) as u64
}

impl State for Persons {
    fn save(&self, out: &mut Vec<u8>) {
        let sorted: BTreeMap<u64, (u64, u16)> =
            self.exact.iter().map(|(token, person)| (*token, *person)).collect();
        sorted.save(out);
        self.sketches.save(out);
    }
    fn load(input: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let exact = BTreeMap::<u64, (u64, u16)>::load(input)?;
        let sketches = Option::<Vec<Sketch>>::load(input)?;
        if sketches.as_ref().is_some_and(|all| all.len() != KINDS + 1 || !exact.is_empty()) {
            return Err(CheckpointError::Damaged("persons"));
        }
        let exact: Tokens = exact.into_iter().collect();
        let mut persons = Self { exact, counts: vec![0; KINDS], sketches };
        let kinds: Vec<u16> = persons.exact.values().map(|(_, kinds)| *kinds).collect();
        kinds.into_iter().for_each(|kinds| persons.count(kinds));
        Ok(persons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(n: u64) -> Subject {
        Subject { token: mix(n), sketch: n }
    }

    #[test]
    fn estimates_are_close() {
        for n in [10u64, 1_000, 70_000, 500_000] {
            let mut sketch = Sketch::new();
            (0..n).for_each(|i| sketch.insert(i));
            let off = sketch.estimate() / n as f64 - 1.0;
            assert!(off.abs() < 0.05, "{n}: {off}");
        }
    }

    #[test]
    fn exact_up_to_the_bound() {
        let mut persons = Persons::new();
        (0..100).for_each(|n| persons.insert(person(n), Kinds::CHANGED, 100));
        assert_eq!(persons.total(), (100, true));
        persons.insert(person(5), Kinds::DELETED, 100);
        assert_eq!((persons.of(Kinds::CHANGED), persons.of(Kinds::DELETED)), (100, 1));
        persons.insert(person(100), Kinds::CHANGED, 100);
        let (count, exact) = persons.total();
        assert!(!exact && (96..=106).contains(&count), "{count}");
    }

    #[test]
    fn dependants_of_deleted_persons_do_not_count() {
        let mut persons = Persons::new();
        persons.insert(person(1), Kinds(Kinds::DELETED.0 | Kinds::PARENT_DELETED.0), 10);
        persons.insert(person(1), Kinds::ORDERS_CHANGED, 10);
        persons.insert(person(2), Kinds::ORDERS_CHANGED, 10);
        assert_eq!(persons.of(Kinds::ORDERS_CHANGED), 1);
        assert_eq!(persons.of(Kinds::DELETED), 1);
    }

    #[test]
    fn saved_and_loaded() {
        for max in [1_000, 10] {
            let mut persons = Persons::new();
            (0..50).for_each(|n| persons.insert(person(n), Kinds::CHANGED, max));
            let mut bytes = Vec::new();
            persons.save(&mut bytes);
            assert_eq!(Persons::load(&mut Reader::new(&bytes)), Ok(persons));
        }
    }
}

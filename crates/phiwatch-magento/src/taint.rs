//! Which values of persons the catalogue's tables were seen to hold.
//!
//! Input: tokens ([`crate::values`]) as rows of the catalogue's tables come, and the ends of
//! transactions. Output: whether a token was seen, and whether just now.
//!
//! # Invariants
//! - At most `max` tokens (of 11 to 16 bytes) per generation, two generations; the older is dropped whole when the
//!   younger is full, and what it held alone is counted. So what is forgotten depends on how many
//!   values came, not on the key.
//! - Tokens count when their transaction is committed. Those of a transaction that is rolled back
//!   or only prepared (XA) are not kept.

use std::collections::VecDeque;

use crate::values::TOKEN_BITS;

/// Tokens of one transaction, at most.
const FRESH_MAX: usize = 100_000;
/// Values that count as seen just now, and the transactions in which.
pub(crate) const RECENT_MAX: usize = 256;
const RECENT_TRANSACTIONS: u64 = 16;
/// Of the open transaction, how many of the latest values are compared.
const FRESH_COMPARED: usize = 64;

const EMPTY: u64 = u64::MAX;

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// Never seen in a table of the catalogue.
    No,
    /// Seen.
    Known,
    /// Seen in this transaction, or in one of the latest.
    Active,
}

/// A sorted open-addressing table of tokens: an entry stands at or after the place that its upper
/// bits name, and all entries are in ascending order, so that it is saved without sorting.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TokenSet {
    slots: Vec<u64>,
    bits: u32,
    len: usize,
}

impl TokenSet {
    const BITS_MIN: u32 = 8;

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn home(&self, token: u64) -> usize {
        usize::try_from(token >> (TOKEN_BITS - self.bits)).unwrap_or(0)
    }

    /// Where the token stands, or would.
    fn place(&self, token: u64) -> usize {
        let start = self.home(token);
        let after = self.slots.get(start..).unwrap_or_default();
        start + after.iter().take_while(|slot| **slot < token).count()
    }

    pub(crate) fn contains(&self, token: u64) -> bool {
        self.len > 0 && self.slots.get(self.place(token)) == Some(&token)
    }

    /// Whether it was not there.
    pub(crate) fn insert(&mut self, token: u64) -> bool {
        if self.slots.is_empty() || self.len * 4 >= (3 << self.bits) {
            self.grow();
        }
        let place = self.place(token);
        if self.slots.get(place) == Some(&token) {
            return false;
        }
        let free = self.slots.get(place..).and_then(|rest| rest.iter().position(|s| *s == EMPTY));
        match free {
            Some(free) => {
                self.slots.copy_within(place..place + free, place + 1);
                self.slots[place] = token;
            }
            None => self.slots.insert(place, token),
        }
        self.len += 1;
        true
    }

    fn grow(&mut self) {
        let tokens: Vec<u64> = self.iter().collect();
        self.bits = (self.bits + 1).max(Self::BITS_MIN);
        self.slots = vec![EMPTY; (1 << self.bits) + 16];
        let mut next = 0;
        for token in tokens {
            let place = self.home(token).max(next);
            if place >= self.slots.len() {
                self.slots.resize(place + 1, EMPTY);
            }
            self.slots[place] = token;
            next = place + 1;
        }
    }

    /// In ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().copied().filter(|slot| *slot != EMPTY)
    }
}

/// Values of persons that were seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Taint {
    pub(crate) young: TokenSet,
    pub(crate) old: TokenSet,
    /// Transactions committed.
    pub(crate) number: u64,
    /// Transaction and token, the latest last.
    pub(crate) recent: VecDeque<(u64, u64)>,
    fresh: Vec<u64>,
    /// Tokens that there was no room for, and those forgotten.
    pub(crate) dropped: u64,
}

impl Taint {
    /// A row of the catalogue's tables holds the value.
    pub(crate) fn learn(&mut self, token: u64) {
        if self.fresh.last() == Some(&token) {
            return;
        }
        if self.fresh.len() < FRESH_MAX {
            self.fresh.push(token);
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn look(&self, token: u64) -> Seen {
        let since = self.number.saturating_sub(RECENT_TRANSACTIONS);
        let is_recent = self.fresh.iter().rev().take(FRESH_COMPARED).any(|known| *known == token)
            || (self.recent.iter().rev())
                .take_while(|(number, _)| *number >= since)
                .any(|(_, known)| *known == token);
        if is_recent {
            Seen::Active
        } else if self.young.contains(token) || self.old.contains(token) {
            Seen::Known
        } else {
            Seen::No
        }
    }

    /// The transaction is committed.
    pub(crate) fn commit(&mut self, max: usize) {
        let mut fresh = std::mem::take(&mut self.fresh);
        for token in &fresh {
            self.keep(*token, max);
        }
        for token in fresh.iter().rev().take(FRESH_COMPARED).rev() {
            self.recent.push_back((self.number, *token));
        }
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        self.number += 1;
        fresh.clear();
        fresh.shrink_to(1_024);
        self.fresh = fresh;
    }

    /// What the transaction taught does not stand.
    pub(crate) fn discard(&mut self) {
        self.fresh.clear();
        self.fresh.shrink_to(1_024);
    }

    /// A value that is known without a row of the log.
    pub(crate) fn keep(&mut self, token: u64, max: usize) {
        if self.young.contains(token) {
            return;
        }
        if self.young.len() >= max {
            let young = std::mem::take(&mut self.young);
            let old = std::mem::replace(&mut self.old, young);
            self.dropped += old.iter().filter(|token| !self.old.contains(*token)).count() as u64;
        }
        self.young.insert(token);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::token::mix;

    fn token(n: u64) -> u64 {
        mix(n) >> (64 - TOKEN_BITS)
    }

    #[test]
    fn set_holds_what_a_tree_holds_in_the_same_order() {
        let mut set = TokenSet::default();
        let mut tree = BTreeSet::new();
        for n in 0..40_000_u64 {
            // Some twice, some at the very ends.
            let token = match n % 1_000 {
                0 => (1 << TOKEN_BITS) - 1 - n / 1_000,
                1 => n / 1_000,
                _ => token(n % 30_000),
            };
            assert_eq!(set.insert(token), tree.insert(token));
        }
        assert!(set.iter().eq(tree.iter().copied()));
        assert_eq!(set.len(), tree.len());
        assert!(tree.iter().all(|token| set.contains(*token)));
        assert!((50_000..60_000).all(|n| set.contains(token(n)) == tree.contains(&token(n))));
    }

    #[test]
    fn generations_forget_the_oldest_and_count_them() {
        let mut taint = Taint::default();
        for n in 0..25 {
            taint.keep(token(n), 10);
        }
        assert_eq!(taint.dropped, 10);
        assert_eq!(taint.look(token(3)), Seen::No);
        assert_eq!(taint.look(token(12)), Seen::Known);
        assert_eq!(taint.look(token(24)), Seen::Known);
    }

    #[test]
    fn values_count_at_the_commit_and_are_active_for_a_while() {
        let mut taint = Taint::default();
        taint.learn(token(1));
        assert_eq!(taint.look(token(1)), Seen::Active);
        taint.discard();
        assert_eq!(taint.look(token(1)), Seen::No);
        taint.learn(token(1));
        for _ in 0..RECENT_TRANSACTIONS {
            taint.commit(100);
            assert_eq!(taint.look(token(1)), Seen::Active);
        }
        taint.commit(100);
        assert_eq!(taint.look(token(1)), Seen::Known);
    }
}

//! Ids to their owners: compact, bounded, deterministic.
//!
//! AUTO_INCREMENT ids are dense, so owners stand in pages of 64 consecutive ids (8 bytes an id, no
//! keys), found by a small open-addressing index of page numbers.
//!
//! # Invariants
//! - Pages ≤ ids_max / 64; at the bound the sixteenth with the lowest ids (the oldest) is dropped
//!   and counted.
//! - No empty page stays. [`IdMap::iter`] is in order of ids, whatever the history.

use crate::token::mix;

/// Ids in a page: one bit each in a word of presence.
const PAGE_IDS: u32 = 64;
/// Slots of the smallest index.
const INDEX_MIN: usize = 16;
/// A vacant slot of the index.
const VACANT: u32 = u32::MAX;

/// No store or website, or an unknown one.
pub(crate) const NO_SITE: u16 = u16::MAX;
/// The customer of something is not known (0 = there is none).
pub(crate) const NO_CUSTOMER: u32 = u32::MAX;

/// Whose an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Customer id; 0 = a guest's, [`NO_CUSTOMER`] = not known. Of a customer itself: 32 keyed
    /// bits of the e-mail address, 0 = not known.
    pub(crate) customer: u32,
    /// Store id or [`NO_SITE`].
    pub(crate) store: u16,
    /// Website id or [`NO_SITE`]; only of customers.
    pub(crate) website: u16,
}

impl Owner {
    pub(crate) const UNKNOWN: Self =
        Self { customer: NO_CUSTOMER, store: NO_SITE, website: NO_SITE };
}

#[derive(Clone)]
struct Page {
    number: u32,
    present: u64,
    owners: [Owner; PAGE_IDS as usize],
}

/// A map from ids (1 to 2^32 - 1) to [`Owner`]s.
#[derive(Clone, Default)]
pub(crate) struct IdMap {
    pages: Vec<Page>,
    index: Vec<u32>,
    len: u64,
}

impl std::fmt::Debug for IdMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdMap({} ids)", self.len)
    }
}

impl IdMap {
    /// Number of ids.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The owner of an id.
    pub(crate) fn get(&self, id: u32) -> Option<Owner> {
        let page = &self.pages[self.find(id / PAGE_IDS)?];
        let place = id % PAGE_IDS;
        (page.present >> place & 1 == 1).then(|| page.owners[place as usize])
    }

    /// Sets the owner of an id; returns the number of other ids dropped to stay within `ids_max`.
    pub(crate) fn insert(&mut self, id: u32, owner: Owner, ids_max: u32) -> u64 {
        let number = id / PAGE_IDS;
        let mut dropped = 0;
        let page = if let Some(page) = self.find(number) {
            page
        } else {
            let pages_max = (ids_max / PAGE_IDS).max(1) as usize;
            if self.pages.len() >= pages_max {
                dropped = self.drop_oldest(pages_max);
            }
            self.add_page(number)
        };
        let page = &mut self.pages[page];
        let bit = 1_u64 << (id % PAGE_IDS);
        self.len += u64::from(page.present & bit == 0);
        page.present |= bit;
        page.owners[(id % PAGE_IDS) as usize] = owner;
        dropped
    }

    /// Forgets an id.
    pub(crate) fn remove(&mut self, id: u32) {
        let Some(at) = self.find(id / PAGE_IDS) else { return };
        let page = &mut self.pages[at];
        let bit = 1_u64 << (id % PAGE_IDS);
        if page.present & bit == 0 {
            return;
        }
        page.present ^= bit;
        self.len -= 1;
        if page.present == 0 {
            self.remove_page(at);
        }
    }

    /// All ids and owners, in order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Owner)> {
        let mut order: Vec<&Page> = self.pages.iter().collect();
        order.sort_unstable_by_key(|page| page.number);
        order.into_iter().flat_map(|page| {
            (0..PAGE_IDS)
                .filter(|place| page.present >> place & 1 == 1)
                .map(|place| (page.number * PAGE_IDS + place, page.owners[place as usize]))
        })
    }

    fn home(&self, number: u32) -> usize {
        let hash = mix(u64::from(number)) & (self.index.len() as u64 - 1);
        usize::try_from(hash).unwrap_or(0)
    }

    /// Place of a page in `pages`.
    fn find(&self, number: u32) -> Option<usize> {
        if self.index.is_empty() {
            return None;
        }
        let mut slot = self.home(number);
        loop {
            let at = self.index[slot];
            if at == VACANT {
                return None;
            }
            if self.pages[at as usize].number == number {
                return Some(at as usize);
            }
            slot = (slot + 1) & (self.index.len() - 1);
        }
    }

    fn add_page(&mut self, number: u32) -> usize {
        if (self.pages.len() + 1) * 2 > self.index.len() {
            let slots = (self.index.len() * 2).max(INDEX_MIN);
            self.rebuild(slots);
        }
        let at = self.pages.len();
        self.pages.push(Page { number, present: 0, owners: [Owner::UNKNOWN; PAGE_IDS as usize] });
        self.enter(number, at);
        at
    }

    fn rebuild(&mut self, slots: usize) {
        self.index = vec![VACANT; slots];
        for at in 0..self.pages.len() {
            self.enter(self.pages[at].number, at);
        }
    }

    fn enter(&mut self, number: u32, at: usize) {
        let mut slot = self.home(number);
        while self.index[slot] != VACANT {
            slot = (slot + 1) & (self.index.len() - 1);
        }
        self.index[slot] = u32::try_from(at).unwrap_or(VACANT);
    }

    fn slot_of(&self, at: usize) -> usize {
        let mut slot = self.home(self.pages[at].number);
        while self.index[slot] as usize != at {
            slot = (slot + 1) & (self.index.len() - 1);
        }
        slot
    }

    /// Removes a page: backward-shift deletion in the index (Knuth 6.4, algorithm R), then the
    /// last page takes its place.
    fn remove_page(&mut self, at: usize) {
        let mask = self.index.len() - 1;
        let mut hole = self.slot_of(at);
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let candidate = self.index[slot];
            if candidate == VACANT {
                break;
            }
            let home = self.home(self.pages[candidate as usize].number);
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.index[hole] = candidate;
                hole = slot;
            }
        }
        self.index[hole] = VACANT;
        let last = self.pages.len() - 1;
        if at != last {
            let slot = self.slot_of(last);
            self.index[slot] = u32::try_from(at).unwrap_or(VACANT);
        }
        self.pages.swap_remove(at);
    }

    fn drop_oldest(&mut self, pages_max: usize) -> u64 {
        let count = (pages_max / 16).max(1);
        self.pages.sort_unstable_by_key(|page| page.number);
        let dropped = self.pages.drain(..count.min(self.pages.len()));
        let dropped: u64 = dropped.map(|page| u64::from(page.present.count_ones())).sum();
        self.len -= dropped;
        self.rebuild(self.index.len());
        dropped
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn owner(customer: u32) -> Owner {
        Owner { customer, store: 1, website: 2 }
    }

    #[test]
    fn oldest_ids_are_dropped_at_the_bound() {
        let mut map = IdMap::default();
        for id in 1..64 * 16 {
            assert_eq!(map.insert(id, owner(id), 64 * 16), 0);
        }
        assert_eq!(map.insert(64 * 16, owner(1), 64 * 16), 63);
        assert_eq!(map.get(1), None);
        assert_eq!(map.get(64), Some(owner(64)));
        assert_eq!(map.len(), 64 * 15 + 1);
    }

    #[test]
    fn a_million_dense_ids_fit_in_twelve_megabytes() {
        let mut map = IdMap::default();
        for id in 1..=1_000_000 {
            map.insert(id, owner(id), 8_000_000);
        }
        let bytes = map.pages.len() * size_of::<Page>() + map.index.len() * 4;
        assert!(bytes < 12 << 20, "{bytes}");
        assert_eq!(map.get(777_777), Some(owner(777_777)));
    }

    proptest! {
        #[test]
        fn equals_a_tree_map(steps in prop::collection::vec((0_u8..3, 1_u32..5_000), 1..3_000)) {
            let mut map = IdMap::default();
            let mut model = BTreeMap::new();
            for (step, id) in steps {
                if step == 0 {
                    map.remove(id);
                    model.remove(&id);
                } else {
                    map.insert(id, owner(id), 1_000_000);
                    model.insert(id, owner(id));
                }
                prop_assert_eq!(map.get(id), model.get(&id).copied());
            }
            prop_assert_eq!(map.len(), model.len() as u64);
            prop_assert!(map.iter().eq(model));
        }
    }
}

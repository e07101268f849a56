//! Customers by their e-mail address's check: whether another website has the same one.
//!
//! # Invariants
//! - Holds ids only; whether one still fits is looked up. The answer does not depend on the order in
//!   which ids came.

use crate::{
    map::{IdMap, NO_SITE},
    token,
};

/// A vacant slot; no id is 0.
const VACANT: u32 = 0;
const SLOTS_MIN: usize = 1_024;

/// Open addressing over customers' ids. Not saved: made anew from what is known.
#[derive(Clone, Default)]
pub(crate) struct Emails {
    slots: Vec<u32>,
    used: usize,
}

impl std::fmt::Debug for Emails {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Emails({})", self.used)
    }
}

impl Emails {
    /// All customers that are known.
    pub(crate) fn of(customers: &IdMap) -> Self {
        let known = usize::try_from(customers.len()).unwrap_or(0);
        let slots = (known * 4).next_power_of_two().max(SLOTS_MIN);
        let mut emails = Self { slots: vec![VACANT; slots], used: 0 };
        for (id, owner) in customers.iter() {
            emails.enter(owner.customer, id);
        }
        emails
    }

    /// A customer has come, or has another address.
    pub(crate) fn insert(&mut self, check: u32, id: u32, customers: &IdMap) {
        if (self.used + 1) * 2 > self.slots.len() {
            *self = Self::of(customers);
        }
        self.enter(check, id);
    }

    fn enter(&mut self, check: u32, id: u32) {
        if check == 0 || id == VACANT {
            return;
        }
        let mask = self.slots.len() - 1;
        let mut at = self.home(check);
        while self.slots[at] != VACANT {
            if self.slots[at] == id {
                return;
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = id;
        self.used += 1;
    }

    fn home(&self, check: u32) -> usize {
        let hash = token::mix(u64::from(check)) & (self.slots.len() as u64 - 1);
        usize::try_from(hash).unwrap_or(0)
    }

    /// The website (of several, the lowest) of another customer with the same address.
    pub(crate) fn elsewhere(
        &self,
        check: u32,
        (id, website): (u32, u16),
        customers: &IdMap,
    ) -> Option<u16> {
        if check == 0 || self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut found: Option<u16> = None;
        let mut at = self.home(check);
        while self.slots[at] != VACANT {
            let other = self.slots[at];
            let owner = customers.get(other).filter(|owner| owner.customer == check);
            if let Some(of) = owner.map(|owner| owner.website).filter(|_| other != id)
                && ![0, NO_SITE, website].contains(&of)
            {
                found = Some(found.map_or(of, |known| known.min(of)));
            }
            at = (at + 1) & mask;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Owner;

    #[test]
    fn the_same_address_in_another_website() {
        let mut customers = IdMap::default();
        let mut emails = Emails::of(&customers);
        for id in 1..=5_000u32 {
            let website = if id % 2 == 0 { 1 } else { 2 };
            let check = 7 + id.div_ceil(2);
            customers.insert(id, Owner { customer: check, store: 1, website }, 1_000_000);
            emails.insert(check, id, &customers);
        }
        let fresh = Emails::of(&customers);
        for id in [1, 2, 777, 5_000] {
            let owner = customers.get(id).unwrap();
            let other = if owner.website == 1 { 2 } else { 1 };
            for emails in [&emails, &fresh] {
                let found = emails.elsewhere(owner.customer, (id, owner.website), &customers);
                assert_eq!(found, Some(other), "{id}");
            }
        }
        customers.remove(1);
        assert_eq!(emails.elsewhere(8, (2, 1), &customers), None);
        assert_eq!(emails.elsewhere(1, (2, 1), &customers), None);
        assert_eq!(emails.elsewhere(0, (2, 1), &customers), None);
    }
}

//! The table maps of a file: parsed once, found again byte for byte.
//!
//! Most bytes of an OLTP binlog are table maps that repeat: a map that equals the last one with
//! its id is compared and not parsed. Memory is bounded: the maps unused for longest go first,
//! and come back with their next event, as every statement brings its own maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rows::Walk;
use crate::{Malformed, Plan, Table, TableName};

/// Most maps kept.
const MAPS_MAX: usize = 8_192;
/// Most memory for maps, bytes, estimated.
const BYTES_MAX: usize = 8 << 20;
/// Estimate of what a parsed column takes beside its bytes in the event.
const COLUMN_BYTES: usize = 128;
/// The same for the name of a member of an ENUM or SET.
const MEMBER_BYTES: usize = 48;

/// A table whose rows can be read.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) table: Table,
    pub(crate) plan: Plan,
    pub(crate) walk: Walk,
}

/// What became of a table map.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Mapped(Arc<Mapped>),
    /// Its rows cannot be read.
    Refused(TableName, Malformed),
}

#[derive(Debug)]
struct Kept {
    raw: Box<[u8]>,
    entry: Entry,
    /// The map has no names of columns: the revision of those that it was given, or not given.
    names: Option<u64>,
    cost_bytes: usize,
    used: u64,
}

#[derive(Debug, Default)]
pub(crate) struct TableCache {
    kept: BTreeMap<u64, Kept>,
    cost_bytes: usize,
    clock: u64,
    evicted: u64,
}

impl TableCache {
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.cost_bytes = 0;
    }

    /// Maps dropped so far to stay within the bounds.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Entry> {
        self.kept.get(&id).map(|kept| &kept.entry)
    }

    /// Whether the map with this id has these bytes, and what was asked about it at this revision
    /// of the names holds; it then counts as used.
    pub(crate) fn is_known(&mut self, id: u64, raw: &[u8], revision: u64) -> bool {
        self.clock = self.clock.saturating_add(1);
        match self.kept.get_mut(&id) {
            Some(kept) if *kept.raw == *raw && kept.names.is_none_or(|names| names == revision) => {
                kept.used = self.clock;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn remove(&mut self, id: u64) {
        if let Some(kept) = self.kept.remove(&id) {
            self.cost_bytes = self.cost_bytes.saturating_sub(kept.cost_bytes);
        }
    }

    /// `names`: the revision of the names, for a map that has none.
    pub(crate) fn insert(&mut self, id: u64, raw: &[u8], entry: Entry, names: Option<u64>) {
        self.remove(id);
        let parsed = match &entry {
            Entry::Mapped(mapped) => parsed_bytes(&mapped.table),
            Entry::Refused(..) => COLUMN_BYTES,
        };
        let cost_bytes = raw.len().saturating_mul(2).saturating_add(parsed);
        while self.kept.len() >= MAPS_MAX || self.cost_bytes.saturating_add(cost_bytes) > BYTES_MAX
        {
            if self.kept.is_empty() {
                break;
            }
            self.evict();
        }
        self.cost_bytes = self.cost_bytes.saturating_add(cost_bytes);
        self.kept.insert(id, Kept { raw: raw.into(), entry, names, cost_bytes, used: self.clock });
    }

    /// Drops the quarter that was unused for longest: one at a time would search all of them for
    /// each table of a server that has more than there is room for.
    fn evict(&mut self) {
        let mut uses: Vec<u64> = self.kept.values().map(|kept| kept.used).collect();
        let index = uses.len().div_ceil(4).saturating_sub(1);
        let last = *uses.select_nth_unstable(index).1;
        let (kept, cost_bytes) = (&mut self.kept, &mut self.cost_bytes);
        let before = kept.len();
        kept.retain(|_, kept| {
            let stays = kept.used > last;
            if !stays {
                *cost_bytes = cost_bytes.saturating_sub(kept.cost_bytes);
            }
            stays
        });
        let dropped = before.saturating_sub(kept.len());
        self.evicted = self.evicted.saturating_add(dropped as u64);
    }
}

fn parsed_bytes(table: &Table) -> usize {
    let members: usize = table.columns.iter().map(|column| column.members.len()).sum();
    let columns = table.columns.len().saturating_mul(COLUMN_BYTES);
    columns.saturating_add(members.saturating_mul(MEMBER_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Entry {
        let name = TableName { database: "d".into(), table: "t".into() };
        Entry::Refused(name, Malformed::Unsupported("x"))
    }

    #[test]
    fn the_maps_unused_for_longest_go_first() {
        let mut cache = TableCache::default();
        for id in 0..8_192 {
            assert!(!cache.is_known(id, b"map", 0));
            cache.insert(id, b"map", refused(), None);
        }
        assert!(cache.is_known(0, b"map", 9) && !cache.is_known(0, b"other", 0));
        cache.insert(9_000, b"map", refused(), None);
        assert_eq!(cache.evicted(), 2_048);
        assert!(cache.get(0).is_some() && cache.get(9_000).is_some());
        assert!(cache.get(1).is_none() && cache.get(2_048).is_none() && cache.get(2_049).is_some());
    }

    #[test]
    fn a_map_without_names_is_known_at_its_revision_only() {
        let mut cache = TableCache::default();
        cache.insert(1, b"map", refused(), Some(3));
        assert!(cache.is_known(1, b"map", 3) && !cache.is_known(1, b"map", 4));
        cache.insert(1, b"map", refused(), Some(4));
        assert!(cache.is_known(1, b"map", 4));
    }

    #[test]
    fn memory_is_bounded_by_bytes_too() {
        let mut cache = TableCache::default();
        let large = vec![0; 1 << 20];
        for id in 0..10 {
            assert!(!cache.is_known(id, &large, 0));
            cache.insert(id, &large, refused(), None);
        }
        assert_eq!((cache.kept.len(), cache.evicted()), (3, 7));
    }
}

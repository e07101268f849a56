//! GTIDs and GTID sets, as text and as bytes.
//!
//! Input: bytes that are taken as a set's wire form, and as text if they are UTF-8. Asserts that
//! what was read writes and reads back as the same, and the laws of the set operations.

use phiwatch_binlog::{Gtid, GtidSet, GtidState, MariaGtidState};

/// Reads the bytes every way.
pub fn run(data: &[u8]) {
    let wire = GtidSet::decode(data).unwrap_or_default();
    round_trip(&wire);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(gtid) = text.parse::<Gtid>() {
        assert_eq!(gtid.to_string().parse().as_ref(), Ok(&gtid));
        holds(&gtid);
    }
    if let Ok(state) = text.parse::<MariaGtidState>() {
        assert_eq!(state.to_string().parse().as_ref(), Ok(&state));
        assert!(state.iter().all(|gtid| state.contains(&gtid)));
    }
    // The empty text is MySQL's: of which kind an empty state was is not in it.
    if let Ok(state) = text.parse::<GtidState>()
        && !state.is_empty()
    {
        assert_eq!(state.to_string().parse().as_ref(), Ok(&state));
    }
    if let Ok(set) = text.parse::<GtidSet>() {
        round_trip(&set);
        laws(&set, &wire);
    }
    // Two sets in one text: how they relate.
    if let Some((left, right)) = text.split_once('|')
        && let (Ok(left), Ok(right)) = (left.parse(), right.parse())
    {
        laws(&left, &right);
    }
}

fn round_trip(set: &GtidSet) {
    assert_eq!(GtidSet::decode(&set.encode()).as_ref(), Ok(set));
    assert_eq!(set.to_string().parse().as_ref(), Ok(set));
    assert_eq!(set.is_empty(), set.count() == 0);
}

fn laws(a: &GtidSet, b: &GtidSet) {
    let both = a.union(b);
    round_trip(&both);
    assert_eq!(both, b.union(a));
    assert!(a.is_subset(&both) && b.is_subset(&both));
    let (only_a, only_b) = (a.subtract(b), b.subtract(a));
    round_trip(&only_a);
    assert!(only_a.is_subset(a) && a.subtract(a).is_empty());
    assert_eq!(only_a.union(b), both);
    assert_eq!(only_b.union(a), both);
    assert_eq!(a.is_subset(b), only_a.is_empty());
    let most = a.count().saturating_add(b.count());
    assert!(both.count() <= most && only_a.count() <= a.count());
}

fn holds(gtid: &Gtid) {
    let mut state = match gtid {
        Gtid::MySql { .. } => GtidState::MySql(GtidSet::default()),
        Gtid::MariaDb { .. } => GtidState::MariaDb(MariaGtidState::default()),
    };
    assert!(!state.contains(gtid) && state.is_empty());
    state.insert(gtid);
    assert!(state.contains(gtid) && !state.is_empty());
}

//! The classifier's saved tenant maps.
//!
//! Input: saved maps. Asserts that refused bytes change nothing, and that accepted ones give maps
//! that save and restore as the same.

use crate::pipeline::classifier;

/// Restores and saves.
pub fn run(data: &[u8]) {
    let mut first = classifier();
    let before = first.save();
    if first.restore(data).is_err() {
        assert!(first.save() == before, "refused bytes change nothing");
        return;
    }
    let saved = first.save();
    let mut second = classifier();
    second.restore(&saved).expect("a classifier reads its own maps");
    assert!(second.save() == saved, "equal maps give equal bytes");
}

//! Whole binlog files: framing, every event type, every column, JSON lines.
//!
//! Input: a binlog file. It is read twice, as it is (damage, the way back to the next event) and
//! [`sealed`] (what is behind size and checksum).

use crate::lines::Lines;
use crate::log::{read, sealed};

/// Reads the file both ways.
pub fn run(data: &[u8]) {
    let mut lines = Lines::default();
    read(data, &mut lines);
    lines.check();
    let mut lines = Lines::default();
    read(&sealed(data), &mut lines);
    lines.check();
}

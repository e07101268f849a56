//! A shop's binlog through decoder, classifier and engine.
//!
//! Input: a binlog file, read [`sealed`]. Asserts that the state can be saved and taken back, and
//! that the same bytes give the same alerts and the same state.

use crate::log::{read, sealed};
use crate::pipeline::Pipeline;

/// Runs the whole path twice.
pub fn run(data: &[u8]) {
    let file = sealed(data);
    let mut one = Pipeline::new();
    read(&file, &mut one);
    let state = one.engine.checkpoint();
    one.check();
    let mut two = Pipeline::new();
    read(&file, &mut two);
    assert!(state == two.engine.checkpoint(), "same input, same state");
    two.check();
    assert!(one.alerts == two.alerts, "same input, same alerts");
}

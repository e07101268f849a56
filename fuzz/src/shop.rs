//! A shop's binlog through decoder, classifier and engine.
//!
//! Input: a binlog file, read [`sealed`]. Asserts that the state can be saved and taken back, and
//! that an engine which is restored from its checkpoint after every transaction tells the same
//! alerts and ends in the same state as one that runs through.

use crate::log::{read, sealed};
use crate::pipeline::Pipeline;

/// Runs the whole path twice, without and with restarts.
pub fn run(data: &[u8]) {
    let file = sealed(data);
    let mut one = Pipeline::new();
    read(&file, &mut one);
    let state = one.engine.checkpoint();
    one.check();
    let mut two = Pipeline::new();
    two.restarts = true;
    read(&file, &mut two);
    assert!(state == two.engine.checkpoint(), "same input, same state");
    two.check();
    assert!(one.alerts == two.alerts, "same input, same alerts");
}

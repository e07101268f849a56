//! Observations of one row change or statement.

use crate::{Fact, Observation};

/// Pushes observations: the first carries the row, further facts about the same row carry none
/// (`op` is empty), so that a row is counted once.
pub(crate) struct Emit<'a> {
    pub(crate) base: Observation,
    pub(crate) out: &'a mut Vec<Observation>,
    pub(crate) is_first: bool,
}

impl Emit<'_> {
    pub(crate) fn fact(&mut self, fact: Fact) {
        let mut observation = self.base.clone();
        if !self.is_first {
            observation.op = None;
            observation.subject = None;
            observation.columns_changed = 0;
            observation.ordinal = None;
        }
        observation.fact = Some(fact);
        self.out.push(observation);
        self.is_first = false;
    }
}

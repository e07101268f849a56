//! Changes that walk through a tenant's customers.
//!
//! Input: edited customers, as they come. Output: whether an edit is a step: its customer stands
//! close behind or before one that was edited a little earlier. Ordinary edits step by chance only;
//! who takes customer after customer steps with nearly every edit, however slowly and among however
//! many other edits.

use std::collections::VecDeque;

use phiwatch_magento::Ordinal;

use crate::state::{CheckpointError, state_struct};

/// Edits that a step may follow.
const HEADS_MAX: usize = 64;
const HEADS_MIN: usize = 4;
/// Customers known per edit remembered: few customers stand close to each other by chance.
const KNOWN_PER_HEAD: f64 = 200.0;
/// Customers that a step may leave out, at most and at least.
const STRIDE_MAX: f64 = 8.0;
const STRIDE_MIN: f64 = 1.5;
/// Probability that an ordinary edit is a step, at most.
const CHANCE_MAX: f64 = 0.01;

/// The same while nearly nobody is known.
const FIRST_CHANCE_MAX: f64 = 0.05;

/// The last edits of a tenant.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Walk {
    /// Newest last.
    heads: VecDeque<Ordinal>,
    /// Lowest and highest id seen.
    span: Option<(Ordinal, Ordinal)>,
}

impl Walk {
    /// Takes an edit of a tenant of whom so many persons are known; true if it is a step.
    pub(crate) fn step(&mut self, who: Ordinal, known: f64) -> bool {
        let (low, high) = self.span.unwrap_or((who, who));
        self.span = Some((low.min(who), high.max(who)));
        let heads = rounded((known / KNOWN_PER_HEAD).clamp(HEADS_MIN as f64, HEADS_MAX as f64));
        while self.heads.len() > heads {
            self.heads.pop_front();
        }
        let stride = (CHANCE_MAX * known / heads as f64).clamp(STRIDE_MIN, STRIDE_MAX);
        // While few are known, what lies between them is not.
        let stride = stride.min(FIRST_CHANCE_MAX * known / heads as f64);
        let reach = stride * low.distance(high) as f64 / known.max(1.0);
        let near = self.heads.iter().position(|head| head.distance(who) as f64 <= reach);
        let is_step = match near.and_then(|at| self.heads.remove(at)) {
            Some(head) => head != who,
            None => {
                if self.heads.len() >= heads {
                    self.heads.pop_front();
                }
                false
            }
        };
        self.heads.push_back(who);
        is_step
    }

    /// Refuses a loaded one of another shape.
    pub(crate) fn check(&self) -> Result<(), CheckpointError> {
        let is_sound = self.heads.len() <= HEADS_MAX;
        if is_sound { Ok(()) } else { Err(CheckpointError::Damaged("walk")) }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between two small constants"
)]
fn rounded(heads: f64) -> usize {
    heads as usize
}

state_struct!(Walk { heads, span });

#[cfg(test)]
mod tests {
    use super::*;

    fn scattered(n: u64) -> Ordinal {
        Ordinal::new(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000_000)
    }

    #[test]
    fn who_goes_from_one_to_the_next_steps_among_others() {
        for down in [false, true] {
            let mut walk = Walk::default();
            let (mut steps, mut by_chance) = (0, 0);
            for n in 0..20_000u64 {
                by_chance += u32::from(walk.step(scattered(n), 50_000.0));
                if n % 20 == 0 {
                    // One customer in twenty ids is this tenant's.
                    let at = if down { 900_000 - n } else { 100_000 + n };
                    steps += u32::from(walk.step(Ordinal::new(at), 50_000.0));
                }
            }
            assert!(steps > 900, "{steps} of 1,000");
            assert!(by_chance < 400, "{by_chance} of 20,000");
        }
    }

    #[test]
    fn the_same_customer_again_is_no_step() {
        let mut walk = Walk::default();
        (0..1_000).for_each(|n| {
            walk.step(scattered(n), 10_000.0);
        });
        let who = Ordinal::new(500_000);
        walk.step(who, 10_000.0);
        assert!((0..50).all(|_| !walk.step(who, 10_000.0)));
    }
}

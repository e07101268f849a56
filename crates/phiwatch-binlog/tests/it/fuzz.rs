//! Mutated events.

//! Damage of all kinds.

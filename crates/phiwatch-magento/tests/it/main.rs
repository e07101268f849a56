//! Rows and statements through the whole classifier, against the tables of a real shop.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod canary;
mod cascades;
mod catalog;
mod companies;
mod control;
mod copies;
mod demo;
mod invariants;
mod operator;
mod signs;
mod state;
mod statements;
mod subjects;
mod values;
mod world;

//! Fuzz targets: one per parser of bytes that come from outside.
//!
//! Each module has `run(data)`, which must return for any bytes: no panic, no overflow, no endless
//! loop, no memory beyond what `run.sh` allows. Beyond that each asserts what must hold of the
//! result (its own documentation says what). The libFuzzer programs in `fuzz_targets/` only call
//! `run`; the corpus test calls it too, without libFuzzer.
//!
//! The formats of the inputs are the wire's own wherever possible, so that a recorded file is a
//! seed; what checksums would keep out is sealed again first ([`log::sealed`]).
//!
//! A finding of the past stays in `corpus/` under a name that begins with `past-`; all other seeds
//! are cut by `cut-corpus`.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod columns;
pub mod config;
pub mod dump;
pub mod events;
pub mod gtids;
pub mod json;
pub mod lines;
pub mod log;
pub mod login;
pub mod payload;
pub mod pipeline;
pub mod rows;
pub mod seeds;
pub mod server;
pub mod shop;
pub mod statements;
pub mod status;
pub mod tables;
pub mod tenants;

/// A target's function.
pub type Run = fn(&[u8]);

/// Every target: its name, which is its folder in `corpus/` too, and what it runs.
pub const TARGETS: [(&str, Run); 15] = [
    ("events", events::run),
    ("shop", shop::run),
    ("tables", tables::run),
    ("rows", rows::run),
    ("columns", columns::run),
    ("json", json::run),
    ("gtids", gtids::run),
    ("statements", statements::run),
    ("status", status::run),
    ("payload", payload::run),
    ("checkpoint", checkpoint::run),
    ("tenants", tenants::run),
    ("login", login::run),
    ("dump", dump::run),
    ("config", config::run),
];

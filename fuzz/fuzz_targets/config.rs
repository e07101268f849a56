//! See [`phiwatch_fuzz::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::config::run(data));

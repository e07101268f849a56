//! See [`phiwatch_fuzz::json`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::json::run(data));

//! See [`phiwatch_fuzz::payload`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::payload::run(data));

//! See [`phiwatch_fuzz::statements`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::statements::run(data));

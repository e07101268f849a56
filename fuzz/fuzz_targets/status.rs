//! See [`phiwatch_fuzz::status`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::status::run(data));

//! See [`phiwatch_fuzz::shop`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::shop::run(data));

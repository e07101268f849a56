//! See [`phiwatch_fuzz::login`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::login::run(data));

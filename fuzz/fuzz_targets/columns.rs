//! See [`phiwatch_fuzz::columns`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::columns::run(data));

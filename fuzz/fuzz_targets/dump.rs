//! See [`phiwatch_fuzz::dump`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::dump::run(data));

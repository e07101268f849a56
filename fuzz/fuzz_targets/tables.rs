//! See [`phiwatch_fuzz::tables`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::tables::run(data));

//! See [`phiwatch_fuzz::gtids`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::gtids::run(data));

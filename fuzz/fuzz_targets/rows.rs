//! See [`phiwatch_fuzz::rows`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::rows::run(data));

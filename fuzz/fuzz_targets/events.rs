//! See [`phiwatch_fuzz::events`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::events::run(data));

//! See [`phiwatch_fuzz::tenants`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phiwatch_fuzz::tenants::run(data));

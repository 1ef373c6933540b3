//! See `veilsum_fuzz::crypto::peers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| veilsum_fuzz::crypto::peers(data));

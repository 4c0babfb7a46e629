//! Feeds `skbdrop::fuzz::record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::record(data));

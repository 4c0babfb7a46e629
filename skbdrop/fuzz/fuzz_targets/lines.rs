//! Feeds `skbdrop::fuzz::lines`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::lines(data));

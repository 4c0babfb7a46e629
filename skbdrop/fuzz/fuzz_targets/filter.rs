//! Feeds `skbdrop::fuzz::filter`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::filter(data));

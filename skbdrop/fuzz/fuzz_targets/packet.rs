//! Feeds `skbdrop::fuzz::packet`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::packet(data));

//! Feeds `skbdrop::fuzz::format`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::format(data));

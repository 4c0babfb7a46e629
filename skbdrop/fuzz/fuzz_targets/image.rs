//! Feeds `skbdrop::fuzz::image`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::image(data));

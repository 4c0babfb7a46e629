//! Feeds `skbdrop::fuzz::replay`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::replay(data));

//! Feeds `skbdrop::fuzz::proc`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::proc(data));

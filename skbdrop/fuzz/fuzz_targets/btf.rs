//! Feeds `skbdrop::fuzz::btf`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::btf(data));

//! Feeds `skbdrop::fuzz::perf`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::perf(data));

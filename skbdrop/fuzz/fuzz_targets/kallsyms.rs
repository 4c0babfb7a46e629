//! Feeds `skbdrop::fuzz::kallsyms`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::kallsyms(data));

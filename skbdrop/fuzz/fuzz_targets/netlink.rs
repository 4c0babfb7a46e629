//! Feeds `skbdrop::fuzz::netlink`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skbdrop::fuzz::netlink(data));

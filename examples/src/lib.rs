//! The examples are the files beside this crate's manifest; `cargo run --example NAME` runs one.

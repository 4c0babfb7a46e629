//! What a monitor needs, holds, and can give up.
#![allow(clippy::unwrap_used)] // tests panic

mod dropped;
mod held;
mod table;

/// The program that the tests run with fewer privileges than they have.
const PROBE: &str = env!("CARGO_BIN_EXE_probe");

//! What the examples share. They are the files and folders beside this crate's manifest, and README.md lists them;
//! `cargo run --release --example NAME` runs one; three need `--features NAME` too.

mod command;
pub mod demo;
mod limitations;
mod line;
pub mod output;
mod plural;
pub mod signals;

pub use command::{Result, nothing, run, seconds};
pub use limitations::tell_limitations;
pub use line::Line;
pub use plural::number_of;

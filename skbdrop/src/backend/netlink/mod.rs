//! Generic netlink's `NET_DM`, the kernel's drop_monitor: what has no BPF has this, and drops in
//! hardware are seen by it alone.

mod answer;
mod bell;
mod config;
mod control;
mod decode;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzz;
mod heritage;
mod losses;
mod mark;
mod members;
mod message;
mod module;
mod options;
mod probe;
mod refusal;
mod socket;
mod source;
mod switch;

pub use options::{NetlinkOptions, WhenRunning};
pub(super) use probe::probe;
pub(super) use source::NetlinkSource;

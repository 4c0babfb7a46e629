//! What the tests share: network namespaces of their own, drops on demand, BTF made by hand.

#![allow(clippy::unwrap_used, missing_debug_implementations)] // tests panic

pub mod btf;
pub mod drop_monitor;
pub mod drops;
pub mod dropwatch;
pub mod frames;
pub mod netns;

use skbdrop::{DropEvent, Monitor};
use std::time::{Duration, Instant};

/// How long a drop that was made may take to come out of a monitor.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Collects events that `wanted` picks until there are `count`; fails after [`PATIENCE`].
pub fn collect(
    monitor: &mut Monitor,
    count: usize,
    mut wanted: impl FnMut(&DropEvent) -> bool,
) -> Vec<DropEvent> {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    while events.len() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        match monitor.next_timeout(left).expect("the backend can be read") {
            Some(event) if wanted(&event) => events.push(event),
            Some(_) => {}
            None => panic!("{} of {count} events came: {events:#?}", events.len()),
        }
    }
    events
}

/// Stops the monitor and takes all that is left.
pub fn drain(monitor: &mut Monitor) -> Vec<DropEvent> {
    monitor.stop();
    monitor
        .iter()
        .map(|event| event.expect("the backend can be read"))
        .collect()
}

/// Runs a program, which must succeed.
pub fn run(program: &str, arguments: &[&str]) {
    let status = std::process::Command::new(program).args(arguments).status();
    let status = status.unwrap_or_else(|e| panic!("cannot start `{program}`: {e}"));
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

//! What this process holds.

use crate::Result;
use std::{fs, time::Duration};

/// How long memory may grow: buffers are not touched as a whole before so much has gone through them.
const WARM_UP: Duration = Duration::from_secs(60);
/// By so much the second half of the time may hold more than the first: what allocators do.
const MAX_GROWTH_KIB: u64 = 1024;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Resources {
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

impl Resources {
    pub(crate) fn now() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|rss| rss.trim().strip_suffix(" kB"));
        Ok(Self {
            rss_kib: rss.ok_or("no VmRSS in /proc/self/status")?.parse()?,
            // One of them is the folder's own.
            descriptors: fs::read_dir("/proc/self/fd")?.count() - 1,
            threads: fs::read_dir("/proc/self/task")?.count(),
        })
    }
}

/// One of the numbers.
type Of = fn(&Resources) -> u64;

/// What is more at the end than it was, of samples that were taken so far apart.
pub(crate) fn grown(held: &[Resources], interval: Duration) -> Vec<String> {
    let warm_up = (WARM_UP.as_secs() / interval.as_secs()) as usize;
    let held = held.get(warm_up..).unwrap_or_default();
    let (first, second) = held.split_at(held.len() / 2);
    let largest = |half: &[Resources], of: Of| half.iter().map(of).max();
    let kinds: [(&str, Of, u64); 3] = [
        ("KiB of memory", |held| held.rss_kib, MAX_GROWTH_KIB),
        ("descriptors", |held| held.descriptors as u64, 0),
        ("threads", |held| held.threads as u64, 0),
    ];
    let grown = kinds.into_iter().filter_map(|(what, of, allowed)| {
        let (before, after) = (largest(first, of)?, largest(second, of)?);
        (after > before + allowed).then(|| format!("{after} {what}, after {before}"))
    });
    grown.collect()
}

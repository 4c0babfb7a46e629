//! What this process holds.

use crate::Result;
use skbdrop_benches::memory_kib;
use std::fs;

/// At one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resources {
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

impl Resources {
    pub(crate) fn now() -> Result<Self> {
        Ok(Self {
            rss_kib: memory_kib("VmRSS")?,
            // One of them is the folder's own.
            descriptors: fs::read_dir("/proc/self/fd")?.count() - 1,
            threads: fs::read_dir("/proc/self/task")?.count(),
        })
    }
}

//! Nanoseconds that the kernel's eBPF programs take a run, by the kernel's own statistics
//! (`BPF_ENABLE_STATS`, since Linux 5.8), which are on for the time of the measurement only.

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use std::{collections::HashSet, fs, io};

/// How often programs ran, and for how long together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// Nanoseconds.
    pub ns: u64,
    /// Runs.
    pub runs: u64,
}

impl RunTime {
    /// Nanoseconds a run. What the kernel adds by measuring is in it, some 50.
    #[must_use]
    pub fn mean_ns(self) -> f64 {
        self.ns as f64 / self.runs.max(1) as f64
    }
}

/// What all eBPF programs that this process has loaded ran for, while `work` was done.
///
/// # Errors
///
/// The kernel's statistics cannot be had: they take root.
pub fn of_own_programs<T>(work: impl FnOnce() -> T) -> io::Result<(RunTime, T)> {
    let _on = enable_stats(Stats::RunTime).map_err(io::Error::other)?;
    let before = so_far()?;
    let result = work();
    let after = so_far()?;
    let spent = RunTime {
        ns: after.ns - before.ns,
        runs: after.runs - before.runs,
    };
    Ok((spent, result))
}

fn so_far() -> io::Result<RunTime> {
    let own = own_programs()?;
    let mut sum = RunTime::default();
    for program in loaded_programs() {
        // Others' may go away meanwhile.
        let Ok(program) = program else { continue };
        if own.contains(&program.id()) {
            sum.ns += u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX);
            sum.runs += program.run_count();
        }
    }
    Ok(sum)
}

/// Numbers of the programs that this process has descriptors of.
fn own_programs() -> io::Result<HashSet<u32>> {
    let mut ids = HashSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        // The folder's own descriptor is gone by the time that one looks at it.
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        let mut lines = text.lines();
        let id = lines.find_map(|line| line.strip_prefix("prog_id:"));
        ids.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
    }
    Ok(ids)
}

//! What a drop costs in the kernel that the eBPF backend's filter leaves out, and what an empty program does.

use crate::{
    flood,
    floor::{Floor, Kind},
    run_time,
};
use skbdrop::{Backend, Filter, Monitor};

/// Mean nanoseconds a run of an empty program, in a flood of so many datagrams.
///
/// # Panics
///
/// It takes root.
#[must_use]
pub fn empty(datagrams: usize) -> f64 {
    let _floor = Floor::attach(Kind::Empty).expect("root");
    measure(datagrams)
}

/// The same of the monitor's program, with a filter that none of them passes.
///
/// # Panics
///
/// It takes root, or `text` is no filter, or one that some pass.
#[must_use]
pub fn filtered(text: &str, datagrams: usize) -> f64 {
    let filter: Filter = text.parse().expect("a filter");
    let builder = Monitor::builder().backend(Backend::Ebpf).symbols(false);
    let monitor = builder.filter(filter).build().expect("root");
    let mean = measure(datagrams);
    let stats = monitor.stats().expect("counters");
    assert!(stats.filtered >= datagrams as u64, "`{text}`: {stats:?}");
    mean
}

fn measure(datagrams: usize) -> f64 {
    let (spent, ()) = run_time::of_own_programs(|| flood(datagrams)).expect("statistics");
    spent.mean_ns()
}

//! The perf backend: perf events on the tracepoint `skb:kfree_skb`, described by tracefs.

mod bell;
mod decode;
mod event;
mod format;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzz;
mod hotplug;
mod ring;
mod source;

pub(super) use source::PerfSource;

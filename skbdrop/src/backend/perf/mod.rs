//! The perf backend: perf events on the tracepoint `skb:kfree_skb`, described by tracefs.

mod decode;
mod format;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzz;
mod source;

pub(super) use source::PerfSource;

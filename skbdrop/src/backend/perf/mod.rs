//! The perf backend: perf events on the tracepoint `skb:kfree_skb`, described by tracefs.

mod decode;
mod format;
mod source;

pub(super) use source::PerfSource;

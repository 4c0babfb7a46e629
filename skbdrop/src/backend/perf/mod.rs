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

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
compile_error!(
    "the crate perf-event2 is not for this architecture: take skbdrop without its default features, and of them those but `perf`"
);

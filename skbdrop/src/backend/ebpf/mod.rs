//! The eBPF backend: the program of `skbdrop-ebpf` on the tracepoint `skb:kfree_skb`.

mod config;
mod decode;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzz;
mod object;
mod source;

pub(crate) use source::EbpfSource;

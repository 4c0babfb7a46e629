//! The eBPF backend: the program of `skbdrop-ebpf` on the tracepoint `skb:kfree_skb`.

mod assembler;
mod bell;
mod cast;
mod config;
mod count;
mod cpus;
mod decode;
mod filter;
mod fold;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzz;
mod groups;
mod load;
mod misses;
mod object;
mod packet;
mod protocol;
mod qdisc;
mod source;
mod splice;

pub(crate) use count::EbpfCounts;
pub(crate) use skbdrop_ebpf::{CountKey, by};
pub(crate) use source::EbpfSource;

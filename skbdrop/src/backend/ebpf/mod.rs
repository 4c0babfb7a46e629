//! The eBPF backend: the program of `skbdrop-ebpf` on the tracepoint `skb:kfree_skb`.

mod assembler;
mod config;
mod count;
mod cpus;
mod decode;
mod filter;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzz;
mod groups;
mod load;
mod object;
mod packet;
mod source;
mod splice;
mod wake;

pub(crate) use count::EbpfCounts;
pub(crate) use skbdrop_ebpf::{CountKey, by};
pub(crate) use source::EbpfSource;

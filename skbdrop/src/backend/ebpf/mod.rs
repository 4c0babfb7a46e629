//! The eBPF backend: the program of `skbdrop-ebpf` on the tracepoint `skb:kfree_skb`.

mod config;
mod decode;
mod object;
mod source;

pub(crate) use source::EbpfSource;

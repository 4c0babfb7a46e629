//! The eBPF programs on `skb:kfree_skb`: one record per dropped packet into a ring buffer. One on `qdisc:qdisc_drop`
//! notes for them what that tells of a packet.
//!
//! Each body is built twice. Programs named `…_tp_btf` read kernel memory by direct loads, which
//! the verifier checks against the kernel's BTF; they are as cheap as can be, and with a snap length of 0
//! need no helper that lockdown refuses. Those named `…_raw_tp` read by `bpf_probe_read_kernel` and serve
//! kernels that cannot do the former.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod program;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

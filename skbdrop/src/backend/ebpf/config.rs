//! The program's configuration for one kernel, out of its BTF.

use crate::{
    Error, Result,
    btf::{Argument, DropTypes},
};
use skbdrop_ebpf::{ABSENT, Config};

/// What the program has to know about the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelConfig {
    pub(super) config: Config,
    /// Number of the tracepoint's prototype in the BTF that was read.
    pub(super) tracepoint_id: u32,
}

impl KernelConfig {
    /// Looks up every argument and member that the program may read; what the kernel does
    /// not have stays absent and the program leaves it out.
    pub(super) fn new(types: &DropTypes, snap_len: u32) -> Result<Self> {
        let (Some(arguments), Some(tracepoint_id)) = (types.arguments()?, types.tracepoint_id())
        else {
            return Err(Error::not_supported(
                "the tracepoint skb:kfree_skb is not in the BTF (no type `btf_trace_kfree_skb`; \
                 needs a kernel with CONFIG_TRACEPOINTS, and BTF of this very kernel)",
            ));
        };
        let argument = |wanted| {
            let at = arguments.iter().position(|&argument| argument == wanted);
            at.map_or(ABSENT, |at| at as u32)
        };
        if argument(Argument::Skb) != 0 || argument(Argument::Location) == ABSENT {
            return Err(Error::not_supported(format!(
                "the tracepoint skb:kfree_skb has unexpected arguments on this kernel: {arguments:?}"
            )));
        }
        let member = |structure, path: &[&str]| {
            Ok::<_, Error>(types.offset(structure, path)?.unwrap_or(ABSENT))
        };
        let skb = |name| member("sk_buff", &[name]);
        let config = Config {
            snap_len,
            arg_location: argument(Argument::Location),
            arg_reason: argument(Argument::Reason),
            arg_rx_sk: argument(Argument::Socket),
            skb_len: skb("len")?,
            skb_protocol: skb("protocol")?,
            skb_head: skb("head")?,
            skb_data: skb("data")?,
            skb_tail: skb("tail")?,
            skb_mac_header: skb("mac_header")?,
            skb_network_header: skb("network_header")?,
            skb_iif: skb("skb_iif")?,
            skb_dev: skb("dev")?,
            skb_sk: skb("sk")?,
            dev_ifindex: member("net_device", &["ifindex"])?,
            dev_name: member("net_device", &["name"])?,
            dev_net: member("net_device", &["nd_net", "net"])?,
            sk_net: member("sock", &["__sk_common", "skc_net", "net"])?,
            net_inum: member("net", &["ns", "inum"])?,
        };
        Ok(Self {
            config,
            tracepoint_id,
        })
    }
}

//! The program's configuration for one kernel, out of its BTF.

use super::{cast::Cast, qdisc::QdiscFacts};
use crate::{
    Error, Result,
    backend::Settings,
    btf::{Argument, DropTypes, Tracepoint},
};
use skbdrop_ebpf::{ABSENT, Config, MAX_FRAMES, Metadata, Qdisc, Record, Socket, Stack};

/// Records of a CPU between two looks at how full the ring is, at most.
const CHECK_EVERY: u32 = 32;

/// When the program wakes a reader that sleeps for a bounded time. The default is for a program without a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pacing {
    fill_mark: u32,
    check_every: u32,
}

impl Pacing {
    /// For a ring of `size` bytes with records of `record` bytes, to be woken for when it is full by `percent`. It is
    /// looked at often enough that all CPUs together cannot fill half of what is beyond the mark between two
    /// looks.
    pub(super) fn new(size: u32, percent: u32, record: u32, cpus: u32) -> Self {
        let fill_mark = (u64::from(size) * u64::from(percent) / 100) as u32;
        let beyond = size.saturating_sub(fill_mark) / 2 / record.max(1);
        Self {
            fill_mark,
            check_every: (beyond / cpus.max(1)).clamp(1, CHECK_EVERY),
        }
    }
}

/// What is written of each drop. The default is for a program that writes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Bytes of the packet.
    snap_len: u32,
    metadata: bool,
    socket: bool,
    /// Frames of the call stack; none of it if 0.
    stack_frames: u32,
    /// The queueing discipline, where the kernel tells of it.
    pub(super) qdisc: Option<QdiscFacts>,
}

/// Where each part of a record is, in bytes from its start; [`ABSENT`] for what is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) size: u32,
    metadata: u32,
    socket: u32,
    stack: u32,
    qdisc: u32,
    packet: u32,
}

impl Extent {
    /// What the settings ask for, as far as the kernel has it.
    pub(super) fn of(settings: &Settings) -> Result<Self> {
        let qdisc = match settings.qdiscs {
            true => QdiscFacts::of(settings.types()?)?,
            false => None,
        };
        Ok(Self {
            qdisc,
            snap_len: settings.snap_len,
            metadata: settings.metadata,
            socket: settings.sockets,
            stack_frames: if settings.stacks { MAX_FRAMES } else { 0 },
        })
    }

    /// The same but for the packet's bytes, and what else takes a helper to read.
    pub(super) fn without_packet(self) -> Self {
        Self {
            snap_len: 0,
            ..self
        }
    }

    pub(super) fn layout(self) -> Layout {
        let mut size = Record::SIZE as u32;
        let mut part = |wanted: bool, len: usize| {
            let at = size;
            if !wanted {
                return ABSENT;
            }
            size += len as u32;
            at
        };
        let stack = size_of::<Stack>() + self.stack_frames as usize * size_of::<u64>();
        // The program copies words.
        let packet = (self.snap_len as usize).next_multiple_of(size_of::<u64>());
        Layout {
            metadata: part(self.metadata, size_of::<Metadata>()),
            socket: part(self.socket, size_of::<Socket>()),
            stack: part(self.stack_frames != 0, stack),
            qdisc: part(self.qdisc.is_some(), size_of::<Qdisc>()),
            packet: part(true, packet),
            size,
        }
    }
}

/// What the program has to know about the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelConfig {
    pub(super) config: Config,
    /// Number of the tracepoint's prototype in the BTF that was read.
    pub(super) tracepoint_id: u32,
    /// How the program may look at any address, and what `window` of the configuration is then.
    pub(super) cast: Option<(Cast, u32)>,
}

impl KernelConfig {
    /// Looks up every argument and member that the program may read; what the kernel does
    /// not have stays absent and the program leaves it out.
    pub(super) fn new(types: &DropTypes, wanted: Extent, pacing: Pacing) -> Result<Self> {
        let tracepoint = Tracepoint::KfreeSkb;
        let arguments = types.arguments(tracepoint)?;
        let (Some(arguments), Some(tracepoint_id)) = (arguments, types.tracepoint_id(tracepoint))
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
        let bits = |name| {
            let bits = types.bits("sk_buff", &[name])?;
            Ok::<_, Error>(bits.map_or((ABSENT, ABSENT), |bits| (bits.at, bits.width)))
        };
        let common = |name| member("sock", &["__sk_common", name]);
        let layout = wanted.layout();
        let (skb_ip_summed, skb_ip_summed_width) = bits("ip_summed")?;
        let (skb_pkt_type, skb_pkt_type_width) = bits("pkt_type")?;
        let mut config = Config {
            fill_mark: pacing.fill_mark,
            check_every: pacing.check_every,
            count_by: 0,
            size: layout.size,
            metadata_at: layout.metadata,
            socket_at: layout.socket,
            stack_at: layout.stack,
            qdisc_at: layout.qdisc,
            stack_frames: wanted.stack_frames,
            packet_at: layout.packet,
            snap_len: wanted.snap_len,
            filter: 0,
            sample: ABSENT,
            rate_limit: ABSENT,
            arg_location: argument(Argument::Location),
            arg_reason: argument(Argument::Reason),
            arg_rx_sk: argument(Argument::Socket),
            window: ABSENT,
            has_packet: ABSENT,
            has_device: ABSENT,
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
            net_cookie: member("net", &["net_cookie"])?,
            skb_mark: skb("mark")?,
            skb_hash: skb("hash")?,
            skb_priority: skb("priority")?,
            skb_queue_mapping: skb("queue_mapping")?,
            skb_vlan_tci: skb("vlan_tci")?,
            skb_vlan_proto: skb("vlan_proto")?,
            skb_vlan_present: bits("vlan_present")?.0,
            skb_ip_summed,
            skb_ip_summed_width,
            skb_pkt_type,
            skb_pkt_type_width,
            skb_end: skb("end")?,
            shinfo_gso_size: member("skb_shared_info", &["gso_size"])?,
            shinfo_gso_segs: member("skb_shared_info", &["gso_segs"])?,
            shinfo_gso_type: member("skb_shared_info", &["gso_type"])?,
            sk_family: common("skc_family")?,
            sk_state: common("skc_state")?,
            sk_cookie: common("skc_cookie")?,
            sk_num: common("skc_num")?,
            sk_dport: common("skc_dport")?,
            sk_rcv_saddr: common("skc_rcv_saddr")?,
            sk_daddr: common("skc_daddr")?,
            sk_v6_rcv_saddr: common("skc_v6_rcv_saddr")?,
            sk_v6_daddr: common("skc_v6_daddr")?,
            sk_protocol: member("sock", &["sk_protocol"])?,
            sk_type: member("sock", &["sk_type"])?,
            sk_uid: member("sock", &["sk_uid"])?,
            sk_cgroup: member("sock", &["sk_cgrp_data", "cgroup"])?,
            cgroup_kn: member("cgroup", &["kn"])?,
            kn_id: member("kernfs_node", &["id"])?,
            ..Config::EMPTY
        };
        let all = |offsets: &[u32]| if offsets.contains(&ABSENT) { ABSENT } else { 1 };
        config.has_packet = all(&[
            config.skb_len,
            config.skb_protocol,
            config.skb_head,
            config.skb_data,
            config.skb_tail,
            config.skb_mac_header,
            config.skb_network_header,
        ]);
        config.has_device = all(&[
            config.skb_dev,
            config.dev_ifindex,
            config.dev_name,
            config.dev_net,
            config.net_inum,
        ]);
        if let Some(qdisc) = wanted.qdisc {
            qdisc.put(&mut config);
        }
        let cast = types.rdonly_cast().map(|(function, structure)| Cast {
            function,
            structure,
        });
        Ok(Self {
            config,
            tracepoint_id,
            cast: cast.zip(types.offset("sk_buff", &["cb"])?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another() {
        let least = Extent::default().layout();
        assert_eq!((least.size, least.packet), (120, 120));
        assert_eq!(
            (least.metadata, least.socket, least.stack),
            (ABSENT, ABSENT, ABSENT)
        );
        assert_eq!(least.qdisc, ABSENT);
        let all = Extent {
            snap_len: 96,
            metadata: true,
            socket: true,
            stack_frames: MAX_FRAMES,
            qdisc: Some(QdiscFacts::default()),
        };
        let all = all.layout();
        assert_eq!((all.metadata, all.socket), (120, 120 + 48));
        assert_eq!(all.stack, all.socket + 80);
        assert_eq!(all.qdisc, all.stack + 8 + 8 * MAX_FRAMES);
        assert_eq!(all.packet, all.qdisc + 32);
        assert_eq!(all.size, all.packet + 96);
    }

    #[test]
    fn the_ring_is_looked_at_before_it_can_be_full() {
        let large = Pacing::new(4 << 20, 25, 272, 2);
        assert_eq!((large.fill_mark, large.check_every), (1 << 20, CHECK_EVERY));
        let small = Pacing::new(8192, 25, 272, 2);
        assert_eq!(small.check_every, 5);
        for (size, percent, record, cpus) in [
            (4096, 25, 512, 4),
            (4096, 100, 272, 2),
            (0, 0, 0, 0),
            (u32::MAX, 100, 1, 8192),
        ] {
            let pacing = Pacing::new(size, percent, record, cpus);
            assert!((1..=CHECK_EVERY).contains(&pacing.check_every));
            assert!(pacing.fill_mark <= size);
        }
    }
}

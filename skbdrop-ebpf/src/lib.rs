//! What the eBPF program and user space share: the configuration that user space freezes
//! into the program before it is loaded, and the record that the program writes for each drop.
//!
//! Both are plain `repr(C)` data in the byte order of the machine. Neither is a stable
//! interface: the program is shipped inside the `skbdrop` crate of the very same version.
#![no_std]

mod interface;
pub mod view;

pub use interface::{Device, Interface};

/// Marks an entry of [`Config`] for which the running kernel has nothing: no such field, no
/// such tracepoint argument.
pub const ABSENT: u32 = u32::MAX;

/// Value of `sk_buff.mac_header` while the header is not set
/// (`skb_mac_header_was_set` in `include/linux/skbuff.h` compares with `(typeof(mac_header))~0U`).
pub const HEADER_NOT_SET: u16 = u16::MAX;

/// Length of `comm` in `struct task_struct` and of `name` in `struct net_device`, both
/// 16 bytes with the terminating NUL (`TASK_COMM_LEN`, `IFNAMSIZ`).
pub const NAME_LEN: usize = 16;

/// Largest snap length: the part of a packet that one record can hold, in bytes.
pub const MAX_SNAP_LEN: u32 = 16 * 1024;

/// Bytes that a program can see at an address through [`Config::window`]: the length of `cb` in `struct sk_buff`.
pub const WINDOW: u32 = 48;

/// The first [`Config::placeholder`], and the upper half of longer ones: numbers that nothing else loads.
const PLACEHOLDER: u32 = 0x1ed0_c000;

macro_rules! config {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// Facts about the running kernel and wishes of the user, written into the program's
        /// instructions before it is loaded, so that each is a constant for the verifier and
        /// code behind an [`ABSENT`] entry is dead.
        ///
        /// Offsets are in bytes from the start of the structure, argument numbers count the
        /// tracepoint's arguments from 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Config {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl Config {
            /// How many fields there are, of 32 bits each.
            pub const WORDS: usize = size_of::<Self>() / size_of::<u32>();

            /// A configuration in which the kernel has nothing at all.
            pub const EMPTY: Self = Self { $($field: ABSENT,)* };

            /// All fields in order of declaration.
            #[must_use]
            pub fn words(&self) -> [u32; Self::WORDS] {
                [$(self.$field),*]
            }

            /// What the program was built to put into a register where it needs the word of this number. User space
            /// puts the word itself there.
            #[must_use]
            pub const fn placeholder(word: usize) -> u32 {
                PLACEHOLDER + word as u32
            }

            /// What the program was built to load where it needs a pointer to any address, which it has put into `r1`: a number
            /// that nothing else loads. User space puts a call of the kernel's `bpf_rdonly_cast` there, which says
            /// that the address is of a [`window`](Self::window), or leaves it where there is no window.
            pub const CAST: u64 = (PLACEHOLDER as u64) << 32 | 0xffff_fffe;

            /// The number of the word that this is the placeholder of; `None` if it is something else.
            #[must_use]
            pub const fn placeheld(value: u32) -> Option<usize> {
                let word = value.wrapping_sub(PLACEHOLDER) as usize;
                if word < Self::WORDS { Some(word) } else { None }
            }
        }
    };
}

config! {
    /// How full the ring buffer is when a reader is woken that sleeps [`reader::ASLEEP_UNTIL_MARK`], in bytes.
    fill_mark,
    /// How many records of a CPU come between two looks at how full it is.
    check_every,
    /// What is counted together: bits of [`by`].
    count_by,
    /// Size of a record with all that follows it, in bytes. Where what follows begins is told apart, as not every kernel's
    /// verifier keeps track of a sum.
    size,
    /// Where [`Metadata`] is written, in bytes from the start of the record.
    metadata_at,
    /// Where [`Socket`] is written.
    socket_at,
    /// Where [`Stack`] is written.
    stack_at,
    /// Most frames of the call stack that are written, at most [`MAX_FRAMES`].
    stack_frames,
    /// Where [`Qdisc`] is written.
    qdisc_at,
    /// Where the packet's bytes are written.
    packet_at,
    /// Number of bytes of the packet to copy, at most [`MAX_SNAP_LEN`]; 0 copies none.
    snap_len,
    /// Bits of [`needs`](view::needs): what the filter asks for. 0 is no filter.
    filter,
    /// A drop is recorded whose random number is at most this; [`ABSENT`] records all.
    sample,
    /// How many drops of one reason and place are recorded in a second; [`ABSENT`] is no limit.
    rate_limit,
    /// Argument `location`, the address that freed the packet.
    arg_location,
    /// Argument `reason`, an `enum skb_drop_reason`; since Linux 5.17.
    arg_reason,
    /// Argument `rx_sk`, the receiving socket; since Linux 6.11.
    arg_rx_sk,
    /// Where in the structure that [`Config::CAST`] makes of an address there are [`WINDOW`] bytes which loads of any
    /// size may read; since Linux 6.2.
    window,
    /// Whether the kernel has all that says where a packet's bytes are; [`ABSENT`] if not. One question is cheaper than one for
    /// each of them.
    has_packet,
    /// The same of what says which device a packet is at.
    has_device,
    /// `sk_buff.len`.
    skb_len,
    /// `sk_buff.protocol`.
    skb_protocol,
    /// `sk_buff.head`.
    skb_head,
    /// `sk_buff.data`.
    skb_data,
    /// `sk_buff.tail`, an offset from `head` on 64-bit machines.
    skb_tail,
    /// `sk_buff.mac_header`.
    skb_mac_header,
    /// `sk_buff.network_header`.
    skb_network_header,
    /// `sk_buff.skb_iif`.
    skb_iif,
    /// `sk_buff.dev`.
    skb_dev,
    /// `sk_buff.sk`.
    skb_sk,
    /// `net_device.ifindex`.
    dev_ifindex,
    /// `net_device.name`.
    dev_name,
    /// `net_device.nd_net.net`.
    dev_net,
    /// `sock.__sk_common.skc_net.net`.
    sk_net,
    /// `net.ns.inum`.
    net_inum,
    /// `net.net_cookie`.
    net_cookie,
    /// `sk_buff.mark`.
    skb_mark,
    /// `sk_buff.hash`.
    skb_hash,
    /// `sk_buff.priority`.
    skb_priority,
    /// `sk_buff.queue_mapping`.
    skb_queue_mapping,
    /// `sk_buff.vlan_tci`.
    skb_vlan_tci,
    /// `sk_buff.vlan_proto`.
    skb_vlan_proto,
    /// `sk_buff.vlan_present`, a bit field, in bits; before Linux 6.2.
    skb_vlan_present,
    /// `sk_buff.ip_summed`, a bit field, in bits.
    skb_ip_summed,
    /// Its width in bits.
    skb_ip_summed_width,
    /// `sk_buff.pkt_type`, a bit field, in bits.
    skb_pkt_type,
    /// Its width in bits.
    skb_pkt_type_width,
    /// `sk_buff.end`, an offset from `head` on 64-bit machines; `struct skb_shared_info` is there.
    skb_end,
    /// `skb_shared_info.gso_size`.
    shinfo_gso_size,
    /// `skb_shared_info.gso_segs`.
    shinfo_gso_segs,
    /// `skb_shared_info.gso_type`.
    shinfo_gso_type,
    /// `sock.__sk_common.skc_family`.
    sk_family,
    /// `sock.__sk_common.skc_state`.
    sk_state,
    /// `sock.__sk_common.skc_cookie`.
    sk_cookie,
    /// `sock.__sk_common.skc_num`.
    sk_num,
    /// `sock.__sk_common.skc_dport`.
    sk_dport,
    /// `sock.__sk_common.skc_rcv_saddr`.
    sk_rcv_saddr,
    /// `sock.__sk_common.skc_daddr`.
    sk_daddr,
    /// `sock.__sk_common.skc_v6_rcv_saddr`.
    sk_v6_rcv_saddr,
    /// `sock.__sk_common.skc_v6_daddr`.
    sk_v6_daddr,
    /// `sock.sk_protocol`.
    sk_protocol,
    /// `sock.sk_type`.
    sk_type,
    /// `sock.sk_uid`.
    sk_uid,
    /// `sock.sk_cgrp_data.cgroup`; since Linux 5.15.
    sk_cgroup,
    /// `cgroup.kn`.
    cgroup_kn,
    /// `kernfs_node.id`.
    kn_id,
    /// The drop reason with which a packet is freed that `qdisc:qdisc_drop` has just told of; since Linux 7.1.
    qdisc_drop,
    /// Argument `q` of `qdisc:qdisc_drop`, the queueing discipline.
    arg_qdisc,
    /// Its argument `skb`.
    arg_qdisc_skb,
    /// Its argument `reason`, an `enum qdisc_drop_reason`.
    arg_qdisc_reason,
    /// `Qdisc.ops`.
    qdisc_ops,
    /// `Qdisc.handle`.
    qdisc_handle,
    /// `Qdisc.parent`.
    qdisc_parent,
    /// `Qdisc_ops.id`.
    qdisc_ops_id,
}

/// Most frames of a call stack (the kernel's own limit is 127, `kernel.perf_event_max_stack`).
pub const MAX_FRAMES: u32 = 64;

/// What the reader says of itself, in memory that it shares with the program.
pub mod reader {
    /// It will look for records by itself: do not wake it.
    pub const AWAKE: u64 = 0;
    /// It sleeps until it is woken by the first record.
    pub const ASLEEP: u64 = 1;
    /// It sleeps for a bounded time: wake it only if the ring buffer fills beyond the mark.
    pub const ASLEEP_UNTIL_MARK: u64 = 2;
}

/// What the programs count, by CPU. A cache line of its own for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Cpu {
    /// Records that found no room on this CPU since the program was loaded.
    pub lost: u64,
    /// Records since it was last looked how full the ring buffer is.
    pub unchecked: u64,
    /// Drops that were counted, and not by kind, as there was no room for another kind.
    pub overflow: Tally,
    /// Drops that the filter left out.
    pub filtered: u64,
    /// Drops that sampling or the limit of drops in a second left out.
    pub limited: u64,
    /// No meaning; fills the cache line.
    pub reserved: [u64; 2],
}

/// Drops, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tally {
    /// How many.
    pub drops: u64,
    /// Sum of their `skb->len`.
    pub bytes: u64,
}

/// Bits of [`Config::count_by`]: what of a drop makes its kind.
pub mod by {
    /// [`CountKey::reason`](super::CountKey::reason).
    pub const REASON: u32 = 1 << 0;
    /// [`CountKey::location`](super::CountKey::location).
    pub const LOCATION: u32 = 1 << 1;
    /// [`CountKey::ifindex`](super::CountKey::ifindex).
    pub const INTERFACE: u32 = 1 << 2;
    /// [`CountKey::netns`](super::CountKey::netns).
    pub const NETNS: u32 = 1 << 3;
    /// [`CountKey::protocol`](super::CountKey::protocol).
    pub const PROTOCOL: u32 = 1 << 4;
}

/// A kind of drops that are counted together. What was not chosen is 0, as is what a drop has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct CountKey {
    /// Address that freed the packet.
    pub location: u64,
    /// The drop reason.
    pub reason: u32,
    /// Index of the interface.
    pub ifindex: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `skb->protocol`, in network byte order as in the kernel.
    pub protocol: u16,
    /// No meaning: the kernel compares keys as bytes, so there is no hidden padding.
    pub reserved: u16,
}

/// What the limit of drops in a second counts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Site {
    /// Address that freed the packet.
    pub location: u64,
    /// The drop reason, or 0.
    pub reason: u32,
    /// The second, of `CLOCK_MONOTONIC`.
    pub second: u32,
}

/// Bits of [`Record::flags`]: which fields the kernel could fill.
pub mod flags {
    /// `reason` holds the tracepoint's argument.
    pub const REASON: u16 = 1 << 0;
    /// `len`, `protocol`, `data` and the header offsets were read from the skb.
    pub const SKB: u16 = 1 << 1;
    /// `iif` was read from the skb.
    pub const IIF: u16 = 1 << 2;
    /// `dev_ifindex` and `dev_name` were read through `skb->dev`. Whether that pointer was a
    /// device at the time is for user space to judge.
    pub const DEV: u16 = 1 << 3;
    /// `dev_netns` was read through `skb->dev`.
    pub const DEV_NETNS: u16 = 1 << 4;
    /// `sk_netns` was read through the receiving socket, or else through `skb->sk`.
    pub const SK_NETNS: u16 = 1 << 5;
    /// A [`Metadata`](super::Metadata) follows.
    pub const METADATA: u16 = 1 << 6;
    /// A [`Socket`](super::Socket) follows.
    pub const SOCKET: u16 = 1 << 7;
    /// A [`Stack`](super::Stack) follows.
    pub const STACK: u16 = 1 << 8;
    /// A [`Qdisc`](super::Qdisc) follows.
    pub const QDISC: u16 = 1 << 9;
}

/// What the skb says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Metadata {
    /// `net_cookie` of the namespace of `skb->dev`; 0 if there is none.
    pub dev_net_cookie: u64,
    /// `net_cookie` of the namespace of the socket; 0 if there is none.
    pub sk_net_cookie: u64,
    /// `skb->mark`.
    pub mark: u32,
    /// `skb->hash`.
    pub hash: u32,
    /// `skb->priority`.
    pub priority: u32,
    /// `gso_type`, if [`known::GSO`].
    pub gso_type: u32,
    /// `skb->queue_mapping`.
    pub queue_mapping: u16,
    /// `skb->vlan_tci`, if [`known::VLAN`].
    pub vlan_tci: u16,
    /// `skb->vlan_proto`, if [`known::VLAN`], in network byte order as in the kernel.
    pub vlan_proto: u16,
    /// `gso_size`; 0 if the packet is not to be segmented.
    pub gso_size: u16,
    /// `gso_segs`, if [`known::GSO`].
    pub gso_segs: u16,
    /// `skb->ip_summed`, if [`known::IP_SUMMED`].
    pub ip_summed: u8,
    /// `skb->pkt_type`, if [`known::PKT_TYPE`].
    pub pkt_type: u8,
    /// Bits of [`known`].
    pub known: u32,
}

/// Bits of [`Metadata::known`]: which fields the kernel could fill.
pub mod known {
    /// `mark`.
    pub const MARK: u32 = 1 << 0;
    /// `hash`.
    pub const HASH: u32 = 1 << 1;
    /// `priority`.
    pub const PRIORITY: u32 = 1 << 2;
    /// `queue_mapping`.
    pub const QUEUE_MAPPING: u32 = 1 << 3;
    /// There is a VLAN tag beside the packet's bytes.
    pub const VLAN: u32 = 1 << 4;
    /// `ip_summed`.
    pub const IP_SUMMED: u32 = 1 << 5;
    /// `pkt_type`.
    pub const PKT_TYPE: u32 = 1 << 6;
    /// The packet is to be segmented.
    pub const GSO: u32 = 1 << 7;
}

/// The socket that received the packet or is attached to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Socket {
    /// Address of the `struct sock`; 0 if there is none, and then nothing else is written.
    pub address: u64,
    /// `skc_cookie`; 0 while nobody asked for it.
    pub cookie: u64,
    /// `kernfs_node.id` of the cgroup, if [`role::FULL`]; 0 if it is not known.
    pub cgroup: u64,
    /// `sk_uid`, if [`role::FULL`].
    pub uid: u32,
    /// Bits of [`role`].
    pub role: u32,
    /// `skc_family`.
    pub family: u16,
    /// `sk_protocol`, if [`role::FULL`].
    pub protocol: u16,
    /// `sk_type`, if [`role::FULL`].
    pub kind: u16,
    /// `skc_num`: the local port, host byte order.
    pub num: u16,
    /// `skc_dport`: the remote port, in network byte order as in the kernel.
    pub dport: u16,
    /// `skc_state`.
    pub state: u16,
    /// No meaning; keeps the size a multiple of eight without hidden padding.
    pub reserved: u32,
    /// Local address: 4 or 16 bytes of it, by the family.
    pub saddr: [u64; 2],
    /// Remote address: 4 or 16 bytes of it, by the family.
    pub daddr: [u64; 2],
}

/// Bits of [`Socket::role`].
pub mod role {
    /// The tracepoint's receiving socket, not `skb->sk`.
    pub const RECEIVING: u32 = 1 << 0;
    /// A `struct sock` and none of the smaller structures that stand for a connection which is not open yet, or not
    /// any more.
    pub const FULL: u32 = 1 << 1;
    /// The kernel has `sk_uid`.
    pub const UID: u32 = 1 << 2;
}

/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;
/// Largest number of a bit field's bits that is read.
pub const MAX_BITS: u32 = 8;
/// `BPF_TCP_TIME_WAIT` in `include/uapi/linux/bpf.h`: a `struct inet_timewait_sock`.
pub const TCP_TIME_WAIT: u8 = 6;
/// `BPF_TCP_NEW_SYN_RECV`: a `struct request_sock`.
pub const TCP_NEW_SYN_RECV: u8 = 12;

/// The call stack; as many addresses follow as there was room wanted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stack {
    /// How many bytes of addresses were written, from the innermost frame on.
    pub len: u32,
    /// How many bytes there is room for.
    pub room: u32,
}

/// The queueing discipline that dropped the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Qdisc {
    /// `Qdisc_ops.id`.
    pub kind: [u8; NAME_LEN],
    /// `Qdisc.handle`.
    pub handle: u32,
    /// `Qdisc.parent`.
    pub parent: u32,
    /// The reason that `qdisc:qdisc_drop` gave.
    pub reason: u32,
    /// 1; 0 if none dropped it, and then nothing else is written.
    pub is_told: u32,
}

/// What `qdisc:qdisc_drop` told last on a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct QdiscNote {
    /// Address of the skb; 0 if the note was taken, or is being written.
    pub skb: u64,
    /// What drops it.
    pub qdisc: Qdisc,
}

/// One dropped packet as the program saw it; what the flags name follows in their order, then [`Record::caplen`] bytes of the
/// packet.
///
/// What the flags do not tell of is not written: it holds what was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub timestamp_ns: u64,
    /// Address of the skb.
    pub skb: u64,
    /// Address that freed the packet.
    pub location: u64,
    /// Address of the receiving socket, 0 where there is none.
    pub rx_sk: u64,
    /// The drop reason, if [`flags::REASON`].
    pub reason: u32,
    /// Low half of [`Cpu::lost`]: records that found no room on this CPU since the program was loaded.
    pub lost: u32,
    /// Process (thread group) of the context.
    pub pid: u32,
    /// Thread of the context.
    pub tid: u32,
    /// `skb->len`: bytes from `data` to the packet's end, paged parts included.
    pub len: u32,
    /// `skb->skb_iif`: index of the interface that the packet came in by; 0 if by none.
    pub iif: u32,
    /// `skb->dev->ifindex`, if [`flags::DEV`].
    pub dev_ifindex: u32,
    /// Inode number of the network namespace of `skb->dev`, if [`flags::DEV_NETNS`].
    pub dev_netns: u32,
    /// Inode number of the network namespace of the socket.
    pub sk_netns: u32,
    /// `skb->data - skb->head`.
    pub data: u32,
    /// Offset from `skb->head` of the first byte that follows this record.
    pub start: u32,
    /// Number of packet bytes that follow this record.
    pub caplen: u16,
    /// Number of the CPU; kernels have 8192 at most.
    pub cpu: u16,
    /// `skb->mac_header`, or [`HEADER_NOT_SET`].
    pub mac_header: u16,
    /// `skb->network_header`; 0 while it is not set.
    pub network_header: u16,
    /// `skb->protocol`, in network byte order as in the kernel.
    pub protocol: u16,
    /// Bits of [`flags`].
    pub flags: u16,
    /// Name of the task of the context.
    pub comm: [u8; NAME_LEN],
    /// `skb->dev->name`, if [`flags::DEV`].
    pub dev_name: [u8; NAME_LEN],
}

impl Record {
    /// Size of the record without the packet's bytes.
    pub const SIZE: usize = size_of::<Self>();
}

// The program writes with these offsets and user space reads with them: nothing may be
// padded, and the bytes that follow must begin at a multiple of eight.
const _: () = {
    assert!(size_of::<Record>() == 120);
    assert!(align_of::<Record>() == 8);
    assert!(MAX_SNAP_LEN <= u16::MAX as u32);
    assert!(core::mem::offset_of!(Record, reason) == 32);
    assert!(core::mem::offset_of!(Record, caplen) == 76);
    assert!(core::mem::offset_of!(Record, comm) == 88);
    assert!(size_of::<CountKey>() == 24);
    assert!(size_of::<Tally>() == 16);
    assert!(size_of::<Cpu>() == 64);
    assert!(core::mem::offset_of!(Cpu, lost) == 0);
    assert!(core::mem::offset_of!(Cpu, filtered) == 32);
    assert!(core::mem::offset_of!(Cpu, limited) == 40);
    assert!(size_of::<Site>() == 16);
    assert!(size_of::<Metadata>() == 48);
    assert!(size_of::<Socket>() == 80);
    assert!(size_of::<Stack>() == 8);
    assert!(size_of::<Qdisc>() == 32);
    assert!(size_of::<QdiscNote>() == 40);
    assert!(size_of::<Config>() == 74 * 4);
};

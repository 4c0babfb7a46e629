//! What the eBPF program and user space share: the configuration that user space freezes
//! into the program before it is loaded, and the record that the program writes for each drop.
//!
//! Both are plain `repr(C)` data in the byte order of the machine. Neither is a stable
//! interface: the program is shipped inside the `skbdrop` crate of the very same version.
#![no_std]

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

macro_rules! config {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// Facts about the running kernel and wishes of the user, frozen as read-only data
        /// before the program is verified, so that each is a constant for the verifier and
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
            /// Size of the structure in bytes.
            pub const SIZE: usize = size_of::<Self>();

            /// A configuration in which the kernel has nothing at all.
            pub const EMPTY: Self = Self { $($field: ABSENT,)* };

            /// The bytes as the program reads them: native byte order, in order of declaration.
            #[must_use]
            pub fn to_bytes(&self) -> [u8; Self::SIZE] {
                let mut bytes = [0; Self::SIZE];
                let values = [$(self.$field),*];
                for (chunk, value) in bytes.chunks_exact_mut(4).zip(values) {
                    chunk.copy_from_slice(&value.to_ne_bytes());
                }
                bytes
            }
        }
    };
}

config! {
    /// Number of bytes of the packet to copy, at most [`MAX_SNAP_LEN`]; 0 copies none.
    snap_len,
    /// Argument `location`, the address that freed the packet.
    arg_location,
    /// Argument `reason`, an `enum skb_drop_reason`; since Linux 5.17.
    arg_reason,
    /// Argument `rx_sk`, the receiving socket; since Linux 6.11.
    arg_rx_sk,
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
}

/// Bits of [`Record::flags`]: which fields the kernel could fill.
pub mod flags {
    /// `reason` holds the tracepoint's argument.
    pub const REASON: u32 = 1 << 0;
    /// `len`, `protocol`, `data` and the header offsets were read from the skb.
    pub const SKB: u32 = 1 << 1;
    /// `iif` was read from the skb.
    pub const IIF: u32 = 1 << 2;
    /// `dev_ifindex` and `dev_name` were read through `skb->dev`. Whether that pointer was a
    /// device at the time is for user space to judge.
    pub const DEV: u32 = 1 << 3;
    /// `dev_netns` was read through `skb->dev`.
    pub const DEV_NETNS: u32 = 1 << 4;
    /// `sk_netns` was read through the receiving socket, or else through `skb->sk`.
    pub const SK_NETNS: u32 = 1 << 5;
}

/// One dropped packet as the program saw it; [`Record::caplen`] bytes of the packet follow.
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
    /// Records that found no room on this CPU since the program was loaded.
    pub lost: u64,
    /// Bits of [`flags`].
    pub flags: u32,
    /// The drop reason, if [`flags::REASON`].
    pub reason: u32,
    /// Number of the CPU.
    pub cpu: u32,
    /// Process (thread group) of the context.
    pub pid: u32,
    /// Thread of the context.
    pub tid: u32,
    /// `skb->len`: bytes from `data` to the packet's end, paged parts included.
    pub len: u32,
    /// `skb->skb_iif`: index of the interface that the packet came in by; 0 if by none.
    pub iif: u32,
    /// `skb->dev->ifindex`.
    pub dev_ifindex: u32,
    /// Inode number of the network namespace of `skb->dev`.
    pub dev_netns: u32,
    /// Inode number of the network namespace of the socket.
    pub sk_netns: u32,
    /// `skb->data - skb->head`.
    pub data: u32,
    /// Offset from `skb->head` of the first byte that follows this record.
    pub start: u32,
    /// Number of packet bytes that follow this record.
    pub caplen: u32,
    /// `skb->mac_header`, or [`HEADER_NOT_SET`].
    pub mac_header: u16,
    /// `skb->network_header`; 0 while it is not set.
    pub network_header: u16,
    /// `skb->protocol`, in network byte order as in the kernel.
    pub protocol: u16,
    /// No meaning; keeps the size a multiple of eight without hidden padding.
    pub reserved: [u16; 3],
    /// Name of the task of the context.
    pub comm: [u8; NAME_LEN],
    /// `skb->dev->name`.
    pub dev_name: [u8; NAME_LEN],
}

impl Record {
    /// Size of the record without the packet's bytes.
    pub const SIZE: usize = size_of::<Self>();
}

// The program writes with these offsets and user space reads with them: nothing may be
// padded, and the bytes that follow must begin at a multiple of eight.
const _: () = {
    assert!(size_of::<Record>() == 136);
    assert!(align_of::<Record>() == 8);
    assert!(core::mem::offset_of!(Record, flags) == 40);
    assert!(core::mem::offset_of!(Record, mac_header) == 92);
    assert!(core::mem::offset_of!(Record, comm) == 104);
    assert!(size_of::<Config>() == 19 * 4);
};

//! [`DropEvent`]: one packet that the kernel dropped.

mod display;
mod metadata;
mod packet;
mod plain;
mod qdisc;
#[cfg(feature = "serde")]
mod serialize;
mod socket;

pub use metadata::{Checksum, Gso, Metadata, PacketType};
pub use packet::{Endpoint, EtherType, IpProtocol, Layer, Packet};
pub(crate) use packet::{Headers, slice};
pub use qdisc::{QdiscDrop, TcHandle};
pub use socket::{Socket, SocketRole, SocketState};

use crate::{DropReason, Symbol, headers};
use bytes::Bytes;
use std::{sync::Arc, time::SystemTime};

/// One socket buffer that the kernel dropped.
///
/// What the kernel or the backend cannot know is `None`, never a made-up value. `Display` is
/// one line for people. With the feature `serde` an event serialises with all its fields; in
/// JSON kernel addresses are strings like `"0xffffffff81c3a2b1"`, since many readers of JSON
/// round numbers of more than 53 bits.
///
/// ```no_run
/// for event in skbdrop::Monitor::builder().build()?.iter() {
///     let event = event?;
///     // By name: numbers are another kernel's.
///     let reason = event.reason.as_ref().and_then(|reason| reason.name());
///     if let (Some("NETFILTER_DROP"), Some(from), Some(to)) = (reason, event.src, event.dst) {
///         println!("a firewall keeps {from} from {to}");
///     }
/// }
/// # Ok::<(), skbdrop::Error>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DropEvent {
    /// When: `CLOCK_MONOTONIC` in nanoseconds, taken by the kernel at the drop.
    pub timestamp_ns: u64,
    /// When, as wall-clock time: `timestamp_ns` by the difference of the two clocks at the
    /// time of reading.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::wall_time"))]
    pub wall_time: SystemTime,
    /// Why. `None` if this kernel gives no reasons (before Linux 5.17).
    pub reason: Option<DropReason>,
    /// Where in the kernel.
    pub location: Location,
    /// `skb->protocol`: what the network layer is.
    pub protocol: Option<EtherType>,
    /// Length of the whole packet in bytes, counted from where [`Packet::bytes`] begin, so with
    /// the link-layer header if [`Packet::layer`] is one.
    pub length: Option<u32>,
    /// Sender, where the packet's bytes hold it.
    pub src: Option<Endpoint>,
    /// Receiver, where the packet's bytes hold it.
    pub dst: Option<Endpoint>,
    /// Transport protocol, where the packet's bytes hold it.
    pub transport: Option<IpProtocol>,
    /// The packet's first bytes.
    pub packet: Packet,
    /// Index of the interface that the packet came in by; for a packet that never came in, of
    /// the one that it was to leave by. Counts within [`netns`](Self::netns).
    pub ifindex: Option<u32>,
    /// Name of that interface. Where only the index is known, the name is looked up if the namespace is this
    /// process's own.
    pub ifname: Option<Arc<str>>,
    /// `skb->skb_iif`: index of the interface that the packet came in by; `None` if it never came in. It stays what it
    /// was when the packet is routed on. The backends eBPF and netlink tell it.
    pub iif: Option<u32>,
    /// `skb->dev`: the device that the packet is at. On the way in the interface that it came in by, or
    /// one above it (a bridge, a VLAN); on the way out the one that it is to leave by. Transport protocols and queues use the
    /// field for something else: there it is `None`. The eBPF backend alone tells it.
    pub device: Option<Device>,
    /// Network namespace: of the receiving socket where the kernel passes one (since Linux 6.11), else
    /// of the packet's own socket, else of its device where that can be trusted.
    pub netns: Option<NetNs>,
    /// The socket that the packet was for, or came from. The eBPF backend alone tells it;
    /// [`Builder::sockets`](crate::Builder::sockets).
    pub socket: Option<Socket>,
    /// What the kernel notes of the packet besides its bytes. The eBPF backend alone tells it;
    /// [`Builder::metadata`](crate::Builder::metadata).
    pub metadata: Option<Metadata>,
    /// The queueing discipline that dropped it, where one did. The eBPF backend alone tells it, since Linux 7.1, which has the
    /// tracepoint `qdisc:qdisc_drop`.
    #[doc(alias = "tc")]
    pub qdisc: Option<QdiscDrop>,
    /// The kernel's call stack, if [`Builder::stacks`](crate::Builder::stacks) asks for it: return addresses, the
    /// innermost first, beginning with the [`location`](Self::location) where the stack has it.
    /// [`Monitor::symbolize`](crate::Monitor::symbolize) gives their functions. The eBPF backend alone tells it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::addresses"))]
    pub stack: Vec<u64>,
    /// CPU that dropped the packet.
    pub cpu: Option<u32>,
    /// Process (thread group) that the CPU was running. Drops mostly happen in interrupts, so
    /// this is often a bystander and not the packet's owner.
    pub pid: Option<u32>,
    /// Thread that the CPU was running, with the same caveat.
    pub tid: Option<u32>,
    /// Name of that thread, with the same caveat.
    pub comm: Option<Arc<str>>,
    /// Address of the `struct sk_buff`. Addresses are used again: it tells events of the same
    /// moment apart, not packets.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::address"))]
    pub skb_address: Option<u64>,
    /// Address of the receiving `struct sock`, which the kernel passes since Linux 6.11 where it had found
    /// one.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::address"))]
    pub rx_sk_address: Option<u64>,
    /// Whether software or hardware dropped it.
    pub origin: Origin,
    /// For drops in hardware, what the rule that dropped it was given by whoever made it
    /// (`NET_DM_ATTR_FLOW_ACTION_COOKIE`, since Linux 5.7).
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::bytes"))]
    pub flow_action_cookie: Option<Bytes>,
    /// How many drops this event stands for: 1, but for the netlink backend's summary mode.
    pub count: u64,
    /// Which backend saw it.
    pub backend: BackendKind,
    /// How many drops were lost before this event and not told by an earlier one, since the reader was slower than
    /// the kernel. With several CPUs a loss is told by the next event of its CPU, or by the first of any CPU
    /// after the buffer was empty. What was lost after the last event is only in
    /// [`Stats::lost`](crate::Stats::lost).
    pub lost_before: u64,
}

impl DropEvent {
    /// The packet's headers, parsed from [`packet`](Self::packet).
    #[must_use]
    pub fn headers(&self) -> headers::Headers<'_> {
        let packet = &self.packet;
        headers::Headers::parse(
            &packet.bytes,
            packet.layer,
            packet.network_offset,
            self.protocol,
        )
    }
}

/// The place in the kernel that dropped a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Location {
    /// Address of the instruction after the call that freed the packet. Where the compiler has split the kernel's `kfree_skb`
    /// in two, as it may before Linux 6.1, the kernel says an address in that function instead, to every backend, and the
    /// place is the next in the [`stack`](DropEvent::stack). Debian's 5.10 for arm64 is such a kernel.
    pub address: Option<u64>,
    /// The function that it is in. `None` if the kernel hides its symbols from this user
    /// (`kernel.kptr_restrict`, or no CAP_SYSLOG), or none covers the address.
    pub symbol: Option<Arc<Symbol>>,
}

/// A network namespace. `Display` is its name, or else the inode number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NetNs {
    /// Inode number, as `readlink /proc/self/ns/net` and `lsns -t net` show it. Numbers are used again.
    pub inode: u32,
    /// Number that no other namespace gets until the next boot (`SO_NETNS_COOKIE`); the eBPF backend, since Linux 5.14.
    pub cookie: Option<u64>,
    /// Name, as `ip netns` has it (a file in `/run/netns`), where this process may see it.
    pub name: Option<Arc<str>>,
}

impl NetNs {
    /// A namespace of which no more is known.
    #[cfg_attr(not(feature = "ebpf"), expect(dead_code))]
    pub(crate) fn numbered(inode: u32) -> Self {
        Self {
            inode,
            cookie: None,
            name: None,
        }
    }
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Device {
    /// Index, which counts within the namespace.
    pub index: u32,
    /// Name.
    pub name: Arc<str>,
    /// Inode number of the network namespace that it is in: not always the one that the packet is in.
    pub netns: u32,
}

/// Who dropped a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum Origin {
    /// The kernel.
    Software,
    /// A device, which told the kernel of it by a devlink trap. Only the netlink backend sees these.
    Hardware {
        /// The trap's name, for example `blackhole_route`.
        trap: Arc<str>,
        /// The trap's group, for example `l3_drops`. Summary mode does not tell it.
        group: Option<Arc<str>>,
    },
}

/// The backends that can see a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendKind {
    /// An eBPF program on the tracepoint `skb:kfree_skb`.
    Ebpf,
    /// perf events on the same tracepoint.
    Perf,
    /// Generic netlink's `NET_DM`, the kernel's `drop_monitor`.
    Netlink,
    /// Recorded events, played again.
    Replay,
    /// A backend from outside of this crate, by its name.
    Other(&'static str),
}

impl BackendKind {
    /// Whether it tells of the running kernel.
    pub(crate) fn is_of_kernel(self) -> bool {
        matches!(self, Self::Ebpf | Self::Perf | Self::Netlink)
    }

    /// `ebpf`, `perf`, `netlink`, `replay`, or the name of one from outside.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Perf => "perf",
            Self::Netlink => "netlink",
            Self::Replay => "replay",
            Self::Other(name) => name,
        }
    }
}

//! What the skb says of a packet besides its bytes.

use crate::headers::VlanTag;

/// What the kernel notes of a packet besides its bytes, in the `struct sk_buff`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Metadata {
    /// `skb->mark`, as netfilter, tc and `SO_MARK` set it. 0 if nobody did.
    pub mark: Option<u32>,
    /// `skb->hash`: of the packet's flow, by the device or the kernel. 0 if nobody computed it.
    pub hash: Option<u32>,
    /// `skb->priority`, as `SO_PRIORITY` and others set it, for the queueing discipline.
    pub priority: Option<u32>,
    /// `skb->queue_mapping`. On the way out the transmit queue. On the way in one more than the
    /// number of the receive queue, and 0 if that is not known.
    pub queue_mapping: Option<u16>,
    /// A VLAN tag that is not among the packet's bytes: the device took it off, or is to put it on.
    pub vlan: Option<VlanTag>,
    /// Segmentation, if the packet is one that is (or was, by GRO) many.
    pub gso: Option<Gso>,
    /// `skb->ip_summed`: what is known of the checksum.
    pub checksum: Option<Checksum>,
    /// `skb->pkt_type`: whom the frame was for.
    pub packet_type: Option<PacketType>,
}

/// Generic segmentation offload. Told by the eBPF backend unless the snap length is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Gso {
    /// Bytes of payload in each segment.
    pub size: u16,
    /// Number of segments; 0 if nobody counted them.
    pub segments: u16,
    /// `gso_type`: the kernel's bits of `SKB_GSO_*`.
    pub kind: u32,
}

/// `skb->ip_summed`: what is known of the packet's checksum (`include/linux/skbuff.h` tells all of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum Checksum {
    /// In: nobody has verified it. Out: it is in the packet, or there is none.
    None,
    /// The device has verified it, or there is nothing to verify.
    Unnecessary,
    /// The device has summed the whole packet; the kernel verifies by that sum.
    Complete,
    /// It is still to be computed: by the device, or not at all between sockets of this machine.
    Partial,
}

/// `skb->pkt_type`: whom the frame was for, by its destination address (`PACKET_*` in `linux/if_packet.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum PacketType {
    /// This machine. It is 0 also while nobody has looked, as on the way out.
    Host,
    /// All.
    Broadcast,
    /// A group.
    Multicast,
    /// Another machine: the device passes on what is not for it.
    OtherHost,
    /// Sent by this machine.
    Outgoing,
    /// Sent by this machine and come back.
    Loopback,
}

impl Checksum {
    #[cfg_attr(not(feature = "ebpf"), expect(dead_code))]
    pub(crate) fn of(ip_summed: u8) -> Option<Self> {
        [Self::None, Self::Unnecessary, Self::Complete, Self::Partial]
            .get(usize::from(ip_summed))
            .copied()
    }
}

impl PacketType {
    #[cfg_attr(not(feature = "ebpf"), expect(dead_code))]
    pub(crate) fn of(pkt_type: u8) -> Option<Self> {
        [
            Self::Host,
            Self::Broadcast,
            Self::Multicast,
            Self::OtherHost,
            Self::Outgoing,
            Self::Loopback,
        ]
        .get(usize::from(pkt_type))
        .copied()
    }
}

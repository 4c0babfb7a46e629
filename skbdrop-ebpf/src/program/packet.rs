//! Where the bytes of a packet are that the filter looks at, as user space finds them in an event.

use crate::program::{
    config,
    memory::{Memory, Plain, read},
    skb,
};
use skbdrop_ebpf::{ABSENT, HEADER_NOT_SET, view::layer};

/// EtherTypes of VLAN tags, 802.1Q and 802.1ad, by which an Ethernet header is known.
const VLAN: [u32; 2] = [0x8100, 0x88a8];
/// Protocols of frames that have a length in place of the EtherType: `ETH_P_802_3`, `ETH_P_802_2`.
const WITH_LENGTH: [u32; 2] = [1, 4];
/// Lengths end here, EtherTypes begin.
const FIRST_ETHERTYPE: u32 = 0x0600;

/// Where the packet's bytes are, and what they begin with.
pub(crate) struct Packet {
    /// Whether `length` holds something.
    pub(crate) has_length: bool,
    pub(crate) length: u32,
    /// EtherType in the machine's byte order, or 0.
    pub(crate) protocol: u32,
    pub(crate) layer: u32,
    /// Kernel address of the outermost header that is there.
    pub(crate) start: u64,
    /// Bytes from there to the end of the linear part.
    pub(crate) caplen: u32,
    /// The network header's offset from `start`, or [`ABSENT`].
    pub(crate) network: u32,
    /// EtherType of the Ethernet header, in the machine's byte order; 0 if there is none.
    pub(crate) ethertype: u32,
}

impl Packet {
    #[inline(always)]
    pub(crate) fn of<M: Memory>(skb: *const u8, zero: u32) -> Self {
        let mut packet = Self {
            has_length: false,
            length: zero,
            protocol: zero,
            layer: zero.wrapping_add(layer::DATA),
            start: 0,
            caplen: zero,
            network: ABSENT,
            ethertype: zero,
        };
        if !skb::has_packet() {
            return packet;
        }
        let head = M::load::<u64>(skb, config!(skb_head));
        let data = M::load::<u64>(skb, config!(skb_data)).wrapping_sub(head) as u32;
        let tail = M::load::<u32>(skb, config!(skb_tail));
        let mac = M::load::<u16>(skb, config!(skb_mac_header));
        let network = M::load::<u16>(skb, config!(skb_network_header));
        let has_mac = mac != HEADER_NOT_SET;
        let first = skb::outermost(mac, network, data, tail);
        let (mac, network) = (u32::from(mac), u32::from(network));
        let length =
            i64::from(M::load::<u32>(skb, config!(skb_len))) + i64::from(data) - i64::from(first);
        packet.has_length = length >= 0 && length <= i64::from(u32::MAX);
        packet.length = length as u32;
        packet.protocol = u32::from(u16::from_be(M::load::<u16>(skb, config!(skb_protocol))));
        packet.start = head.wrapping_add(u64::from(first));
        if first < tail {
            packet.caplen = (tail - first).wrapping_add(zero);
        }
        if network >= first {
            packet.network = (network - first).wrapping_add(zero);
        }
        let layer = if network != 0 && network == first {
            layer::NETWORK
        } else if has_mac && mac == first {
            packet.link_layer()
        } else {
            layer::DATA
        };
        packet.layer = zero.wrapping_add(layer);
        packet
    }

    /// An Ethernet header names the packet's own protocol, or a VLAN tag, or has a length.
    #[inline(always)]
    fn link_layer(&mut self) -> u32 {
        let Some(ethertype) = self.get::<u16>(12) else {
            return layer::LINK;
        };
        let ethertype = u32::from(u16::from_be(ethertype));
        let own = self.protocol != 0 && ethertype == self.protocol;
        let tag = ethertype == VLAN[0] || ethertype == VLAN[1];
        let with_length = ethertype < FIRST_ETHERTYPE
            && (self.protocol == WITH_LENGTH[0] || self.protocol == WITH_LENGTH[1]);
        if own || tag || with_length {
            self.ethertype = ethertype;
            layer::ETHERNET
        } else {
            layer::LINK
        }
    }

    /// Reads a `T` at `at`; `None` where the packet's bytes end before.
    #[inline(always)]
    pub(crate) fn get<T: Plain>(&self, at: u32) -> Option<T> {
        let size = size_of::<T>() as u32;
        if at > self.caplen || self.caplen - at < size {
            return None;
        }
        read(self.start.wrapping_add(u64::from(at)))
    }
}

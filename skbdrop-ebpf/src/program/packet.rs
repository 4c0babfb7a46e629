//! Where the bytes of a packet are that the filter looks at, as user space finds them in an event.

use crate::program::{
    config,
    memory::{Memory, Plain, read},
    skb::{self, apart},
};
use skbdrop_ebpf::{ABSENT, HEADER_NOT_SET, view::layer};

/// EtherTypes of VLAN tags, 802.1Q and 802.1ad, by which an Ethernet header is known.
const VLAN: [u32; 2] = [0x8100, 0x88a8];
/// Protocols of frames that have a length in place of the EtherType: `ETH_P_802_3`, `ETH_P_802_2`.
const WITH_LENGTH: [u32; 2] = [1, 4];
/// Lengths end here, EtherTypes begin.
const FIRST_ETHERTYPE: u32 = 0x0600;

/// Where the linear part of an skb is, and its headers, as offsets from `head`.
pub(crate) struct Linear {
    head: u64,
    mac: u16,
    network: u16,
    tail: u32,
    /// The outermost header that is there.
    first: u32,
}

impl Linear {
    /// Of a kernel that does not tell there is nothing.
    #[inline(always)]
    pub(crate) fn of<M: Memory>(skb: *const u8) -> Self {
        if !skb::has_packet() {
            return Self {
                head: 0,
                mac: HEADER_NOT_SET,
                network: 0,
                tail: 0,
                first: 0,
            };
        }
        let head = M::load::<u64>(skb, config!(skb_head));
        let mac = M::load::<u16>(skb, config!(skb_mac_header));
        let network = M::load::<u16>(skb, config!(skb_network_header));
        let tail = M::load::<u32>(skb, config!(skb_tail));
        let first = skb::outermost(mac, network, tail, || data::<M>(skb, head));
        Self {
            head,
            mac,
            network,
            tail,
            first,
        }
    }

    /// Kernel address of the outermost header that is there.
    #[inline(always)]
    pub(crate) fn start(&self) -> u64 {
        self.head.wrapping_add(u64::from(self.first))
    }

    /// Bytes from there to the end of the linear part.
    #[inline(always)]
    pub(crate) fn caplen(&self) -> u32 {
        if self.first < self.tail {
            self.tail - self.first
        } else {
            0
        }
    }

    /// The packet's whole length from the outermost header on.
    #[inline(always)]
    pub(crate) fn length<M: Memory>(&self, skb: *const u8) -> Option<u32> {
        if !skb::has_packet() {
            return None;
        }
        let behind = i64::from(M::load::<u32>(skb, config!(skb_len)));
        let before = i64::from(data::<M>(skb, self.head)) - i64::from(self.first);
        let length = behind + before;
        (length >= 0 && length <= i64::from(u32::MAX)).then_some(length as u32)
    }
}

/// `data` as an offset from `head`.
#[inline(always)]
fn data<M: Memory>(skb: *const u8, head: u64) -> u32 {
    M::load::<u64>(skb, config!(skb_data)).wrapping_sub(head) as u32
}

/// `skb->protocol`: an EtherType in the machine's byte order; 0 if there is none.
#[inline(always)]
pub(crate) fn protocol<M: Memory>(skb: *const u8) -> u32 {
    if !skb::has_packet() {
        return 0;
    }
    u32::from(u16::from_be(M::load::<u16>(skb, config!(skb_protocol))))
}

/// The packet's bytes, and what they begin with.
pub(crate) struct Packet {
    /// Of the skb, in the machine's byte order; 0 if there is none.
    pub(crate) protocol: u32,
    pub(crate) layer: u32,
    /// Kernel address of the outermost header that is there.
    pub(crate) start: u64,
    /// Bytes from there to the end of the linear part.
    pub(crate) caplen: u32,
    /// The network header's offset from `start`, or [`ABSENT`].
    pub(crate) network: u32,
    /// EtherType of the Ethernet header, in the machine's byte order.
    pub(crate) ethertype: u32,
}

impl Packet {
    #[inline(always)]
    pub(crate) fn of(linear: &Linear, protocol: u32, zero: u32) -> Self {
        let first = linear.first;
        let (mac, network) = (u32::from(linear.mac), u32::from(linear.network));
        let mut packet = Self {
            protocol,
            layer: zero,
            start: linear.start(),
            caplen: linear.caplen().wrapping_add(zero),
            network: ABSENT,
            ethertype: zero,
        };
        if network >= first {
            packet.network = (network - first).wrapping_add(zero);
        }
        let layer = if network != 0 && network == first {
            layer::NETWORK
        } else if linear.mac != HEADER_NOT_SET && mac == first {
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
        self.ethertype = ethertype;
        if ethertype == self.protocol && ethertype != 0 {
            apart();
            return layer::ETHERNET;
        }
        let tag = ethertype == VLAN[0] || ethertype == VLAN[1];
        let with_length = ethertype < FIRST_ETHERTYPE
            && (self.protocol == WITH_LENGTH[0] || self.protocol == WITH_LENGTH[1]);
        if tag || with_length {
            return layer::ETHERNET;
        }
        layer::LINK
    }

    /// Whether there are so many bytes at `at`.
    #[inline(always)]
    pub(crate) fn has(&self, at: u32, bytes: u32) -> bool {
        at <= self.caplen && self.caplen - at >= bytes
    }

    /// Reads a `T` at `at`; `None` where the packet's bytes end before.
    #[inline(always)]
    pub(crate) fn get<T: Plain>(&self, at: u32) -> Option<T> {
        if !self.has(at, size_of::<T>() as u32) {
            return None;
        }
        read(self.address(at))
    }

    /// The kernel address of the byte at `at`.
    #[inline(always)]
    pub(crate) fn address(&self, at: u32) -> u64 {
        self.start.wrapping_add(u64::from(at))
    }
}

//! Headers of the packets that most are, in a straight line: Ethernet without tags, IPv4 without options and fragments, TCP or UDP.

use crate::program::{
    config,
    filter::asks,
    headers::{IPV4, OF_TRANSPORT},
    memory::{Memory, Plain as _, window},
    skb,
};
use skbdrop_ebpf::view::{View, known, needs};

/// Bytes of an Ethernet header, of it and all the rest.
const ETHERNET_LEN: u32 = 14;
const LEN: u32 = ETHERNET_LEN + LEAST;
/// The least that an IPv4 header can say of the length with ports in it.
const LEAST: u32 = 20 + 4;
/// Ethernet's type with IPv4's version and header length.
const TYPE_AND_VERSION: u64 = (IPV4 << 8 | 0x45) as u64;
const TCP: u32 = 6;
const UDP: u32 = 17;

/// An Ethernet frame.
pub(crate) struct Frame {
    /// Its kernel address.
    pub(crate) start: u64,
    /// Bytes from there to the end of the linear part, with the whole Ethernet header.
    pub(crate) caplen: u32,
    /// Where the program can see them.
    pub(crate) bytes: *const u8,
}

impl Frame {
    /// Of a packet whose network header is right behind room for an Ethernet header. `None` of others, and on kernels that give no
    /// window.
    #[inline(always)]
    fn of<M: Memory>(skb: *const u8) -> Option<Self> {
        if !skb::has_packet() {
            return None;
        }
        let mac = u32::from(M::load::<u16>(skb, config!(skb_mac_header)));
        let network = u32::from(M::load::<u16>(skb, config!(skb_network_header)));
        let tail = M::load::<u32>(skb, config!(skb_tail));
        // A header that is not set is behind no other.
        if mac + ETHERNET_LEN != network || tail < network {
            return None;
        }
        let start = M::load::<u64>(skb, config!(skb_head)).wrapping_add(u64::from(mac));
        Some(Self {
            start,
            caplen: tail - mac,
            bytes: window(start)?,
        })
    }
}

/// The frame of which [`Packet`](super::packet::Packet) would say that an Ethernet header is in front, with the packet's own protocol;
/// `None` where that takes a closer look.
#[inline(always)]
pub(crate) fn frame<M: Memory>(skb: *const u8, protocol: u32) -> Option<Frame> {
    let frame = Frame::of::<M>(skb)?;
    // SAFETY: there are more.
    let ethertype = u32::from(u16::from_be(unsafe { u16::load::<12>(frame.bytes) }));
    (ethertype == protocol && protocol != 0).then_some(frame)
}

/// What [`parse`](super::headers::parse) would write of such a packet into a view with zeros, as far as it is asked for, and the bits
/// of it; or 0 where that takes a closer look, and on kernels that give no window: nothing is written then. `zero` is one that the verifier takes for any number.
///
/// # Safety
///
/// `view` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn parse<M: Memory>(
    skb: *const u8,
    protocol: u32,
    zero: u32,
    view: *mut View,
) -> u32 {
    if protocol != IPV4 {
        return 0;
    }
    let Some(frame) = Frame::of::<M>(skb) else {
        return 0;
    };
    if frame.caplen < LEN {
        return 0;
    }
    let bytes = frame.bytes;
    // SAFETY: there are more.
    let front = u64::from_be(unsafe { u64::load::<12>(bytes) });
    if front >> 40 != TYPE_AND_VERSION {
        return 0;
    }
    let mut known = known::IPV4;
    if asks(OF_TRANSPORT) {
        // SAFETY: there are more.
        let middle = u64::from_be(unsafe { u64::load::<20>(bytes) });
        let transport = (middle >> 32 & 0xff) as u32;
        let is_later_fragment = middle >> 48 & 0x1fff != 0;
        let total = (front >> 16 & 0xffff) as u32;
        if transport != UDP && transport != TCP || is_later_fragment || total < LEAST {
            return 0;
        }
        known |= known::TRANSPORT;
        // SAFETY: as the caller promises.
        unsafe { (&raw mut (*view).transport).write(transport.wrapping_add(zero)) };
    }
    if asks(needs::PORTS) {
        known |= known::PORTS;
        // SAFETY: as the caller promises. There are more bytes.
        unsafe {
            let ports = u32::from_be(u32::load::<34>(bytes));
            (&raw mut (*view).src_port).write(ports >> 16);
            (&raw mut (*view).dst_port).write(ports & 0xffff);
        }
    }
    if asks(needs::ADDRESSES) {
        // SAFETY: as the caller promises; the arrays are aligned to eight. There are more bytes.
        unsafe {
            let (src, dst) = (&raw mut (*view).src, &raw mut (*view).dst);
            // The source is in front.
            let both = u64::from_le(u64::load::<26>(bytes));
            let front = |address: u32| [u64::from(address).to_le(), u64::from(zero)];
            src.cast::<[u64; 2]>().write(front(both as u32));
            dst.cast::<[u64; 2]>().write(front((both >> 32) as u32));
        }
    }
    known
}

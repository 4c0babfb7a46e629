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

/// What [`parse`](super::headers::parse) would write of such a packet into a view with zeros, and the bits of it; or 0 where that
/// takes a closer look, and on kernels that give no window. `zero` is one that the verifier takes for any number.
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
    if protocol != IPV4 || !skb::has_packet() {
        return 0;
    }
    let mac = u32::from(M::load::<u16>(skb, config!(skb_mac_header)));
    let network = u32::from(M::load::<u16>(skb, config!(skb_network_header)));
    // A header that is not set is behind no other.
    if mac + ETHERNET_LEN != network || M::load::<u32>(skb, config!(skb_tail)) < mac + LEN {
        return 0;
    }
    let start = M::load::<u64>(skb, config!(skb_head)).wrapping_add(u64::from(mac));
    let Some(bytes) = window(start) else {
        return 0;
    };
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
            src.cast::<u32>().write((both as u32).to_le());
            dst.cast::<u32>().write(((both >> 32) as u32).to_le());
        }
    }
    known
}

//! Addresses, transport protocol and ports of a packet, as user space finds them in an event's bytes.

use crate::program::{
    filter::asks,
    memory::{Plain as _, Sight, seen},
    packet::Packet,
};
use skbdrop_ebpf::{
    ABSENT,
    view::{View, known, layer, needs},
};

/// VLAN tags that are looked through, as many as user space does.
const MAX_TAGS: u32 = 3;

pub(crate) const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
/// EtherTypes of VLAN tags: 802.1Q, 802.1ad, and the one that was used for outer tags before.
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];

const HOP_BY_HOP: u32 = 0;
const ROUTING: u32 = 43;
const FRAGMENT: u32 = 44;
const AUTHENTICATION: u32 = 51;
const DESTINATION: u32 = 60;

/// What is said of the transport header.
pub(crate) const OF_TRANSPORT: u32 = needs::TRANSPORT | needs::PORTS;

/// Bytes of an IPv4 header without options, of an IPv6 header, and of two ports.
const IPV4_LEN: u32 = 20;
const IPV6_LEN: u32 = 40;
const PORTS_LEN: u32 = 4;

/// An IP header.
struct Header {
    /// Where it is in the packet.
    at: u32,
    /// Its first eight bytes.
    front: u64,
    /// All of it can be seen there.
    bytes: *const u8,
}

/// What the network header says of the transport header.
struct Payload {
    protocol: u32,
    /// Where it begins, and where it ends.
    at: u32,
    end: u32,
    /// Not 0 in a later fragment, which has no transport header.
    later: u32,
}

/// Writes zeros into the view, for what is not known. `zero` is one that the verifier takes for any number.
///
/// # Safety
///
/// `view` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn clear(zero: u32, view: *mut View) {
    // SAFETY: as the caller promises; the arrays are aligned to eight.
    unsafe {
        if asks(needs::ADDRESSES) {
            let zeros = [u64::from(zero); 2];
            (&raw mut (*view).src).cast::<[u64; 2]>().write(zeros);
            (&raw mut (*view).dst).cast::<[u64; 2]>().write(zeros);
        }
        (&raw mut (*view).transport).write(zero);
        (&raw mut (*view).src_port).write(zero);
        (&raw mut (*view).dst_port).write(zero);
    }
}

/// Writes what the headers say into the view, as far as it is asked for; gives the bits of what it has written. `zero` is one that
/// the verifier takes for any number.
///
/// # Safety
///
/// `view` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn parse(packet: &Packet, zero: u32, view: *mut View) -> u32 {
    let Some(at) = network_header(packet, zero) else {
        return 0;
    };
    if !packet.has(at, IPV4_LEN) {
        return 0;
    }
    let mut copy = Sight::uninit();
    let Some(bytes) = seen(packet.address(at), &mut copy) else {
        return 0;
    };
    // SAFETY: there are more.
    let front = u64::from_be(unsafe { u64::load::<0>(bytes) });
    let header = Header { at, front, bytes };
    // SAFETY: as the caller promises.
    let (mut known, payload) = match unsafe {
        match front >> 60 {
            4 => ipv4(packet, &header, view),
            6 => ipv6(packet, &header, view),
            _ => return 0,
        }
    } {
        (known, None) => return known,
        (known, Some(payload)) => (known, payload),
    };
    known += known::TRANSPORT;
    // SAFETY: as the caller promises.
    unsafe { (&raw mut (*view).transport).write(payload.protocol.wrapping_add(zero)) };
    let has_ports = matches!(payload.protocol, 6 | 17 | 33 | 132 | 136);
    if asks(needs::PORTS)
        && has_ports
        && payload.later == 0
        && payload.has(PORTS_LEN)
        && let Some(ports) = packet.get::<u32>(payload.at)
    {
        known += known::PORTS;
        let ports = u32::from_be(ports);
        // SAFETY: as the caller promises.
        unsafe {
            (&raw mut (*view).src_port).write(ports >> 16);
            (&raw mut (*view).dst_port).write(ports & 0xffff);
        }
    }
    known
}

/// Where the IP header is, behind the link-layer header and tags.
#[inline(always)]
fn network_header(packet: &Packet, zero: u32) -> Option<u32> {
    let (mut ethertype, mut at) = match packet.layer {
        layer::ETHERNET => (packet.ethertype, zero.wrapping_add(14)),
        layer::NETWORK => (packet.protocol, zero),
        layer::LINK if packet.network != ABSENT => (packet.protocol, packet.network),
        _ => return None,
    };
    let mut tags = 0;
    while tags < MAX_TAGS {
        if ethertype != TAGS[0] && ethertype != TAGS[1] && ethertype != TAGS[2] {
            break;
        }
        ethertype = u32::from(u16::from_be(packet.get::<u16>(at + 2)?));
        at += 4;
        tags += 1;
    }
    (ethertype == IPV4 || ethertype == IPV6).then_some(at)
}

/// # Safety
///
/// As for [`parse`].
#[inline(always)]
unsafe fn ipv4(packet: &Packet, header: &Header, view: *mut View) -> (u32, Option<Payload>) {
    let at = header.at;
    let len = (header.front >> 56 & 0xf) as u32 * 4;
    if len < IPV4_LEN || packet.caplen - at < len {
        return (0, None);
    }
    if asks(needs::ADDRESSES) {
        // SAFETY: as the caller promises; the arrays are aligned to eight. The header has them.
        unsafe {
            (&raw mut (*view).src)
                .cast::<u32>()
                .write(u32::load::<12>(header.bytes));
            (&raw mut (*view).dst)
                .cast::<u32>()
                .write(u32::load::<16>(header.bytes));
        }
    }
    if !asks(OF_TRANSPORT) {
        return (known::IPV4, None);
    }
    let total = (header.front >> 32 & 0xffff) as u32;
    let offset = (header.front & 0x1fff) as u32;
    // SAFETY: the header has it.
    let protocol = u32::from(unsafe { u8::load::<9>(header.bytes) });
    let mut payload = Payload {
        protocol,
        at: at + len,
        end: packet.caplen,
        later: offset,
    };
    // A length that cannot be is none.
    if total >= len && total <= packet.caplen - at {
        payload.end = at + total;
    }
    if payload.protocol == AUTHENTICATION
        && let Some((next, len)) = authentication(packet, &payload)
    {
        payload.protocol = next;
        payload.at += len;
    }
    // What is behind a header that is cut is not known.
    if payload.protocol == AUTHENTICATION {
        return (known::IPV4, None);
    }
    (known::IPV4, Some(payload))
}

/// # Safety
///
/// As for [`parse`].
#[inline(always)]
unsafe fn ipv6(packet: &Packet, header: &Header, view: *mut View) -> (u32, Option<Payload>) {
    let (at, front) = (header.at, header.front);
    if packet.caplen - at < IPV6_LEN {
        return (0, None);
    }
    if asks(needs::ADDRESSES) {
        // SAFETY: as the caller promises; the arrays are aligned to eight. The header has them.
        unsafe {
            let (src, dst) = (&raw mut (*view).src, &raw mut (*view).dst);
            src.cast::<u64>().write(u64::load::<8>(header.bytes));
            src.cast::<u64>()
                .add(1)
                .write(u64::load::<16>(header.bytes));
            dst.cast::<u64>().write(u64::load::<24>(header.bytes));
            dst.cast::<u64>()
                .add(1)
                .write(u64::load::<32>(header.bytes));
        }
    }
    if !asks(OF_TRANSPORT) {
        return (known::IPV6, None);
    }
    let length = (front >> 16 & 0xffff) as u32;
    let mut payload = Payload {
        protocol: (front >> 8 & 0xff) as u32,
        at: at + IPV6_LEN,
        end: packet.caplen,
        later: 0,
    };
    if length != 0 && length <= packet.caplen - at - IPV6_LEN {
        payload.end = payload.at + length;
    }
    'chain: {
        if payload.protocol == HOP_BY_HOP && !payload.step(packet) {
            break 'chain;
        }
        // Written out, as the verifier remembers too little of the ways through a loop.
        macro_rules! step {
            ($($n:literal)*) => {
                $(
                    let _: u32 = $n;
                    let follows = matches!(payload.protocol, DESTINATION | ROUTING | FRAGMENT | AUTHENTICATION);
                    // What seems to be an extension in a later fragment is any data.
                    if !follows || payload.later != 0 || !payload.step(packet) {
                        break 'chain;
                    }
                )*
            };
        }
        step!(1 2 3 4 5 6 7 8);
    }
    match payload.protocol {
        // What is behind an extension that is cut is not known.
        HOP_BY_HOP | DESTINATION | ROUTING | FRAGMENT | AUTHENTICATION => (known::IPV6, None),
        _ => (known::IPV6, Some(payload)),
    }
}

impl Payload {
    #[inline(always)]
    fn has(&self, bytes: u32) -> bool {
        self.at <= self.end && self.end - self.at >= bytes
    }

    /// Goes behind an IPv6 extension header. Says whether it is whole.
    #[inline(always)]
    fn step(&mut self, packet: &Packet) -> bool {
        if self.protocol == AUTHENTICATION {
            return match authentication(packet, self) {
                Some((next, len)) => {
                    self.protocol = next;
                    self.at += len;
                    true
                }
                None => false,
            };
        }
        if !self.has(8) {
            return false;
        }
        let Some(word) = packet.get::<u32>(self.at) else {
            return false;
        };
        let word = u32::from_be(word);
        let mut len = ((word >> 16 & 0xff) + 1) * 8;
        if self.protocol == FRAGMENT {
            len = 8;
            self.later |= word & 0xfff8;
        }
        if !self.has(len) {
            return false;
        }
        self.protocol = word >> 24;
        self.at += len;
        true
    }
}

/// The next header and this one's length, which is counted in fours.
#[inline(always)]
fn authentication(packet: &Packet, payload: &Payload) -> Option<(u32, u32)> {
    if !payload.has(12) {
        return None;
    }
    let word = u32::from(u16::from_be(packet.get::<u16>(payload.at)?));
    let (next, len) = (word >> 8, word & 0xff);
    let bytes = (len + 2) * 4;
    (len >= 1 && payload.has(bytes)).then_some((next, bytes))
}

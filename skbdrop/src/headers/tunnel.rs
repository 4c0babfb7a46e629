//! Packets in packets: GRE, VXLAN, Geneve, IP in IP.

use super::{Headers, Transport};
use crate::EtherType;
use etherparse::IpNumber;

/// EtherType of an Ethernet frame ("transparent Ethernet bridging").
pub(super) const ETHERNET: EtherType = EtherType(0x6558);
/// IANA's port of VXLAN, and the one that Linux uses unless it is told (`vxlan_port` in `drivers/net/vxlan`).
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
/// IANA's port of Geneve.
const GENEVE_PORT: u16 = 6081;
const UDP_HEADER_LEN: usize = 8;

/// The header of a tunnel. Its packet is told by [`inner`](Self::inner).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tunnel<'a> {
    /// Which kind of tunnel.
    pub kind: TunnelKind,
    /// What it carries.
    pub protocol: EtherType,
    pub(super) payload: &'a [u8],
    pub(super) depth: u8,
}

/// Kinds of tunnels. VXLAN and Geneve are told by UDP's destination port: 4789 or 8472, and 6081.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum TunnelKind {
    /// IP in IP, whatever the two versions.
    Ip,
    /// GRE.
    Gre(Gre),
    /// VXLAN.
    Vxlan {
        /// Number of the network.
        vni: u32,
    },
    /// Geneve.
    Geneve {
        /// Number of the network.
        vni: u32,
    },
}

/// A GRE header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Gre {
    /// Key, if it has one.
    pub key: Option<u32>,
    /// Sequence number, if it has one.
    pub sequence: Option<u32>,
}

impl<'a> Tunnel<'a> {
    /// `bytes` is IP's payload, and begins with `transport` if there is one.
    pub(super) fn of(
        protocol: IpNumber,
        transport: Option<&Transport<'a>>,
        bytes: &'a [u8],
        depth: u8,
    ) -> Option<Self> {
        let (kind, protocol, payload) = match (protocol, transport) {
            (IpNumber::IPV4, _) => (TunnelKind::Ip, EtherType::IPV4, bytes),
            (IpNumber::IPV6, _) => (TunnelKind::Ip, EtherType::IPV6, bytes),
            (IpNumber::GRE, _) => gre(bytes)?,
            (_, Some(Transport::Udp(udp))) => {
                let bytes = bytes.get(UDP_HEADER_LEN..)?;
                match udp.destination {
                    port if VXLAN_PORTS.contains(&port) => vxlan(bytes)?,
                    GENEVE_PORT => geneve(bytes)?,
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Self {
            kind,
            protocol,
            payload,
            depth,
        })
    }

    /// The headers of the packet in the tunnel, as far as the bytes reach. Packets in packets are told eight
    /// deep.
    #[must_use]
    pub fn inner(&self) -> Option<Headers<'a>> {
        Headers::inner(self.protocol, self.payload, self.depth + 1)
    }
}

/// RFC 2784 and 2890: a word of flags and protocol, then optional words.
fn gre(bytes: &[u8]) -> Option<(TunnelKind, EtherType, &[u8])> {
    let (&[flags, version, high, low], mut rest) = bytes.split_first_chunk::<4>()?;
    // Version 1 is PPTP's, and the bit behind the checksum's says that there are source routes.
    if version & 7 != 0 || flags & 0x40 != 0 {
        return None;
    }
    let mut word = |flag: u8| -> Option<Option<u32>> {
        if flags & flag == 0 {
            return Some(None);
        }
        let (word, following) = rest.split_first_chunk::<4>()?;
        rest = following;
        Some(Some(u32::from_be_bytes(*word)))
    };
    word(0x80)?; // checksum
    let gre = Gre {
        key: word(0x20)?,
        sequence: word(0x10)?,
    };
    let protocol = EtherType(u16::from_be_bytes([high, low]));
    Some((TunnelKind::Gre(gre), protocol, rest))
}

/// RFC 7348: flags of which one is set, and the number of the network.
fn vxlan(bytes: &[u8]) -> Option<(TunnelKind, EtherType, &[u8])> {
    let (&[flags, _, _, _, a, b, c, _], rest) = bytes.split_first_chunk::<8>()?;
    let vni = u32::from_be_bytes([0, a, b, c]);
    (flags & 0x08 != 0).then_some((TunnelKind::Vxlan { vni }, ETHERNET, rest))
}

/// RFC 8926: version and length of the options, protocol, number of the network, options.
fn geneve(bytes: &[u8]) -> Option<(TunnelKind, EtherType, &[u8])> {
    let (&[options, _, high, low, a, b, c, _], rest) = bytes.split_first_chunk::<8>()?;
    if options >> 6 != 0 {
        return None;
    }
    let rest = rest.get(usize::from(options & 0x3f) * 4..)?;
    let vni = u32::from_be_bytes([0, a, b, c]);
    let protocol = EtherType(u16::from_be_bytes([high, low]));
    Some((TunnelKind::Geneve { vni }, protocol, rest))
}

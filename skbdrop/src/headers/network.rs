//! ARP, IPv4 and IPv6.

use super::MacAddress;
use crate::{EtherType, IpProtocol};
use etherparse::{ArpPacketSlice, IpNumber, Ipv4HeaderSlice, Ipv6ExtensionsSlice, Ipv6HeaderSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Network headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum Network<'a> {
    /// Address resolution.
    Arp(Arp),
    /// IP version 4.
    Ipv4(Ipv4),
    /// IP version 6, with its extension headers.
    Ipv6(Ipv6<'a>),
}

/// An ARP packet. Addresses of other kinds than Ethernet's and IPv4's are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Hardware address of who sent it.
    pub sender_mac: Option<MacAddress>,
    /// Address of who sent it.
    pub sender: Option<Ipv4Addr>,
    /// Hardware address of who is meant; zeros in a question.
    pub target_mac: Option<MacAddress>,
    /// Address of who is meant.
    pub target: Option<Ipv4Addr>,
}

/// An IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ipv4 {
    /// Sender.
    pub source: Ipv4Addr,
    /// Receiver.
    pub destination: Ipv4Addr,
    /// What it carries.
    pub protocol: IpProtocol,
    /// How many routers it may still pass.
    pub ttl: u8,
    /// Class of service, 6 bits.
    pub dscp: u8,
    /// Congestion notification, 2 bits.
    pub ecn: u8,
    /// Identification.
    pub id: u16,
    /// It must not be fragmented.
    pub dont_fragment: bool,
    /// Which part it is, if it is a fragment.
    pub fragment: Option<Fragment>,
    /// Length that the header says: header and payload, bytes.
    pub total_length: u16,
    /// Length of the header, bytes: 20, and more with options.
    pub header_length: u8,
    /// Header checksum, as it is.
    pub checksum: u16,
}

/// An IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ipv6<'a> {
    /// Sender.
    pub source: Ipv6Addr,
    /// Receiver.
    pub destination: Ipv6Addr,
    /// What follows the header: an extension header or what it carries.
    pub next_header: IpProtocol,
    /// How many routers it may still pass.
    pub hop_limit: u8,
    /// Class of service, 6 bits.
    pub dscp: u8,
    /// Congestion notification, 2 bits.
    pub ecn: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Which part it is, if it is a fragment.
    pub fragment: Option<Fragment>,
    /// Length that the header says: all that follows it, bytes.
    pub payload_length: u16,
    /// Extension headers, as far as they are whole.
    pub extensions: Extensions<'a>,
}

/// Which part of a packet a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Fragment {
    /// Number that all fragments of the packet have: 16 bits in IPv4.
    pub id: u32,
    /// Where in the packet's payload it belongs, bytes.
    pub offset: u16,
    /// It is not the last.
    pub more: bool,
}

/// IPv6 extension headers: an iterator over each one's kind and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a> {
    kind: Option<IpProtocol>,
    bytes: &'a [u8],
}

impl Network<'_> {
    /// The header's protocol, as `skb->protocol` would name it.
    #[must_use]
    pub fn protocol(&self) -> EtherType {
        match self {
            Self::Arp(_) => EtherType::ARP,
            Self::Ipv4(_) => EtherType::IPV4,
            Self::Ipv6(_) => EtherType::IPV6,
        }
    }

    /// Sender and receiver of an IP packet.
    #[must_use]
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self {
            Self::Arp(_) => None,
            Self::Ipv4(ip) => Some((ip.source.into(), ip.destination.into())),
            Self::Ipv6(ip) => Some((ip.source.into(), ip.destination.into())),
        }
    }

    /// TTL of IPv4, hop limit of IPv6.
    #[must_use]
    pub fn ttl(&self) -> Option<u8> {
        match self {
            Self::Arp(_) => None,
            Self::Ipv4(ip) => Some(ip.ttl),
            Self::Ipv6(ip) => Some(ip.hop_limit),
        }
    }

    /// Which part it is, if it is an IP fragment.
    #[must_use]
    pub fn fragment(&self) -> Option<Fragment> {
        match self {
            Self::Arp(_) => None,
            Self::Ipv4(ip) => ip.fragment,
            Self::Ipv6(ip) => ip.fragment,
        }
    }
}

impl Arp {
    pub(super) fn of(arp: &ArpPacketSlice<'_>) -> Self {
        let mac = |bytes: &[u8]| bytes.try_into().ok().map(MacAddress);
        let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
        Self {
            operation: arp.operation().0,
            sender_mac: mac(arp.sender_hw_addr()),
            sender: address(arp.sender_protocol_addr()),
            target_mac: mac(arp.target_hw_addr()),
            target: address(arp.target_protocol_addr()),
        }
    }
}

impl Ipv4 {
    pub(super) fn of(header: &Ipv4HeaderSlice<'_>) -> Self {
        let offset = header.fragments_offset().byte_offset();
        let is_fragment = header.more_fragments() || offset != 0;
        Self {
            source: header.source_addr(),
            destination: header.destination_addr(),
            protocol: IpProtocol(header.protocol().0),
            ttl: header.ttl(),
            dscp: header.dcp().value(),
            ecn: header.ecn().value(),
            id: header.identification(),
            dont_fragment: header.dont_fragment(),
            fragment: is_fragment.then_some(Fragment {
                id: header.identification().into(),
                offset,
                more: header.more_fragments(),
            }),
            total_length: header.total_len(),
            header_length: header.ihl() * 4,
            checksum: header.header_checksum(),
        }
    }
}

impl<'a> Ipv6<'a> {
    pub(super) fn of(header: &Ipv6HeaderSlice<'_>, extensions: &Ipv6ExtensionsSlice<'a>) -> Self {
        let extensions = Extensions {
            kind: extensions.first_header().map(|kind| IpProtocol(kind.0)),
            bytes: extensions.slice(),
        };
        Self {
            source: header.source_addr(),
            destination: header.destination_addr(),
            next_header: IpProtocol(header.next_header().0),
            hop_limit: header.hop_limit(),
            dscp: header.dscp().value(),
            ecn: header.ecn().value(),
            flow_label: header.flow_label().value(),
            fragment: extensions.fragment(),
            payload_length: header.payload_length(),
            extensions,
        }
    }
}

impl Extensions<'_> {
    /// A packet is cut once. Where one has several fragment headers all the same, the one counts by which what
    /// follows is no header.
    fn fragment(self) -> Option<Fragment> {
        let fragments = self.filter_map(|(kind, bytes)| match (IpNumber(kind.0), bytes) {
            (IpNumber::IPV6_FRAGMENTATION_HEADER, &[_, _, high, low, a, b, c, d]) => {
                // The offset counts units of 8 bytes and is in the upper 13 bits, so masked it counts bytes.
                let offset = u16::from_be_bytes([high, low]);
                Some(Fragment {
                    id: u32::from_be_bytes([a, b, c, d]),
                    offset: offset & !7,
                    more: offset & 1 != 0,
                })
            }
            _ => None,
        });
        fragments.reduce(|first, next| {
            if first.offset == 0 && next.offset != 0 {
                next
            } else {
                first
            }
        })
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (IpProtocol, &'a [u8]);

    /// The parser's own iterator takes the header behind the last one for whole, which it is not in a
    /// packet that is cut there.
    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.kind?;
        let &[next, length, ..] = self.bytes else {
            return None;
        };
        let length = match IpNumber(kind.0) {
            IpNumber::IPV6_FRAGMENTATION_HEADER => 8,
            IpNumber::AUTHENTICATION_HEADER => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        let (header, rest) = self.bytes.split_at_checked(length)?;
        *self = Self {
            kind: Some(IpProtocol(next)),
            bytes: rest,
        };
        Some((kind, header))
    }
}

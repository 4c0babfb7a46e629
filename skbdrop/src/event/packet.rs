//! The packet's bytes, and what they say: addresses, ports, protocols.

use super::plain;
use crate::{Error, backend::Endpoints};
use bytes::Bytes;
use etherparse::{
    IpNumber, Ipv6ExtensionSlice, LaxIpv4Slice, LaxIpv6Slice, LaxNetSlice, LaxSlicedPacket,
    ip_number,
};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// The first bytes of a dropped packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet {
    /// Up to the snap length, from the outermost header that the packet still had. Empty with
    /// a snap length of 0. Only the linear part of the skb: headers nearly always, payload
    /// not always.
    pub bytes: Bytes,
    /// What the bytes begin with.
    pub layer: Layer,
    /// Where in the bytes the network header begins, if it is known. It may be beyond their end.
    pub network_offset: Option<usize>,
}

/// What a packet's bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum Layer {
    /// An Ethernet header.
    Ethernet,
    /// A link-layer header of another kind.
    Link,
    /// The network header, of the event's `protocol`.
    Network,
    /// Whatever `skb->data` pointed at: no header was known.
    Data,
}

/// `skb->protocol`: an EtherType, host byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct EtherType(pub u16);

impl EtherType {
    /// 0x0800.
    pub const IPV4: Self = Self(0x0800);
    /// 0x0806.
    pub const ARP: Self = Self(0x0806);
    /// 0x86dd.
    pub const IPV6: Self = Self(0x86dd);
    /// 0x8100, a customer VLAN tag.
    pub const VLAN: Self = Self(0x8100);
    /// 0x88a8, a service VLAN tag.
    pub const QINQ: Self = Self(0x88a8);
}

/// Protocol number of what an IP packet carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// 1.
    pub const ICMP: Self = Self(1);
    /// 6.
    pub const TCP: Self = Self(6);
    /// 17.
    pub const UDP: Self = Self(17);
    /// 33.
    pub const DCCP: Self = Self(33);
    /// 58.
    pub const ICMPV6: Self = Self(58);
    /// 132.
    pub const SCTP: Self = Self(132);
    /// 136.
    pub const UDP_LITE: Self = Self(136);

    /// Whether the header begins with source and destination port.
    pub(crate) fn has_ports(self) -> bool {
        matches!(
            self,
            Self::TCP | Self::UDP | Self::DCCP | Self::SCTP | Self::UDP_LITE
        )
    }
}

/// An end of the packet's way. `Display` is `192.0.2.1:443`, `[2001:db8::1]:443`, or the address
/// alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Endpoint {
    /// The address in the IP header.
    pub address: IpAddr,
    /// The port, if the transport protocol has ports and the packet's bytes reach them: not in
    /// fragments but the first.
    pub port: Option<u16>,
}

/// What the headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) src: Option<Endpoint>,
    pub(crate) dst: Option<Endpoint>,
    pub(crate) transport: Option<IpProtocol>,
}

impl Headers {
    /// Parses `bytes`, which begin with `layer`; see [`slice`].
    pub(crate) fn parse(
        bytes: &[u8],
        layer: Layer,
        network_offset: Option<usize>,
        protocol: Option<EtherType>,
    ) -> Self {
        plain::headers(bytes, layer, network_offset, protocol)
            .unwrap_or_else(|| Self::parse_any(bytes, layer, network_offset, protocol))
    }

    /// The same of any packet.
    #[cold]
    pub(super) fn parse_any(
        bytes: &[u8],
        layer: Layer,
        network_offset: Option<usize>,
        protocol: Option<EtherType>,
    ) -> Self {
        let sliced = slice(bytes, layer, network_offset, protocol);
        sliced.map_or_else(Self::default, |sliced| Self::of(&sliced))
    }

    /// What a backend knows already.
    pub(crate) fn told((src, dst, transport): Endpoints) -> Self {
        let endpoint = |end: Option<(IpAddr, Option<u16>)>| {
            end.map(|(address, port)| Endpoint { address, port })
        };
        Self {
            src: endpoint(src),
            dst: endpoint(dst),
            transport: transport.map(IpProtocol),
        }
    }

    fn of(sliced: &LaxSlicedPacket<'_>) -> Self {
        let (src, dst, payload, carried): (IpAddr, IpAddr, _, _) = match &sliced.net {
            Some(LaxNetSlice::Ipv4(ip)) => {
                let header = ip.header();
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                    ip.payload(),
                    Carried::by_ipv4(ip),
                )
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let header = ip.header();
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                    ip.payload(),
                    Carried::by_ipv6(ip),
                )
            }
            _ => return Self::default(),
        };
        Self::of_ends(src, dst, carried.protocol, payload.payload, carried.first)
    }

    /// Of an IP header's addresses and of what it carries, which begins with a header if it is `first`.
    pub(super) fn of_ends(
        src: IpAddr,
        dst: IpAddr,
        transport: Option<IpProtocol>,
        payload: &[u8],
        first: bool,
    ) -> Self {
        // The ports come first in the header, so they may be there where the rest is cut off.
        let ports = match payload {
            [a, b, c, d, ..] if first && transport.is_some_and(IpProtocol::has_ports) => {
                Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
            }
            _ => None,
        };
        Self {
            src: Some(Endpoint {
                address: src,
                port: ports.map(|ports| ports.0),
            }),
            dst: Some(Endpoint {
                address: dst,
                port: ports.map(|ports| ports.1),
            }),
            transport,
        }
    }
}

/// What comes after the IP header and its extensions.
#[derive(Clone, Copy)]
struct Carried {
    /// None if it is behind an extension that is cut.
    protocol: Option<IpProtocol>,
    /// Not a later fragment, which holds no header but a part from further behind.
    first: bool,
}

impl Carried {
    fn by_ipv4(ip: &LaxIpv4Slice<'_>) -> Self {
        let number = ip.payload().ip_number;
        Self {
            protocol: (number != ip_number::AUTH).then_some(IpProtocol(number.0)),
            first: ip.header().fragments_offset().value() == 0,
        }
    }

    fn by_ipv6(ip: &LaxIpv6Slice<'_>) -> Self {
        let protocol = not_extension(ip.payload().ip_number);
        let first = Self {
            protocol,
            first: true,
        };
        // The iterator relies on a whole chain: it would read past the end of one that is cut.
        if protocol.is_none() {
            return first;
        }
        let mut extensions = ip.extensions().clone().into_iter();
        let later = extensions.find_map(|extension| match extension {
            Ipv6ExtensionSlice::Fragment(fragment) => {
                (fragment.fragment_offset().value() != 0).then(|| fragment.next_header())
            }
            _ => None,
        });
        // What seems to be an extension in a later fragment is any data.
        later.map_or(first, |number| Self {
            protocol: not_extension(number),
            first: false,
        })
    }
}

/// The protocol, unless it is one of the extensions that are looked through.
fn not_extension(number: IpNumber) -> Option<IpProtocol> {
    let extension = matches!(
        number,
        ip_number::AUTH
            | ip_number::IPV6_DEST_OPTIONS
            | ip_number::IPV6_FRAG
            | ip_number::IPV6_HOP_BY_HOP
            | ip_number::IPV6_ROUTE
    );
    (!extension).then_some(IpProtocol(number.0))
}

/// Slices `bytes`, which begin with `layer`, into headers. Other than Ethernet, the network header is
/// found by `network_offset` and `protocol`. Cut and malformed headers give what is whole.
pub(crate) fn slice(
    bytes: &[u8],
    layer: Layer,
    network_offset: Option<usize>,
    protocol: Option<EtherType>,
) -> Option<LaxSlicedPacket<'_>> {
    let from_network = |offset: usize| {
        let protocol = etherparse::EtherType(protocol?.0);
        Some(LaxSlicedPacket::from_ether_type(
            protocol,
            bytes.get(offset..)?,
        ))
    };
    match layer {
        Layer::Ethernet => LaxSlicedPacket::from_ethernet(bytes).ok(),
        Layer::Network => from_network(0),
        Layer::Link => network_offset.and_then(from_network),
        Layer::Data => None,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}"),
            (address, Some(port)) => write!(f, "{address}:{port}"),
            (address, None) => write!(f, "{address}"),
        }
    }
}

/// From the text that `Display` makes.
impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(address) = text.parse() {
            return Ok(Self {
                address,
                port: None,
            });
        }
        let both: SocketAddr = text
            .parse()
            .map_err(|_| Error::invalid_data(format!("no address: `{text}`")))?;
        Ok(Self {
            address: both.ip(),
            port: Some(both.port()),
        })
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4 => f.pad("IPv4"),
            Self::IPV6 => f.pad("IPv6"),
            Self::ARP => f.pad("ARP"),
            Self::VLAN => f.pad("VLAN"),
            Self::QINQ => f.pad("QinQ"),
            Self(number) => f.pad(&format!("{number:#06x}")),
        }
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.pad("ICMP"),
            Self::TCP => f.pad("TCP"),
            Self::UDP => f.pad("UDP"),
            Self::DCCP => f.pad("DCCP"),
            Self::ICMPV6 => f.pad("ICMPv6"),
            Self::SCTP => f.pad("SCTP"),
            Self::UDP_LITE => f.pad("UDP-Lite"),
            Self(number) => f.pad(&format!("protocol {number}")),
        }
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtherType({:#06x})", self.0)
    }
}

impl fmt::Debug for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpProtocol({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    fn udp_over_ipv4() -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
            .udp(1000, 53)
            .write(&mut frame, b"payload")
            .expect("writing to memory");
        frame
    }

    fn ethernet(frame: &[u8]) -> Headers {
        Headers::parse(frame, Layer::Ethernet, Some(14), Some(EtherType::IPV4))
    }

    fn ends(headers: &Headers) -> Option<(String, String)> {
        Some((headers.src?.to_string(), headers.dst?.to_string()))
    }

    #[test]
    fn addresses_and_ports_from_each_layer() {
        let frame = udp_over_ipv4();
        let expected = Some(("192.0.2.1:1000".to_owned(), "192.0.2.2:53".to_owned()));
        assert_eq!(ends(&ethernet(&frame)), expected);
        let network = Headers::parse(&frame[14..], Layer::Network, None, Some(EtherType::IPV4));
        assert_eq!(ends(&network), expected);
        let link = Headers::parse(&frame, Layer::Link, Some(14), Some(EtherType::IPV4));
        assert_eq!(ends(&link), expected);
        let data = Headers::parse(&frame, Layer::Data, Some(14), Some(EtherType::IPV4));
        assert_eq!(data, Headers::default());
        let unknown = Headers::parse(&frame, Layer::Link, Some(14), None);
        assert_eq!(unknown, Headers::default());
    }

    #[test]
    fn vlan_tags_are_looked_through() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .single_vlan(5u16.try_into().expect("a VLAN"))
            .ipv6([0xfd; 16], [0xfe; 16], 64)
            .tcp(1, 443, 0, 0)
            .write(&mut frame, &[])
            .expect("writing to memory");
        let headers = Headers::parse(&frame, Layer::Ethernet, None, Some(EtherType::IPV6));
        assert_eq!(headers.dst.map(|dst| dst.port), Some(Some(443)));
        assert_eq!(headers.transport, Some(IpProtocol::TCP));
    }

    #[test]
    fn only_first_fragments_have_ports() {
        let mut v4 = udp_over_ipv4();
        v4[14 + 6] = 0x20; // more fragments
        assert_eq!(ethernet(&v4).dst.and_then(|dst| dst.port), Some(53));
        v4[14 + 7] = 1; // and not the first
        assert_eq!(ethernet(&v4).dst.map(|dst| dst.port), Some(None));

        let mut v6 = vec![0x60, 0, 0, 0, 0, 16, 44, 64];
        v6.extend_from_slice(&[0xfd; 32]);
        v6.extend_from_slice(&[17, 0, 0, 1, 0, 0, 0, 7, 3, 232, 0, 53, 0, 8, 0, 0]);
        let parse =
            |packet: &[u8]| Headers::parse(packet, Layer::Network, None, Some(EtherType::IPV6));
        assert_eq!(parse(&v6).dst.and_then(|dst| dst.port), Some(53));
        v6[43] = 9;
        assert_eq!(parse(&v6).dst.map(|dst| dst.port), Some(None));
        assert_eq!(parse(&v6).transport, Some(IpProtocol::UDP));
    }

    #[test]
    fn extensions_that_are_cut_hide_the_transport() {
        // Hop-by-hop options, destination options, UDP.
        let mut packet = vec![0x60, 0, 0, 0, 0, 24, 0, 64];
        packet.extend_from_slice(&[0xfd; 32]);
        packet.extend_from_slice(&[60, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend_from_slice(&[17, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend_from_slice(&[3, 232, 0, 53, 0, 8, 0, 0]);
        let parse =
            |packet: &[u8]| Headers::parse(packet, Layer::Network, None, Some(EtherType::IPV6));
        let whole = parse(&packet);
        assert_eq!(whole.dst.and_then(|dst| dst.port), Some(53));
        for len in 40..packet.len() {
            // A buffer of this very length, for a sanitizer to see what is read behind it.
            let cut: Box<[u8]> = packet[..len].into();
            let headers = parse(&cut);
            assert!(headers.src.is_some() && headers.dst.is_some(), "{len}");
            let transport = (len >= 56).then_some(IpProtocol::UDP);
            assert_eq!(headers.transport, transport, "{len}");
        }
    }

    #[test]
    fn what_seems_an_extension_in_a_later_fragment_is_none() {
        // A fragment header, then destination options that say TCP.
        let mut packet = vec![0x60, 0, 0, 0, 0, 24, 44, 64];
        packet.extend_from_slice(&[0xfd; 32]);
        packet.extend_from_slice(&[60, 0, 0, 8, 0, 0, 0, 7]);
        packet.extend_from_slice(&[6, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend_from_slice(&[3, 232, 0, 53, 0, 8, 0, 0]);
        let parse =
            |packet: &[u8]| Headers::parse(packet, Layer::Network, None, Some(EtherType::IPV6));
        let headers = parse(&packet);
        assert_eq!(headers.transport, None);
        assert_eq!(headers.dst.map(|dst| dst.port), Some(None));
        packet[43] = 0;
        assert_eq!(parse(&packet).transport, Some(IpProtocol::TCP));
        assert_eq!(parse(&packet).dst.and_then(|dst| dst.port), Some(53));
    }

    #[test]
    fn cut_and_corrupt_packets_do_no_harm() {
        let frame = udp_over_ipv4();
        for end in 0..frame.len() {
            for layer in [Layer::Ethernet, Layer::Link, Layer::Network, Layer::Data] {
                for offset in [None, Some(0), Some(14), Some(usize::MAX)] {
                    Headers::parse(&frame[..end], layer, offset, Some(EtherType::IPV4));
                }
            }
        }
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut bad = frame.clone();
                bad[at] ^= 1 << bit;
                ethernet(&bad);
            }
        }
    }
}

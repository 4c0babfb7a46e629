//! The packet's headers, field by field, from the bytes that an event has of it.
//!
//! [`DropEvent::headers`](crate::DropEvent::headers) parses when it is asked, and allocates nothing. Bytes that are cut give the headers that are
//! whole; what they do not say is `None`. Nothing is verified: of a packet with a wrong checksum or length, which may be
//! why it was dropped, the fields are told as they are.
//!
//! ```
//! use skbdrop::{EtherType, headers::{Headers, Transport}};
//!
//! let packet = [
//!     0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, // IPv4
//!     0x9c, 0x40, 1, 0xbb, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0, // TCP
//! ];
//! let headers = Headers::of_network(EtherType::IPV4, &packet);
//! let Some(Transport::Tcp(tcp)) = headers.transport else { panic!() };
//! assert!(tcp.flags.syn() && !tcp.flags.ack());
//! assert_eq!(headers.to_string(), "IPv4 192.0.2.1 > 192.0.2.2, ttl 64, id 1, DF, TCP 40000 > 443 [S] seq 7 win 65535");
//! ```

mod display;
mod link;
mod network;
#[cfg(feature = "serde")]
mod serialize;
#[cfg(test)]
mod tests;
mod transport;
mod tunnel;

pub(crate) use display::Message;
pub use link::{Ethernet, MacAddress, VlanTag, VlanTags};
pub use network::{Arp, Extensions, Fragment, Ipv4, Ipv6, Network};
pub use transport::{Icmp, IcmpEcho, IcmpVersion, Ports, Sctp, Tcp, TcpFlags, Transport, Udp};
pub use tunnel::{Gre, Tunnel, TunnelKind};

use crate::{EtherType, Layer, event::slice};
use etherparse::{LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket, LinkSlice};

/// Packets in packets are looked into so deep: a packet could be made of nothing else.
const MAX_DEPTH: u8 = 8;

/// The headers of one packet, from the outermost on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Headers<'a> {
    /// The Ethernet header, if the bytes begin with one.
    pub ethernet: Option<Ethernet>,
    /// VLAN tags in the bytes, the outer one first. One that the device took off is in
    /// [`Metadata::vlan`](crate::Metadata::vlan) instead.
    pub vlans: VlanTags,
    /// The network header.
    pub network: Option<Network<'a>>,
    /// The transport header; not in fragments but the first.
    pub transport: Option<Transport<'a>>,
    /// The header of a tunnel, with the packet that it carries.
    pub tunnel: Option<Tunnel<'a>>,
}

impl<'a> Headers<'a> {
    /// Of bytes that begin with an Ethernet header.
    #[must_use]
    pub fn of_ethernet(bytes: &'a [u8]) -> Self {
        Self::parse(bytes, Layer::Ethernet, None, None)
    }

    /// Of bytes that begin with the network header that `protocol` names.
    #[must_use]
    pub fn of_network(protocol: EtherType, bytes: &'a [u8]) -> Self {
        Self::parse(bytes, Layer::Network, None, Some(protocol))
    }

    pub(crate) fn parse(
        bytes: &'a [u8],
        layer: Layer,
        network_offset: Option<usize>,
        protocol: Option<EtherType>,
    ) -> Self {
        slice(bytes, layer, network_offset, protocol)
            .map_or_else(Self::default, |sliced| Self::of(&sliced, 0))
    }

    /// The packet inside, of `protocol`, at this depth.
    fn inner(protocol: EtherType, bytes: &'a [u8], depth: u8) -> Option<Self> {
        if depth > MAX_DEPTH || bytes.is_empty() {
            return None;
        }
        let layer = match protocol {
            tunnel::ETHERNET => Layer::Ethernet,
            _ => Layer::Network,
        };
        let sliced = slice(bytes, layer, None, Some(protocol))?;
        let headers = Self::of(&sliced, depth);
        (headers.ethernet.is_some() || headers.network.is_some()).then_some(headers)
    }

    fn of(sliced: &LaxSlicedPacket<'a>, depth: u8) -> Self {
        let mut headers = Self::default();
        let mut protocol = match &sliced.link {
            Some(LinkSlice::Ethernet2(ethernet)) => {
                headers.ethernet = Some(Ethernet::of(ethernet));
                Some(EtherType(ethernet.ether_type().0))
            }
            Some(LinkSlice::EtherPayload(payload)) => Some(EtherType(payload.ether_type.0)),
            _ => None,
        };
        for extension in &sliced.link_exts {
            match extension {
                LaxLinkExtSlice::Vlan(tag) => {
                    headers.vlans.push(VlanTag::of(protocol, tag));
                    protocol = Some(EtherType(tag.ether_type().0));
                }
                // Whatever follows, possibly encrypted.
                LaxLinkExtSlice::Macsec(_) => protocol = None,
            }
        }
        let (network, payload) = match &sliced.net {
            Some(LaxNetSlice::Arp(arp)) => (Network::Arp(Arp::of(arp)), None),
            Some(LaxNetSlice::Ipv4(ip)) => {
                let header = Ipv4::of(&ip.header());
                (Network::Ipv4(header), Some((header.fragment, ip.payload())))
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let header = Ipv6::of(&ip.header(), ip.extensions());
                (Network::Ipv6(header), Some((header.fragment, ip.payload())))
            }
            None => return headers,
        };
        headers.network = Some(network);
        if let Some((fragment, payload)) = payload
            && fragment.is_none_or(|fragment| fragment.offset == 0)
        {
            let protocol = payload.ip_number;
            headers.transport = Transport::of(protocol, payload.payload, depth);
            headers.tunnel =
                Tunnel::of(protocol, headers.transport.as_ref(), payload.payload, depth);
        }
        headers
    }
}

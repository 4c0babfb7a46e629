//! TCP, UDP, ICMP, SCTP.

use super::Headers;
use crate::{EtherType, IpProtocol};
use etherparse::{IpNumber, TcpSlice, UdpHeaderSlice, icmpv4, icmpv6};

/// Transport headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum Transport<'a> {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp(Udp),
    /// ICMP, for IPv4 or IPv6.
    Icmp(Icmp<'a>),
    /// SCTP.
    Sctp(Sctp),
    /// The ports alone: of a TCP header that is cut or malformed, of DCCP, of UDP-Lite.
    Ports(Ports),
}

/// A TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Tcp {
    /// Port of the sender.
    pub source: u16,
    /// Port of the receiver.
    pub destination: u16,
    /// Sequence number, as it is in the header.
    pub sequence: u32,
    /// Acknowledgement number, as it is in the header; it counts with [`TcpFlags::ack`].
    pub acknowledgement: u32,
    /// SYN, ACK and the others.
    pub flags: TcpFlags,
    /// Window, not scaled.
    pub window: u16,
    /// Length of the header, bytes: 20, and more with options.
    pub header_length: u8,
    /// Checksum, as it is. Where a device is to compute it, it is not yet.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
}

/// The flags of a TCP header: byte 13, and NS.
///
/// `Display` is as tcpdump writes them: `S` SYN, `F` FIN, `R` RST, `P` PSH, `.` ACK, `U` URG, `E` ECE, `W` CWR, `e` NS;
/// `none` where none is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u16);

/// A UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Udp {
    /// Port of the sender.
    pub source: u16,
    /// Port of the receiver.
    pub destination: u16,
    /// Length that the header says: header and payload, bytes.
    pub length: u16,
    /// Checksum, as it is. Where a device is to compute it, it is not yet.
    pub checksum: u16,
}

/// An SCTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Sctp {
    /// Port of the sender.
    pub source: u16,
    /// Port of the receiver.
    pub destination: u16,
    /// Verification tag.
    pub verification_tag: u32,
    /// Kind of the first chunk, for example 1 for INIT.
    pub first_chunk: Option<u8>,
}

/// The ports of a transport header of which no more is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ports {
    /// Which transport protocol it is.
    pub protocol: IpProtocol,
    /// Port of the sender.
    pub source: u16,
    /// Port of the receiver.
    pub destination: u16,
}

/// An ICMP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Icmp<'a> {
    /// Whose messages these are.
    pub version: IcmpVersion,
    /// What it says. The numbers are other ones in IPv4 and IPv6.
    pub kind: u8,
    /// What it says, in detail.
    pub code: u8,
    /// Of an echo request or reply.
    pub echo: Option<IcmpEcho>,
    /// Largest packet that passes, of "fragmentation needed" and "packet too big".
    pub mtu: Option<u32>,
    pub(super) quote: &'a [u8],
    pub(super) depth: u8,
}

/// Which ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[allow(clippy::exhaustive_enums)] // there will be no third IP
pub enum IcmpVersion {
    /// ICMP of IPv4.
    V4,
    /// ICMP of IPv6.
    V6,
}

/// What tells an echo request's reply from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct IcmpEcho {
    /// Which sender.
    pub id: u16,
    /// Which of its requests.
    pub sequence: u16,
}

impl<'a> Transport<'a> {
    pub(super) fn of(protocol: IpNumber, bytes: &'a [u8], depth: u8) -> Option<Self> {
        let whole = match protocol {
            IpNumber::TCP => Tcp::of(bytes).map(Self::Tcp),
            IpNumber::UDP => Udp::of(bytes).map(Self::Udp),
            IpNumber::SCTP => Sctp::of(bytes).map(Self::Sctp),
            IpNumber::ICMP => Icmp::of(IcmpVersion::V4, bytes, depth).map(Self::Icmp),
            IpNumber::IPV6_ICMP => Icmp::of(IcmpVersion::V6, bytes, depth).map(Self::Icmp),
            _ => None,
        };
        whole.or_else(|| Ports::of(IpProtocol(protocol.0), bytes).map(Self::Ports))
    }

    /// Port of the sender and of the receiver, of protocols that have ports.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self {
            Self::Tcp(header) => Some((header.source, header.destination)),
            Self::Udp(header) => Some((header.source, header.destination)),
            Self::Sctp(header) => Some((header.source, header.destination)),
            Self::Ports(ports) => Some((ports.source, ports.destination)),
            Self::Icmp(_) => None,
        }
    }
}

impl Tcp {
    fn of(bytes: &[u8]) -> Option<Self> {
        let header = TcpSlice::from_slice(bytes).ok()?;
        Some(Self {
            source: header.source_port(),
            destination: header.destination_port(),
            sequence: header.sequence_number(),
            acknowledgement: header.acknowledgment_number(),
            flags: TcpFlags(u16::from_be_bytes([bytes[12] & 1, bytes[13]])),
            window: header.window_size(),
            header_length: header.data_offset() * 4,
            checksum: header.checksum(),
            urgent: header.urgent_pointer(),
        })
    }
}

impl TcpFlags {
    /// Bits by the letter that tcpdump gives them.
    pub(super) const LETTERS: [(u16, char); 9] = [
        (1 << 1, 'S'),
        (1 << 0, 'F'),
        (1 << 2, 'R'),
        (1 << 3, 'P'),
        (1 << 4, '.'),
        (1 << 5, 'U'),
        (1 << 6, 'E'),
        (1 << 7, 'W'),
        (1 << 8, 'e'),
    ];

    /// The sender has no more data.
    #[must_use]
    pub fn fin(self) -> bool {
        self.0 & 1 << 0 != 0
    }

    /// Opens a connection.
    #[must_use]
    pub fn syn(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// Ends a connection at once.
    #[must_use]
    pub fn rst(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// To be handed on without delay.
    #[must_use]
    pub fn psh(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// The acknowledgement number counts.
    #[must_use]
    pub fn ack(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// The urgent pointer counts.
    #[must_use]
    pub fn urg(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// The receiver saw congestion.
    #[must_use]
    pub fn ece(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// The sender has slowed down.
    #[must_use]
    pub fn cwr(self) -> bool {
        self.0 & 1 << 7 != 0
    }
}

impl Udp {
    fn of(bytes: &[u8]) -> Option<Self> {
        let header = UdpHeaderSlice::from_slice(bytes).ok()?;
        Some(Self {
            source: header.source_port(),
            destination: header.destination_port(),
            length: header.length(),
            checksum: header.checksum(),
        })
    }
}

impl Sctp {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (header, chunks) = bytes.split_first_chunk::<12>()?;
        let [a, b, c, d, t, u, v, w, ..] = *header;
        Some(Self {
            source: u16::from_be_bytes([a, b]),
            destination: u16::from_be_bytes([c, d]),
            verification_tag: u32::from_be_bytes([t, u, v, w]),
            first_chunk: chunks.first().copied(),
        })
    }
}

impl Ports {
    fn of(protocol: IpProtocol, bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, d, ..] = bytes else {
            return None;
        };
        protocol.has_ports().then_some(Self {
            protocol,
            source: u16::from_be_bytes([a, b]),
            destination: u16::from_be_bytes([c, d]),
        })
    }
}

impl<'a> Icmp<'a> {
    fn of(version: IcmpVersion, bytes: &'a [u8], depth: u8) -> Option<Self> {
        let (&[kind, code, _, _, a, b, c, d], rest) = bytes.split_first_chunk::<8>()?;
        let (is_echo, is_error, tells_mtu) = match version {
            IcmpVersion::V4 => (
                matches!(kind, icmpv4::TYPE_ECHO_REQUEST | icmpv4::TYPE_ECHO_REPLY),
                matches!(
                    kind,
                    icmpv4::TYPE_DEST_UNREACH
                        | icmpv4::TYPE_SOURCE_QUENCH
                        | icmpv4::TYPE_REDIRECT
                        | icmpv4::TYPE_TIME_EXCEEDED
                        | icmpv4::TYPE_PARAMETER_PROBLEM
                ),
                kind == icmpv4::TYPE_DEST_UNREACH && code == icmpv4::CODE_DST_UNREACH_NEED_FRAG,
            ),
            IcmpVersion::V6 => (
                matches!(kind, icmpv6::TYPE_ECHO_REQUEST | icmpv6::TYPE_ECHO_REPLY),
                // All below 128 are errors.
                kind < 128,
                kind == icmpv6::TYPE_PACKET_TOO_BIG,
            ),
        };
        let mtu = match version {
            IcmpVersion::V4 => u16::from_be_bytes([c, d]).into(),
            IcmpVersion::V6 => u32::from_be_bytes([a, b, c, d]),
        };
        Some(Self {
            version,
            kind,
            code,
            echo: is_echo.then_some(IcmpEcho {
                id: u16::from_be_bytes([a, b]),
                sequence: u16::from_be_bytes([c, d]),
            }),
            mtu: tells_mtu.then_some(mtu),
            quote: if is_error { rest } else { &[] },
            depth,
        })
    }

    /// The packet that an error is about, as far as it is quoted: mostly its addresses and ports.
    #[must_use]
    pub fn quoted(&self) -> Option<Headers<'a>> {
        let protocol = match self.version {
            IcmpVersion::V4 => EtherType::IPV4,
            IcmpVersion::V6 => EtherType::IPV6,
        };
        Headers::inner(protocol, self.quote, self.depth + 1)
    }
}

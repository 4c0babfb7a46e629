//! Headers of the packets that most are: IP without options, extensions and fragments, in Ethernet or nothing.

use super::{EtherType, Headers, IpProtocol, Layer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ETHERNET: usize = 14;
/// Where the EtherType is in an Ethernet header.
const ETHERTYPE: usize = 12;
/// IPv4's header without options, its version and length.
const IPV4: (usize, u8) = (20, 0x45);
const IPV6: usize = 40;
/// Protocols of which none is an extension of IP.
const PLAIN: [IpProtocol; 5] = [
    IpProtocol::TCP,
    IpProtocol::UDP,
    IpProtocol::ICMP,
    IpProtocol::ICMPV6,
    IpProtocol::SCTP,
];

/// What [`Headers::parse`] gives, or `None` where that takes a closer look. For a flood of drops: the parser crate's way, which
/// knows all headers, costs as much as all else that makes an event of a record.
pub(super) fn headers(
    bytes: &[u8],
    layer: Layer,
    network_offset: Option<usize>,
    protocol: Option<EtherType>,
) -> Option<Headers> {
    let (protocol, packet) = match layer {
        Layer::Ethernet => {
            let (header, packet) = bytes.split_first_chunk::<ETHERNET>()?;
            let number = u16::from_be_bytes([header[ETHERTYPE], header[ETHERTYPE + 1]]);
            (EtherType(number), packet)
        }
        Layer::Link => (protocol?, bytes.get(network_offset?..)?),
        Layer::Network => (protocol?, bytes),
        Layer::Data => return None,
    };
    match protocol {
        EtherType::IPV4 => ipv4(packet),
        EtherType::IPV6 => ipv6(packet),
        _ => None,
    }
}

fn ipv4(packet: &[u8]) -> Option<Headers> {
    let (header, rest) = packet.split_first_chunk::<{ IPV4.0 }>()?;
    let [
        version,
        _,
        length @ ..,
        _,
        _,
        fragment_high,
        fragment_low,
        _,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = *header;
    let is_fragment = fragment_high & 0x3f != 0 || fragment_low != 0;
    if version != IPV4.1 || is_fragment {
        return None;
    }
    // A length that cannot be is none.
    let length = usize::from(u16::from_be_bytes(length)).checked_sub(header.len());
    let payload = length.and_then(|length| rest.get(..length)).unwrap_or(rest);
    let (src, dst) = (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3));
    of(src.into(), dst.into(), protocol, payload)
}

fn ipv6(packet: &[u8]) -> Option<Headers> {
    let (header, rest) = packet.split_first_chunk::<IPV6>()?;
    let (front, addresses) = header.split_first_chunk::<8>()?;
    let (addresses, _) = addresses.as_chunks::<16>();
    let ([version, _, _, _, length @ .., protocol, _], [src, dst]) = (*front, addresses) else {
        return None;
    };
    if version >> 4 != 6 {
        return None;
    }
    // None is that of a jumbogram, and one that cannot be is none.
    let length = usize::from(u16::from_be_bytes(length));
    let payload = match rest.get(..length) {
        Some(payload) if length != 0 => payload,
        _ => rest,
    };
    of(
        Ipv6Addr::from(*src).into(),
        Ipv6Addr::from(*dst).into(),
        protocol,
        payload,
    )
}

fn of(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Option<Headers> {
    let protocol = IpProtocol(protocol);
    if !PLAIN.contains(&protocol) {
        return None;
    }
    Some(Headers::of_ends(src, dst, Some(protocol), payload, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    /// Frames of TCP and UDP over IPv4 and IPv6.
    fn frames() -> Vec<Vec<u8>> {
        let ethernet = || PacketBuilder::ethernet2([1; 6], [2; 6]);
        let v4 = || ethernet().ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
        let v6 = || ethernet().ipv6([0xfd; 16], [0xfe; 16], 64);
        let payload = [7; 9];
        let mut frames = vec![Vec::new(); 4];
        v4().udp(1000, 53)
            .write(&mut frames[0], &payload)
            .expect("memory");
        v4().tcp(1, 443, 0, 0)
            .write(&mut frames[1], &payload)
            .expect("memory");
        v6().udp(1000, 53)
            .write(&mut frames[2], &payload)
            .expect("memory");
        v6().tcp(1, 443, 0, 0)
            .write(&mut frames[3], &payload)
            .expect("memory");
        frames
    }

    #[test]
    fn they_are_what_the_closer_look_gives() {
        let layers = [Layer::Ethernet, Layer::Link, Layer::Network, Layer::Data];
        let protocols = [
            None,
            Some(EtherType::IPV4),
            Some(EtherType::IPV6),
            Some(EtherType::ARP),
        ];
        let (mut plain, mut others) = (0, 0);
        let mut compare = |bytes: &[u8], layer, offset, protocol| {
            let closer = Headers::parse_any(bytes, layer, offset, protocol);
            match headers(bytes, layer, offset, protocol) {
                Some(headers) => {
                    plain += 1;
                    assert_eq!(
                        headers, closer,
                        "{layer:?} {offset:?} {protocol:?} {bytes:02x?}"
                    );
                }
                None => others += 1,
            }
        };
        for frame in frames() {
            for layer in layers {
                for protocol in protocols {
                    for offset in [None, Some(0), Some(ETHERNET), Some(1000)] {
                        compare(&frame, layer, offset, protocol);
                        compare(&frame[ETHERNET..], layer, offset, protocol);
                    }
                }
            }
            // Cut anywhere, and with each byte of the headers each value.
            for end in 0..frame.len() {
                compare(&frame[..end], Layer::Ethernet, None, None);
            }
            for at in ETHERTYPE..frame.len().min(ETHERNET + IPV6 + 4) {
                let mut frame = frame.clone();
                for value in 0..=u8::MAX {
                    frame[at] = value;
                    compare(&frame, Layer::Ethernet, None, None);
                    compare(&frame[..frame.len() - 3], Layer::Ethernet, None, None);
                }
            }
        }
        assert!(plain > 10_000 && others > 1_000, "{plain}, {others}");
    }
}

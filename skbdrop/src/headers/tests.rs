use super::*;
use crate::IpProtocol;
use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};

const SRC: [u8; 4] = [192, 0, 2, 1];
const DST: [u8; 4] = [192, 0, 2, 2];
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

fn ethernet() -> PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2(MACS.0, MACS.1)
}

/// The bytes of what a builder builds.
macro_rules! bytes {
    ($builder:expr, $payload:expr) => {{
        let mut bytes = Vec::new();
        let written = $builder.write(&mut bytes, $payload);
        written.expect("writing to memory");
        bytes
    }};
}

/// An IPv4 header of 20 bytes before `payload`.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let mut bytes = vec![
        0x45, 0, length[0], length[1], 0, 9, 0, 0, 64, protocol, 0, 0,
    ];
    bytes.extend_from_slice(&SRC);
    bytes.extend_from_slice(&DST);
    bytes.extend_from_slice(payload);
    bytes
}

fn tcp_syn() -> Vec<u8> {
    let mut header = TcpHeader::new(40000, 443, 7, 1024);
    header.syn = true;
    header.ece = true;
    header.cwr = true;
    bytes!(ethernet().ipv4(SRC, DST, 63).tcp_header(header), b"payload")
}

fn inner(headers: &Headers<'_>) -> String {
    let inner = headers.tunnel.and_then(|tunnel| tunnel.inner());
    inner.expect("a packet in the tunnel").to_string()
}

#[test]
fn tcp_over_ipv4() {
    let packet = tcp_syn();
    let headers = Headers::of_ethernet(&packet);
    let ethernet = headers.ethernet.expect("an Ethernet header");
    assert_eq!(ethernet.source, MacAddress(MACS.0));
    assert_eq!(ethernet.destination.to_string(), "02:00:00:00:00:02");
    let Some(Network::Ipv4(ip)) = headers.network else {
        panic!("{headers:?}");
    };
    assert_eq!((ip.ttl, ip.fragment, ip.header_length), (63, None, 20));
    assert_eq!(ip.total_length, 47);
    let Some(Transport::Tcp(tcp)) = headers.transport else {
        panic!("{headers:?}");
    };
    assert_eq!((tcp.source, tcp.destination), (40000, 443));
    assert_eq!((tcp.sequence, tcp.window, tcp.header_length), (7, 1024, 20));
    assert!(tcp.flags.syn() && tcp.flags.ece() && tcp.flags.cwr());
    assert!(!tcp.flags.ack() && !tcp.flags.rst() && !tcp.flags.fin());
    assert_eq!(tcp.flags.to_string(), "SEW");
    assert_eq!(
        headers.to_string(),
        "02:00:00:00:00:01 > 02:00:00:00:00:02, IPv4 192.0.2.1 > 192.0.2.2, ttl 63, id 0, DF, \
         TCP 40000 > 443 [SEW] seq 7 win 1024"
    );
}

#[test]
fn a_cut_tcp_header_leaves_the_ports() {
    let packet = tcp_syn();
    let headers = Headers::of_ethernet(&packet[..14 + 20 + 8]);
    let Some(Transport::Ports(ports)) = headers.transport else {
        panic!("{headers:?}");
    };
    assert_eq!(ports.protocol, IpProtocol::TCP);
    assert_eq!((ports.source, ports.destination), (40000, 443));
    assert_eq!(Headers::of_ethernet(&packet[..13]), Headers::default());
}

#[test]
fn two_vlan_tags() {
    let builder = ethernet().double_vlan(
        300u16.try_into().expect("a VLAN"),
        5u16.try_into().expect("a VLAN"),
    );
    let mut packet = bytes!(builder.ipv6([0xfd; 16], [0xfe; 16], 7).udp(1, 2), b"x");
    packet[14] |= 0xb0; // priority 5 and DEI
    let headers = Headers::of_ethernet(&packet);
    let [outer, inner] = headers.vlans[..] else {
        panic!("{headers:?}");
    };
    assert_eq!(outer.protocol, Some(EtherType::QINQ));
    assert_eq!((outer.id, outer.priority), (300, 5));
    assert!(outer.drop_eligible && !inner.drop_eligible);
    assert_eq!(inner.protocol, Some(EtherType::VLAN));
    assert_eq!((inner.id, inner.priority), (5, 0));
    let network = headers.network.expect("IPv6");
    assert_eq!(network.ttl(), Some(7));
    assert_eq!(headers.transport.and_then(|it| it.ports()), Some((1, 2)));
    assert!(
        headers
            .to_string()
            .contains("service VLAN 300 priority 5 DEI, VLAN 5, IPv6 fdfd:")
    );
}

#[test]
fn arp_asks_and_answers() {
    let mut packet = [0xff; 6].to_vec();
    packet.extend_from_slice(&MACS.0);
    packet.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    packet.extend_from_slice(&MACS.0);
    packet.extend_from_slice(&SRC);
    packet.extend_from_slice(&[0; 6]);
    packet.extend_from_slice(&DST);
    let text = Headers::of_ethernet(&packet).to_string();
    assert!(
        text.ends_with("ARP who has 192.0.2.2, asks 192.0.2.1"),
        "{text}"
    );
    packet[21] = 2;
    let headers = Headers::of_ethernet(&packet);
    assert!(
        headers
            .to_string()
            .ends_with("ARP 192.0.2.1 is at 02:00:00:00:00:01")
    );
    let ethernet = headers.ethernet.expect("an Ethernet header");
    assert_eq!(ethernet.destination, MacAddress::BROADCAST);
    assert!(ethernet.destination.is_multicast() && !ethernet.source.is_multicast());
}

#[test]
fn echo_and_errors_of_icmp() {
    let echo = ipv4(1, &[8, 0, 0, 0, 0x12, 0x34, 0, 9]);
    let headers = Headers::of_network(EtherType::IPV4, &echo);
    let Some(Transport::Icmp(icmp)) = headers.transport else {
        panic!("{headers:?}");
    };
    let seen = icmp.echo.map(|echo| (echo.id, echo.sequence));
    assert_eq!(seen, Some((0x1234, 9)));
    assert_eq!(icmp.quoted(), None);
    assert_eq!(icmp.to_string(), "ICMP echo request id 4660 seq 9");

    // "Fragmentation needed" with the packet's first 28 bytes, as routers send it.
    let mut error = vec![3, 4, 0, 0, 0, 0, 5, 0xdc];
    error.extend_from_slice(&tcp_syn()[14..14 + 28]);
    let error = ipv4(1, &error);
    let headers = Headers::of_network(EtherType::IPV4, &error);
    let Some(Transport::Icmp(icmp)) = headers.transport else {
        panic!("{headers:?}");
    };
    assert_eq!((icmp.kind, icmp.code, icmp.mtu), (3, 4, Some(1500)));
    let quoted = icmp.quoted().expect("a quoted packet");
    assert_eq!(
        quoted.transport.and_then(|it| it.ports()),
        Some((40000, 443))
    );
    assert!(
        headers
            .to_string()
            .contains("ICMP unreachable code 4 mtu 1500 about (IPv4 192.0.2.1 > 192.0.2.2")
    );

    let builder = PacketBuilder::ipv6([1; 16], [2; 16], 255).icmpv6_echo_request(3, 4);
    let packet = bytes!(builder, &[]);
    let headers = Headers::of_network(EtherType::IPV6, &packet);
    assert!(
        headers
            .to_string()
            .ends_with("ICMPv6 echo request id 3 seq 4")
    );
}

#[test]
fn sctp_and_ports_alone() {
    let sctp = ipv4(132, &[0, 7, 0, 9, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 1, 0]);
    let headers = Headers::of_network(EtherType::IPV4, &sctp);
    let Some(Transport::Sctp(sctp)) = headers.transport else {
        panic!("{headers:?}");
    };
    assert_eq!((sctp.source, sctp.destination), (7, 9));
    assert_eq!(
        (sctp.verification_tag, sctp.first_chunk),
        (0xdead_beef, Some(1))
    );
    let dccp = ipv4(33, &[0, 7, 0, 9, 0, 0]);
    let headers = Headers::of_network(EtherType::IPV4, &dccp);
    assert!(headers.to_string().ends_with("DCCP 7 > 9"));
}

#[test]
fn fragments() {
    let mut first = ipv4(17, &[0, 7, 0, 53, 0, 8, 0, 0]);
    first[6] = 0x20;
    let headers = Headers::of_network(EtherType::IPV4, &first);
    let fragment = headers.network.and_then(|network| network.fragment());
    let fragment = fragment.expect("a fragment");
    assert_eq!((fragment.id, fragment.offset, fragment.more), (9, 0, true));
    assert_eq!(headers.transport.and_then(|it| it.ports()), Some((7, 53)));
    first[7] = 2;
    let headers = Headers::of_network(EtherType::IPV4, &first);
    assert_eq!(headers.transport, None);
    assert!(headers.to_string().contains("fragment at 16+"));

    let mut v6 = vec![0x60, 0, 0, 0, 0, 24, 0, 64];
    v6.extend_from_slice(&[0xfd; 32]);
    v6.extend_from_slice(&[44, 0, 1, 4, 0, 0, 0, 0]); // hop-by-hop with padding
    v6.extend_from_slice(&[17, 0, 0, 1, 0, 0, 0, 7]); // a fragment at 0
    v6.extend_from_slice(&[0, 7, 0, 53, 0, 8, 0, 0]);
    let headers = Headers::of_network(EtherType::IPV6, &v6);
    let Some(Network::Ipv6(ip)) = headers.network else {
        panic!("{headers:?}");
    };
    let kinds: Vec<u8> = ip.extensions.map(|(kind, _)| kind.0).collect();
    assert_eq!(kinds, [0, 44]);
    let fragment = ip.fragment.expect("a fragment");
    assert_eq!((fragment.id, fragment.offset, fragment.more), (7, 0, true));
    assert_eq!(headers.transport.and_then(|it| it.ports()), Some((7, 53)));
    v6[51] = 0x10;
    assert_eq!(
        Headers::of_network(EtherType::IPV6, &v6).transport,
        None,
        "a later fragment has no transport header"
    );
}

#[test]
fn tunnels() {
    let inside = tcp_syn();
    for (port, kind) in [(4789, "VXLAN"), (8472, "VXLAN"), (6081, "Geneve")] {
        let mut payload = if kind == "VXLAN" {
            vec![8, 0, 0, 0, 0, 0, 42, 0]
        } else {
            vec![1, 0, 0x65, 0x58, 0, 0, 42, 0, 0, 0, 0, 0]
        };
        payload.extend_from_slice(&inside);
        let packet = bytes!(ethernet().ipv4(SRC, DST, 63).udp(1, port), &payload);
        let headers = Headers::of_ethernet(&packet);
        let text = headers.to_string();
        assert!(text.contains(&format!("{kind} vni 42 (02:00")), "{text}");
        assert_eq!(inner(&headers), Headers::of_ethernet(&inside).to_string());
    }

    let mut gre = vec![0x30, 0, 8, 0, 0, 0, 0, 5, 0, 0, 0, 6];
    gre.extend_from_slice(&inside[14..]);
    let packet = ipv4(47, &gre);
    let headers = Headers::of_network(EtherType::IPV4, &packet);
    assert!(headers.to_string().contains("GRE key 0x5 seq 6 (IPv4"));
    assert!(inner(&headers).ends_with("[SEW] seq 7 win 1024"));

    let packet = ipv4(4, &inside[14..]);
    let headers = Headers::of_network(EtherType::IPV4, &packet);
    assert!(inner(&headers).ends_with("[SEW] seq 7 win 1024"));

    // Another service on the port, and no GRE of version 0.
    let packet = bytes!(ethernet().ipv4(SRC, DST, 63).udp(1, 4789), &[0; 60]);
    assert_eq!(Headers::of_ethernet(&packet).tunnel, None);
    let packet = ipv4(47, &[0x30, 1, 0x88, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Headers::of_network(EtherType::IPV4, &packet).tunnel, None);
}

#[test]
fn packets_in_packets_end_somewhere() {
    let mut packet = ipv4(4, &[]);
    for _ in 0..2000 {
        packet = ipv4(4, &packet);
        if packet.len() > 60_000 {
            break;
        }
    }
    let headers = Headers::of_network(EtherType::IPV4, &packet);
    assert_eq!(headers.to_string().matches("IP in IP").count(), 9);
    #[cfg(feature = "replay")]
    serde_json::to_string(&headers).expect("it serialises");
}

#[test]
fn cut_and_corrupt_packets_do_no_harm() {
    let inside = tcp_syn();
    let mut vxlan = vec![8, 0, 0, 0, 0, 0, 42, 0];
    vxlan.extend_from_slice(&inside);
    let mut error = vec![3, 4, 0, 0, 0, 0, 5, 0xdc];
    error.extend_from_slice(&inside[14..]);
    let mut v6 = vec![0x60, 0, 0, 0, 0, 24, 0, 64];
    v6.extend_from_slice(&[0xfd; 32]);
    v6.extend_from_slice(&[44, 0, 1, 4, 0, 0, 0, 0, 51, 0, 0, 1, 0, 0, 0, 7]);
    v6.extend_from_slice(&[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 53, 0, 8]);
    let packets = [
        (Layer::Ethernet, inside.clone()),
        (
            Layer::Ethernet,
            bytes!(ethernet().ipv4(SRC, DST, 63).udp(1, 4789), &vxlan),
        ),
        (Layer::Network, ipv4(1, &error)),
        (Layer::Network, v6),
    ];
    for (layer, packet) in packets {
        let read = |bytes: &[u8]| {
            for protocol in [EtherType::IPV4, EtherType::IPV6, EtherType::ARP] {
                let headers = Headers::parse(bytes, layer, Some(14), Some(protocol));
                let _ = format!("{headers} {headers:?}");
                #[cfg(feature = "replay")]
                serde_json::to_string(&headers).expect("it serialises");
            }
        };
        for end in 0..packet.len() {
            read(&packet[..end]);
        }
        for at in 0..packet.len() {
            for bit in 0..8 {
                let mut bad = packet.clone();
                bad[at] ^= 1 << bit;
                read(&bad);
            }
        }
    }
}

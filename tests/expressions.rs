//! tcpdump expressions: our verdict is libpcap's, on packets of all kinds.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{
    Filter, Layer, Monitor,
    backend::{Record, Time},
};
use std::{collections::HashSet, sync::Arc};
use support::{
    libpcap::{Classic, LinkType},
    played::Played,
    random::{Random, ethernet, network},
};

/// Expressions of every form that is documented.
const EXPRESSIONS: &[&str] = &[
    "",
    "ip",
    "ip6",
    "arp",
    "rarp",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "igmp",
    "igrp",
    "pim",
    "ah",
    "esp",
    "vrrp",
    "host 10.0.0.1",
    "src host 10.0.0.1",
    "dst 10.0.1.2",
    "src or dst host 10.0.0.3",
    "src and dst 10.0.0.1",
    "ip host 10.0.0.1",
    "arp host 10.0.0.1",
    "arp src 10.0.0.2",
    "rarp host 10.0.0.1",
    "host fd00::1",
    "host fd00:0:0:1::2",
    "src host fd00::1",
    "ip6 dst host fd00::3",
    "net 10",
    "net 10.0",
    "net 10.0.1",
    "net 10.0.1.0/24",
    "dst net 10.0.1.0 mask 255.255.255.0",
    "host 10.0",
    "src net 10.0.0.2/31",
    "net 0.0.0.0/0",
    "net fd00::/64",
    "net fd00:0:0:1::/64",
    "dst net fd00::/15",
    "net ::/0",
    "port 53",
    "src port 53",
    "dst port 80",
    "src or dst port 80",
    "src and dst port 80",
    "tcp port 80",
    "udp port 53",
    "sctp dst port 9",
    "portrange 22-80",
    "tcp src portrange 22-80",
    "udp dst portrange 80-22",
    "port 53 or 80",
    "port 53 or 80 and 22",
    "port not 53",
    "port (53 or 80)",
    "host 10.0.0.1 or 10.0.0.2",
    "host 10.0.0.1 or fd00::1",
    "tcp port 22 or 80 or udp port 53",
    "not port 53",
    "! udp",
    "not not tcp",
    "udp && port 53 || tcp",
    "udp or tcp and port 53",
    "udp or (tcp and port 53)",
    "not (udp or tcp) and ip",
    "not udp or tcp",
    "proto 17",
    "proto \\tcp",
    "ip proto 6",
    "ip proto \\udp",
    "ip6 proto 58",
    "ip6 proto 44",
    "ip6 proto \\sctp",
    "ether proto 0x0800",
    "ether proto \\ip6",
    "ether proto \\arp",
    "ether host 02:00:00:00:00:01",
    "ether src 02:00:00:00:00:01",
    "ether dst host 02:00:00:00:00:01",
    "ether host 02-00-00-00-00-01",
    "ether src 2-0-0-0-0-1",
    "ether dst 02.00.00.00.00.01",
    "ether host 2.0.0.0.0.1",
    "ether host 0200.0000.0001",
    "ether dst ffff.FFFF.ffff",
    "ether src 020000000001",
    "ether dst ffffffffffff or 01-00-5e-00-00-01",
    "ether broadcast",
    "broadcast",
    "ether multicast",
    "multicast",
    "ip multicast",
    "ip6 multicast",
    "less 64",
    "greater 80",
    "len > 60",
    "len <= 60",
    "len - 14 >= 50",
    "vlan",
    "vlan 100",
    "vlan 100 and udp port 53",
    "vlan and host 10.0.0.1",
    "vlan and vlan 5",
    "not vlan and ip",
    "vlan or ip6 and udp",
    "ether[0] & 1 = 0",
    "ether[12:2] = 0x86dd",
    "ip[0] & 0xf != 5",
    "ip[8] < 65",
    "ip[6:2] & 0x1fff != 0",
    "ip[12:4] = 0x0a000001",
    "ip[2:2] > len",
    "ip6[6] = 17",
    "ip6[40] = 17",
    "arp[6:2] = 1",
    "tcp[13] & 2 != 0",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "tcp[tcpflags] = tcp-syn|tcp-ack",
    "tcp[0:2] = 80 or tcp[2:2] = 80",
    "udp[4:2] > 20",
    "udp[0:2] = udp[2:2]",
    "icmp[icmptype] = icmp-echo",
    "icmp[0] != icmp-unreach and icmp",
    "icmp6[icmp6type] = 128",
    "icmp6[icmp6type] = icmp6-neighborsolicit",
    concat!(
        "icmp6-destinationunreach = 1 and icmp6-packettoobig = 2 and icmp6-timeexceeded = 3 and ",
        "icmp6-parameterproblem = 4 and icmp6-echo = 128 and icmp6-echoreply = 129 and ",
        "icmp6-multicastlistenerquery = 130 and icmp6-multicastlistenerreportv1 = 131 and icmp6-multicastlistenerdone = 132 and ",
        "icmp6-routersolicit = 133 and icmp6-routeradvert = 134 and icmp6-neighborsolicit = 135 and ",
        "icmp6-neighboradvert = 136 and icmp6-redirect = 137 and icmp6-routerrenum = 138 and ",
        "icmp6-nodeinformationquery = 139 and icmp6-nodeinformationresponse = 140 and icmp6-ineighbordiscoverysolicit = 141 and ",
        "icmp6-ineighbordiscoveryadvert = 142 and icmp6-multicastlistenerreportv2 = 143 and icmp6-homeagentdiscoveryrequest = 144 and ",
        "icmp6-homeagentdiscoveryreply = 145 and icmp6-mobileprefixsolicit = 146 and icmp6-mobileprefixadvert = 147 and ",
        "icmp6-certpathsolicit = 148 and icmp6-certpathadvert = 149 and icmp6-multicastrouteradvert = 151 and ",
        "icmp6-multicastroutersolicit = 152 and icmp6-multicastrouterterm = 153 and ",
        "ip6"
    ),
    "sctp[0:2] = 53",
    "ip[(ip[0] & 0xf) * 4 + 2 : 2] = 53",
    "(ip[0] & 0xf) << 2 = 24",
    "ip[0] >> 4 = 4",
    "ip[9] % 5 = 2",
    "ip[8] / 3 + 1 = 22",
    "10 / ip[7] > 1",
    "1 << ip[9] = 0",
    "0xffffffff >> ip[9] > 5",
    "ip[1] ^ 7 = 7",
    "(-ip[8]) < 0xffffffff",
    "ip[9] / 4 % 7 = 2",
    "ip[9] % 4 * 7 = 17",
    "ip[8] * 4 % 7 + 1 > 100",
    "ip[8] % 100 % 33 = 31",
    "ip[9] & 3 ^ 1 = 0",
    "ip[9] ^ 3 & 1 = 16",
    "ip[9] | 3 ^ 1 = 19",
    "ip[9] ^ 3 | 16 = 2",
    "ip[9] + 3 ^ 1 = 19",
    "ip[9] ^ 3 + 1 = 21",
    "ip[9] << 3 ^ 1 = 68",
    "ip[9] ^ 3 ^ 1 = 19",
    "ip[9] % 19 ^ 1 = 17",
    "ip[9] ^ 30 % 16 = 31",
    "ip[8] - ip[9] ^ 3 - ip[1] < 64",
    "(- ip[9] ^ 3 + 1) = 0xffffffeb",
    "10 % ip[7] = 1",
    "10 % ip[7] + 1 > 1",
    "ip[len - 15] = 3",
    "ip[ip[3]] = 1",
    "len = 60 or len = 61",
    "1 = 1 and ip",
    "ip[1] + ip6[1] = 0",
    "(udp port 53) and (not src host 10.0.0.1)",
    "((port 53))",
];

/// Expressions that libpcap takes and we do not, and such that nobody takes.
const REFUSED: &[(&str, &str)] = &[
    ("udp prt 53", "byte 4"),
    ("port", "ends where a port"),
    ("port http", "`http` is not supported"),
    ("host www", "`www` is not supported"),
    ("port 65536", "at most number 65535"),
    ("host 10.0.0.1/8", "only a `net` has a mask"),
    ("net 10.0.0.1/8", "bits set beyond"),
    ("net fd00::1/8", "bits set beyond"),
    ("net 10.0.0.0/33", "at most 32"),
    ("ip port 53", "does not go with the protocol"),
    ("tcp host 10.0.0.1", "does not go with the protocol"),
    ("ip host fd00::1", "does not go with the protocol"),
    ("host 02:00:00:00:00:01", "does not go with the protocol"),
    ("ether", "`ether` stands before"),
    ("ip broadcast", "netmask"),
    ("tcp multicast", "only `ether`, `ip` and `ip6`"),
    ("gateway 10.0.0.1", "`gateway` is not supported"),
    ("ip protochain 6", "`protochain` is not supported"),
    ("mpls", "`mpls` is not supported"),
    ("inbound", "`inbound` is not supported"),
    ("vlan 4096", "at most number 4095"),
    ("ether proto 5", "802.3"),
    ("src proto 5", "no direction"),
    ("ip proto 256", "no such protocol"),
    ("proto tcpp", "a number or one of"),
    ("less x", "a number of bytes"),
    ("tcp[0:3] = 1", "1, 2 or 4 bytes"),
    ("tcp[0", "ends where `]`"),
    ("tcp[0]", "a comparison"),
    ("len", "a comparison"),
    ("1 / 0 = 1", "a division by 0"),
    ("ip[0] % 0 = 1", "a division by 0"),
    ("(port 53", "ends where `)`"),
    ("port 53)", "can be here"),
    ("port 53 port 80", "`port` is not supported"),
    ("and port 53", "`and` is not supported"),
    ("10.0.0.1", "only a primitive"),
    ("port 53 #", "unexpected `#`"),
    ("host 1.2.3.4.5", "no number and no address"),
    ("ether host 01-02-03-04-05", "does not go with the protocol"),
    (
        "ether host 01-02-03-04-05-06-07",
        "does not go with the protocol",
    ),
    ("ether host 102.304.506", "no number and no address"),
    ("ether host 0102-0304-0506", "does not go with the protocol"),
    ("ether host aa-bb-cc-dd-ee-ff-00", "is not supported"),
    ("len > 000000000064", "a number"),
];

/// A packet of at least so many bytes ends behind all that most expressions look at.
const WHOLE: usize = 100;

struct Case {
    layer: Layer,
    protocol: u16,
    packet: Vec<u8>,
    length: u32,
}

/// Packets of both layers, some of them captured in part.
fn cases(count: usize) -> Vec<Case> {
    let mut random = Random::new(5);
    let macs = [
        [2, 0, 0, 0, 0, 1],
        [2, 0, 0, 0, 0, 2],
        [0xff; 6],
        [1, 0, 0x5e, 0, 0, 1],
    ];
    let cases = (0..count).map(|n| {
        let (layer, (protocol, mut packet)) = if n % 2 == 0 {
            let (destination, source) = (random.pick(&macs), random.pick(&macs[..2]));
            (Layer::Ethernet, ethernet(&mut random, destination, source))
        } else {
            // Without a link-layer header libpcap goes by the first byte.
            let packet = network(&mut random).1;
            let protocol = match packet[0] >> 4 {
                4 => 0x0800,
                6 => 0x86dd,
                _ => 0,
            };
            (Layer::Network, (protocol, packet))
        };
        let length = packet.len() as u32;
        if random.one_in(5) {
            let end = random.below(packet.len()) + 1;
            packet.truncate(end);
        }
        Case {
            layer,
            protocol,
            packet,
            length,
        }
    });
    cases.collect()
}

/// The numbers of the packets that a monitor with this filter gives.
fn accepted(filter: Filter, cases: &Arc<Vec<Case>>) -> HashSet<u64> {
    let all = Arc::clone(cases);
    let source = Played::new(cases.len(), move |n, sink| {
        let case = &all[n];
        let mut record = Record::new(Time::Monotonic(n as u64));
        record.skb_address = Some(n as u64);
        record.packet = &case.packet;
        record.layer = case.layer;
        record.protocol = Some(case.protocol).filter(|&protocol| protocol != 0);
        record.original_length = Some(case.length);
        sink(&record);
    });
    let resolver = skbdrop::Resolver::empty();
    let builder = Monitor::builder()
        .source(source)
        .resolver(resolver)
        .symbols(false);
    let mut monitor = builder.filter(filter).build().unwrap();
    let numbers: HashSet<u64> = monitor
        .iter()
        .map(|event| event.unwrap().skb_address.unwrap())
        .collect();
    let stats = monitor.stats().unwrap();
    assert_eq!(stats.received, numbers.len() as u64);
    assert_eq!(stats.received + stats.filtered, cases.len() as u64);
    numbers
}

#[test]
#[ignore = "needs tcpdump: cargo xtask test"]
fn verdicts_are_those_of_libpcap() {
    let cases = Arc::new(cases(4000));
    let mut compared = 0;
    for expression in EXPRESSIONS {
        let ours = accepted(Filter::pcap(expression).unwrap(), &cases);
        let compile = |link, optimise| Classic::compile(expression, link, optimise);
        let refused = |why: &String| why.contains("rejects all packets");
        for optimise in [false, true] {
            let (ethernet, raw) = (
                compile(LinkType::Ethernet, optimise),
                compile(LinkType::Raw, optimise),
            );
            assert!(
                ethernet.is_ok() || ethernet.as_ref().is_err_and(refused),
                "`{expression}`: {ethernet:?}"
            );
            let mut differ = Vec::new();
            for (n, case) in cases.iter().enumerate() {
                // The optimiser has its own order, which shows where a packet ends too early.
                if optimise && case.packet.len() < WHOLE {
                    continue;
                }
                let program = match case.layer {
                    Layer::Ethernet => &ethernet,
                    // There, `ether` is about the network header; ours is about a link-layer header, and there is none.
                    _ if expression.contains("ether[") => continue,
                    _ => &raw,
                };
                let theirs = match program {
                    Ok(program) => program.accepts(&case.packet, case.length),
                    Err(why) if refused(why) => false,
                    // What asks for a link-layer header is refused as a whole.
                    Err(_) => continue,
                };
                compared += 1;
                if theirs != ours.contains(&(n as u64)) {
                    differ.push((n, theirs));
                }
            }
            if let Some((first, theirs)) = differ.first() {
                let case = &cases[*first];
                panic!(
                    "`{expression}` (optimised: {optimise}): {} of {} differ, the first: libpcap says {theirs} of {:?} {:02x?} \
                     of {} bytes",
                    differ.len(),
                    cases.len(),
                    case.layer,
                    case.packet,
                    case.length
                );
            }
        }
    }
    println!(
        "{} expressions, {compared} verdicts, all alike",
        EXPRESSIONS.len()
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    for (expression, part) in REFUSED {
        let error = Filter::pcap(expression).expect_err(expression);
        assert_eq!(error.kind(), skbdrop::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(part), "`{expression}`: {error}");
    }
    let deep = "(".repeat(10_000);
    Filter::pcap(&deep).expect_err("nested too deep");
    Filter::pcap(&"not ".repeat(10_000)).expect_err("nested too deep");
    Filter::pcap(&format!("{}1 = 1", "-".repeat(10_000))).expect_err("nested too deep");
}

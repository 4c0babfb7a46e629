//! Packets in tunnels: the outer and the inner one.

use crate::{drop_on_the_way_out, ebpf, index_of, reason};
use etherparse::PacketBuilder;
use skbdrop::{
    DropEvent,
    headers::{Headers, Transport, TunnelKind},
};
use std::net::UdpSocket;
use support::{
    collect,
    drops::{CLOSED, Lab},
    netns::NetNs,
};

/// The network that the sender is in.
const VNI: u32 = 42;
/// Another.
const OTHER: u32 = 43;
/// An end of the tunnel: its address outside, and the device's inside, of IPv4 and Ethernet.
type End = (&'static str, &'static str, [u8; 6]);
const SENDER: End = ("10.1.0.2", "192.168.42.2", [2, 0, 0, 0, 42, 2]);
const ROUTER: End = ("10.1.0.1", "192.168.42.1", [2, 0, 0, 0, 42, 1]);

/// A VXLAN tunnel between the lab's sender and its router, whose device is `tunnel` at each end.
fn tunnel(vni_of_router: u32) -> Lab {
    let lab = Lab::new();
    for (netns, vni, here, there) in [
        (&lab.sender, VNI, SENDER, ROUTER),
        (&lab.router, vni_of_router, ROUTER, SENDER),
    ] {
        let text = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
        netns.command(&format!(
            "ip link add tunnel address {} type vxlan id {vni} local {} remote {} dstport 4789",
            text(here.2),
            here.0,
            there.0
        ));
        netns.command("ip link set tunnel up");
        netns.command(&format!("ip addr add {}/24 dev tunnel", here.1));
        // Else ARP would be the first in the tunnel.
        netns.command(&format!(
            "ip neigh add {} lladdr {} dev tunnel",
            there.1,
            text(there.2)
        ));
    }
    lab
}

/// Sends a datagram through the tunnel to a port that nothing listens on.
fn send(lab: &Lab) {
    lab.sender.run(|| {
        let socket = UdpSocket::bind((SENDER.1, 0)).unwrap();
        // Where it is dropped on its way out, the sender is told.
        let _ = socket.send_to(b"through", (ROUTER.1, CLOSED));
    });
}

/// Whether these are the headers of that datagram by itself.
fn is_inner(headers: &Headers<'_>) -> bool {
    let ethernet = headers.ethernet.map(|it| (it.source.0, it.destination.0));
    let ports = headers.transport.and_then(|transport| transport.ports());
    ethernet == Some((SENDER.2, ROUTER.2)) && ports.is_some_and(|(_, to)| to == CLOSED)
}

/// Whether the event is of that datagram in the packet that carries it.
fn is_outer(event: &DropEvent) -> bool {
    let headers = event.headers();
    let ends = [(event.src, SENDER.0), (event.dst, ROUTER.0)];
    let is_between = ends
        .iter()
        .all(|(end, address)| end.is_some_and(|end| end.address.to_string() == *address));
    let tunnel = headers
        .tunnel
        .filter(|tunnel| tunnel.kind == TunnelKind::Vxlan { vni: VNI });
    is_between
        && tunnel
            .and_then(|it| it.inner())
            .is_some_and(|inner| is_inner(&inner))
}

#[test]
#[ignore = "needs root to load eBPF, and VXLAN: cargo xtask test"]
fn a_packet_that_came_out_of_a_tunnel() {
    let lab = tunnel(VNI);
    let index = index_of(&lab.router, "tunnel");
    let mut monitor = ebpf();
    send(&lab);
    let event = collect(&mut monitor, 1, |event| is_inner(&event.headers())).remove(0);
    assert_eq!(event.headers().tunnel, None);
    if event.reason.is_some() {
        assert_eq!(reason(&event), Some("NO_SOCKET"), "{event:?}");
    }
    assert_eq!((event.iif, event.ifindex), (Some(index), Some(index)));
    let device = event.device.as_ref().unwrap();
    assert_eq!((device.index, &*device.name), (index, "tunnel"));
    assert_eq!(device.netns, lab.router.inode);
    assert_eq!(event.netns.unwrap().inode, lab.router.inode);
}

#[test]
#[ignore = "needs root to load eBPF, and VXLAN: cargo xtask test"]
fn a_packet_of_a_tunnel_that_is_not_there() {
    let lab = tunnel(OTHER);
    let left = index_of(&lab.router, "left");
    let mut monitor = ebpf();
    send(&lab);
    let event = collect(&mut monitor, 1, is_outer).remove(0);
    let word = "VXLAN_VNI_NOT_FOUND";
    let mut known = monitor.resolver().reasons();
    if known.any(|known| known.name() == Some(word)) {
        assert_eq!(reason(&event), Some(word), "{event:?}");
    }
    assert_eq!(event.iif, Some(left), "{event:?}");
    assert_eq!(&*event.device.as_ref().unwrap().name, "left");
    let line = event.headers().to_string();
    assert!(line.contains("VXLAN vni 42 (02:00:00:00:2a:02"), "{line}");
}

#[test]
#[ignore = "needs root to load eBPF, and VXLAN: cargo xtask test"]
fn a_packet_on_its_way_into_a_tunnel() {
    let lab = tunnel(VNI);
    drop_on_the_way_out(&lab.sender, "udp dport 4789");
    let mut monitor = ebpf();
    send(&lab);
    let event = collect(&mut monitor, 1, is_outer).remove(0);
    if event.reason.is_some() {
        assert_eq!(reason(&event), Some("NETFILTER_DROP"), "{event:?}");
    }
    assert_eq!(event.iif, None);
    assert_eq!(&*event.device.unwrap().name, "left");
    assert_eq!(event.netns.unwrap().inode, lab.sender.inode);
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn packets_in_tunnels() {
    let netns = NetNs::new();
    let mut monitor = ebpf();
    netns.run(|| {
        let mut payload = vec![8, 0, 0, 0, 0, 0, 42, 0];
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6([0xfd; 16], [0xfe; 16], 9)
            .icmpv6_echo_request(3, 4)
            .write(&mut payload, b"inside")
            .unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&payload, ("127.0.0.1", 4789)).unwrap();
    });
    let event = collect(&mut monitor, 1, |event| {
        event.dst.and_then(|dst| dst.port) == Some(4789)
            && event
                .netns
                .as_ref()
                .is_some_and(|it| it.inode == netns.inode)
    })
    .remove(0);
    let headers = event.headers();
    let inner = headers.tunnel.unwrap().inner().unwrap();
    let Some(Transport::Icmp(icmp)) = inner.transport else {
        panic!("{headers:?}");
    };
    assert_eq!(icmp.echo.map(|echo| (echo.id, echo.sequence)), Some((3, 4)));
    let line = headers.to_string();
    assert!(line.contains("VXLAN vni 42 (02:02"), "{line}");
}

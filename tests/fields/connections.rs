//! TCP's connections: who resets one, who is reset, and large segments.

use crate::{USER, as_user, drop_on_the_way_out, ebpf, index_of, passes_receiver, reason};
use etherparse::PacketBuilder;
use rustix::net::sockopt;
use skbdrop::{
    DropEvent, IpProtocol, Monitor, SocketRole, SocketState,
    headers::{Tcp, Transport},
};
use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};
use support::{
    collect,
    drops::{CLOSED, Lab},
    netns::NetNs,
};

/// A sequence number that no window reaches, from one inside.
const FAR: u32 = 1 << 30;

fn tcp(event: &DropEvent) -> Option<Tcp> {
    match event.headers().transport {
        Some(Transport::Tcp(tcp)) => Some(tcp),
        _ => None,
    }
}

/// The next drop of a packet with these ports.
fn dropped(monitor: &mut Monitor, ports: (u16, u16)) -> (DropEvent, Tcp) {
    let is_it =
        |event: &DropEvent| tcp(event).is_some_and(|tcp| (tcp.source, tcp.destination) == ports);
    let event = collect(monitor, 1, is_it).remove(0);
    let tcp = tcp(&event).unwrap();
    (event, tcp)
}

/// A connection from a socket of [`USER`] in the lab's router to one in its sender.
struct Connection {
    near: TcpStream,
    far: TcpStream,
    near_end: SocketAddr,
    far_end: SocketAddr,
}

impl Connection {
    fn new(lab: &Lab) -> Self {
        let listener = lab.sender.run(|| TcpListener::bind("10.1.0.2:0").unwrap());
        let far_end = listener.local_addr().unwrap();
        let near = lab
            .router
            .run(move || as_user(|| TcpStream::connect(far_end).unwrap()));
        let (far, near_end) = listener.accept().unwrap();
        Self {
            near,
            far,
            near_end,
            far_end,
        }
    }

    /// The sequence number that the near end awaits next.
    fn awaited(&self) -> u32 {
        // What a socket that is moved to another machine tells of itself.
        self.set(libc::TCP_REPAIR, 1);
        self.set(libc::TCP_REPAIR_QUEUE, 1);
        let mut value = 0u32;
        let mut len = size_of::<u32>() as libc::socklen_t;
        // SAFETY: the kernel writes no more than `len` bytes into `value`.
        let got = unsafe {
            libc::getsockopt(
                self.near.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_QUEUE_SEQ,
                (&raw mut value).cast(),
                &raw mut len,
            )
        };
        assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
        self.set(libc::TCP_REPAIR, WITHOUT_PROBE);
        value
    }

    fn set(&self, option: i32, value: i32) {
        // SAFETY: the pointer is to a value that outlives the call, with its length.
        let set = unsafe {
            libc::setsockopt(
                self.near.as_raw_fd(),
                libc::IPPROTO_TCP,
                option,
                (&raw const value).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    /// Sends the near end a reset that the far end knows nothing of.
    fn forge_reset(&self, lab: &Lab, sequence: u32) {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(lab.left.mac.0, lab.left.mac.1)
            .ipv4(lab.left.ip.0, lab.left.ip.1, 64)
            .tcp(self.far_end.port(), self.near_end.port(), sequence, 0)
            .rst()
            .write(&mut frame, &[])
            .unwrap();
        lab.send(frame, |_| {});
    }
}

/// `TCP_REPAIR_OFF_NO_WP`: ends the repair, and sends nothing.
const WITHOUT_PROBE: i32 = -1;

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_connection_that_is_refused() {
    let netns = NetNs::new();
    let mut monitor = ebpf();
    netns.run(|| {
        TcpStream::connect(("127.0.0.1", CLOSED)).expect_err("nothing listens");
    });
    let syn = collect(&mut monitor, 1, |event| {
        event.dst.and_then(|dst| dst.port) == Some(CLOSED)
            && event.transport == Some(IpProtocol::TCP)
    })
    .remove(0);
    let Some(Transport::Tcp(tcp)) = syn.headers().transport else {
        panic!("{syn:?}");
    };
    assert!(tcp.flags.syn() && !tcp.flags.ack() && tcp.window > 0);
    assert!(syn.to_string().contains("[S]"), "{syn}");
}

/// The kernel drops a reset that nobody could have sent who saw the connection; of one that fits it is told nothing.
#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn resets_that_do_not_fit_are_told_with_the_connection() {
    let lab = Lab::new();
    let left = index_of(&lab.router, "left");
    let connection = Connection::new(&lab);
    let ports = (connection.far_end.port(), connection.near_end.port());
    let awaited = connection.awaited();
    let mut monitor = ebpf();
    // Before it had reasons for them the kernel freed what TCP dropped without a word (`tcp_drop`).
    let tells_of_tcp = monitor.resolver().reasons().count() > 0;
    for (sequence, word) in [
        (awaited.wrapping_add(1), "TCP_RESET"),
        (awaited.wrapping_add(FAR), "TCP_INVALID_SEQUENCE"),
    ] {
        connection.forge_reset(&lab, sequence);
        if !tells_of_tcp {
            continue;
        }
        let (event, tcp) = dropped(&mut monitor, ports);
        assert!(tcp.flags.rst() && !tcp.flags.ack(), "{tcp:?}");
        assert_eq!(tcp.sequence, sequence);
        assert!(event.to_string().contains("[R]"), "{event}");
        assert_eq!(reason(&event), Some(word), "{event:?}");
        assert_eq!(event.iif, Some(left));
        // TCP has let go of the device by now.
        assert_eq!(event.device, None, "{event:?}");
        if !passes_receiver() {
            assert_eq!((event.socket, event.netns), (None, None));
            continue;
        }
        assert_eq!(event.netns.as_ref().unwrap().inode, lab.router.inode);
        let socket = event.socket.unwrap();
        assert_eq!(socket.role, SocketRole::Receiver);
        assert_eq!(socket.state, Some(SocketState::ESTABLISHED));
        assert_eq!(socket.protocol, Some(IpProtocol::TCP));
        assert_eq!(socket.kind, Some(libc::SOCK_STREAM as u16));
        assert_eq!(socket.uid, Some(USER));
        assert_eq!((socket.local, socket.remote), (event.dst, event.src));
    }

    // Nothing is dropped of this one, but what the far end says to it.
    connection.forge_reset(&lab, awaited);
    let mut far = connection.far;
    far.write_all(b"are you there?").unwrap();
    let (event, tcp) = dropped(&mut monitor, ports);
    assert!(tcp.flags.psh() && tcp.flags.ack(), "{event}");
    if event.reason.is_some() {
        assert_eq!(reason(&event), Some("NO_SOCKET"), "{event:?}");
    }
    assert_eq!((event.socket, event.rx_sk_address), (None, None));
    assert_eq!(event.netns.unwrap().inode, lab.router.inode);
    assert_eq!(&*event.device.unwrap().name, "left");
}

/// Whoever aborts a connection sends a reset; here it does not get out, so that the far end goes on.
#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn resets_on_their_way_out_are_told_with_who_sent_them() {
    let lab = Lab::new();
    drop_on_the_way_out(&lab.router, "tcp flags & rst == rst");
    let Connection {
        near,
        mut far,
        near_end,
        far_end,
    } = Connection::new(&lab);
    let (out, back) = (
        (near_end.port(), far_end.port()),
        (far_end.port(), near_end.port()),
    );
    let mut monitor = ebpf();
    sockopt::set_socket_linger(&near, Some(Duration::ZERO)).unwrap();
    drop(near);
    let (event, tcp) = dropped(&mut monitor, out);
    assert!(tcp.flags.rst() && tcp.flags.ack(), "{event}");
    let socket = event.socket.unwrap();
    assert_eq!(socket.role, SocketRole::Sender);
    assert_eq!(socket.state, Some(SocketState::CLOSE));
    assert_eq!(socket.uid, Some(USER));
    assert_eq!(socket.remote, event.dst);
    // It has given its port back by now.
    assert_eq!(socket.local.unwrap().address, event.src.unwrap().address);
    assert_eq!(event.iif, None);
    assert_eq!(&*event.device.unwrap().name, "left");
    assert_eq!(event.netns.unwrap().inode, lab.router.inode);

    // The far end goes on, and what the kernel answers for nobody has the same fate.
    far.write_all(b"are you there?").unwrap();
    let (event, tcp) = dropped(&mut monitor, out);
    assert!(tcp.flags.rst() && !tcp.flags.ack(), "{event}");
    assert_eq!(event.iif, None);
    let (event, tcp) = dropped(&mut monitor, back);
    assert!(tcp.flags.psh() && tcp.flags.ack(), "{event}");
    assert_eq!(event.socket, None);
}

/// What is to be segmented is dropped as one, and told as that.
#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn large_segments() {
    let netns = NetNs::new();
    let mut monitor = ebpf();
    netns.command("ip link set lo mtu 1500");
    let (listener, mut stream) = netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener, stream)
    });
    let port = listener.local_addr().unwrap().port();
    drop_on_the_way_out(&netns, &format!("tcp dport {port}"));
    // More than fits in one segment.
    stream.write_all(&vec![0; 20_000]).unwrap();
    let event = collect(&mut monitor, 1, |event| {
        event.dst.and_then(|dst| dst.port) == Some(port)
            && event.length.is_some_and(|length| length > 65_483 + 52)
            || event
                .metadata
                .is_some_and(|metadata| metadata.gso.is_some())
    })
    .remove(0);
    let gso = event.metadata.unwrap().gso.unwrap();
    assert!((1000..1500).contains(&gso.size), "{gso:?}");
    assert!(gso.segments > 1 && gso.kind != 0, "{gso:?}");
    let socket = event.socket.unwrap();
    assert_eq!(socket.role, SocketRole::Sender);
    assert_eq!(socket.protocol, Some(IpProtocol::TCP));
    assert_eq!(socket.state, Some(SocketState::ESTABLISHED));
    assert_eq!(socket.kind, Some(libc::SOCK_STREAM as u16));
}

//! Drops on demand, each of a kind whose reason is known.

use crate::{
    frames::{self, IP, TRANSPORT, Way},
    netns::NetNs,
};
use etherparse::PacketBuilder;
use rustix::thread::{CpuSet, sched_setaffinity};
use skbdrop::DropEvent;
use std::{
    net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket},
    time::Duration,
};

/// A port that nothing listens on in a namespace of our own.
pub const CLOSED: u16 = 9;
/// The port that the nftables rule drops.
const FILTERED: u16 = 7;

/// ARP has an operation of this number, which Linux knows nothing of (RARP's).
const NO_OPERATION: u16 = 3;

/// A drop that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What was done.
    pub kind: &'static str,
    /// The reason that current kernels give; older ones may have a coarser one.
    pub reason: &'static str,
    /// Namespace in which it is dropped.
    pub netns: u32,
    /// EtherType.
    pub protocol: u16,
    /// How many drops it makes.
    pub count: usize,
}

/// A sender, a router and a network behind it, each in a namespace of its own.
pub struct Lab {
    /// Sends by `left`, 10.1.0.2.
    pub sender: NetNs,
    /// Receives by `left`, 10.1.0.1, forwards to `right`, 10.2.0.1.
    pub router: NetNs,
    /// From the sender to the router.
    pub left: Way,
}

impl Lab {
    /// Sets it up. Needs root, `ip`, `nft` and `tc`.
    #[expect(
        clippy::new_without_default,
        reason = "it changes the machine: not for a default"
    )]
    pub fn new() -> Self {
        let (sender, router) = (NetNs::new(), NetNs::new());
        sender.connect("left", &router, "left");
        sender.command("ip addr add 10.1.0.2/24 dev left");
        router.command("ip addr add 10.1.0.1/24 dev left");
        router.command("ip link add right type veth peer name behind");
        router.command("ip link set right up");
        router.command("ip addr add 10.2.0.1/24 dev right");
        router.sysctl("ipv4/ip_forward", "1");
        router.command("nft add table inet lab");
        router.command("nft add chain inet lab input '{ type filter hook input priority 0; }'");
        router.command(&format!(
            "nft add rule inet lab input udp dport {FILTERED} drop"
        ));
        let left = Way {
            mac: (mac_of(&sender, "left"), mac_of(&router, "left")),
            ip: ([10, 1, 0, 2], [10, 1, 0, 1]),
        };
        Self {
            sender,
            router,
            left,
        }
    }

    /// Makes one drop of each kind, and says what it made.
    pub fn make_all(&self) -> Vec<Made> {
        let mut made = Vec::new();
        let router = self.router.inode;
        let mut note = |kind, reason, protocol, count| {
            made.push(Made {
                kind,
                reason,
                netns: router,
                protocol,
                count,
            });
        };

        self.router.run(|| {
            let v4 = UdpSocket::bind("127.0.0.1:0").unwrap();
            v4.send_to(b"closed", ("127.0.0.1", CLOSED)).unwrap();
            let v6 = UdpSocket::bind("[::1]:0").unwrap();
            v6.send_to(b"closed", ("::1", CLOSED)).unwrap();
            TcpStream::connect(("127.0.0.1", CLOSED)).expect_err("nothing listens");
            TcpStream::connect(("::1", CLOSED)).expect_err("nothing listens");
        });
        note("UDP to a closed port, IPv4", "NO_SOCKET", 0x0800, 1);
        note("UDP to a closed port, IPv6", "NO_SOCKET", 0x86dd, 1);
        note("TCP to a closed port, IPv4", "NO_SOCKET", 0x0800, 1);
        note("TCP to a closed port, IPv6", "NO_SOCKET", 0x86dd, 1);

        self.router.run(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The sender is told that it may not, as its own packet is dropped on its way.
            let _ = socket.send_to(b"filtered", ("127.0.0.1", FILTERED));
        });
        note("an nftables rule", "NETFILTER_DROP", 0x0800, 1);

        note(
            "a full socket buffer",
            "SOCKET_RCVBUFF",
            0x0800,
            self.fill_a_socket(),
        );

        self.send(frames::udp(self.left, CLOSED, 64, b"sum"), |frame| {
            frame[TRANSPORT + 6] ^= 0x55
        });
        // A checksum is only looked at once a socket wants the datagram, or none was found.
        note("a bad UDP checksum", "UDP_CSUM", 0x0800, 1);
        self.send(frames::tcp(self.left, CLOSED), |frame| {
            frame[TRANSPORT + 16] ^= 0x55
        });
        note("a bad TCP checksum", "TCP_CSUM", 0x0800, 1);
        self.send(frames::udp(self.left, CLOSED, 64, b"sum"), |frame| {
            frame[IP + 10] ^= 0x55
        });
        note("a bad IP header checksum", "IP_CSUM", 0x0800, 1);
        self.send(frames::udp(self.left, CLOSED, 64, b"proto"), |frame| {
            frame[IP + 9] = 253;
            frames::fix_ip_checksum(frame);
        });
        note(
            "an IP protocol that nobody handles",
            "IP_NOPROTO",
            0x0800,
            1,
        );
        self.send(frames::udp(self.left, CLOSED, 64, b"type"), |frame| {
            frame[12..14].copy_from_slice(&[0x12, 0x34])
        });
        note(
            "an EtherType that nobody handles",
            "UNHANDLED_PROTO",
            0x1234,
            1,
        );
        self.send(frames::udp(self.left, CLOSED, 64, b"other"), |frame| {
            frame[5] ^= 0xff
        });
        note("another host's frame", "OTHERHOST", 0x0800, 1);

        let beyond = |ip| Way {
            ip: (self.left.ip.0, ip),
            ..self.left
        };
        self.send(
            frames::udp(beyond([10, 2, 0, 9]), CLOSED, 1, b"ttl"),
            |_| {},
        );
        note("a TTL that ends here", "IP_INHDR", 0x0800, 1);
        self.send(
            frames::udp(beyond([203, 0, 113, 1]), CLOSED, 64, b"route"),
            |_| {},
        );
        note("a destination without a route", "IP_INNOROUTES", 0x0800, 1);
        let martian = Way {
            ip: ([127, 0, 0, 1], self.left.ip.1),
            ..self.left
        };
        self.send(frames::udp(martian, CLOSED, 64, b"martian"), |_| {});
        note("a martian source", "IP_LOCALNET", 0x0800, 1);

        // Last: it drops everything that comes in by `left` from here on.
        self.router.command("tc qdisc add dev left clsact");
        self.router
            .command("tc filter add dev left ingress bpf da bytecode '1,6 0 0 2,'");
        self.send(frames::udp(self.left, CLOSED, 64, b"tc"), |_| {});
        note("a tc filter", "TC_INGRESS", 0x0800, 1);
        self.router.command("tc qdisc del dev left clsact");
        made
    }

    /// Sends the router what it drops of each protocol: a TCP reset for nobody, an answer that nobody awaits of ICMP,
    /// UDP in IPv6, a VLAN that it has no interface for, and ARP that neither asks nor answers.
    pub fn make_one_of_each_protocol(&self) {
        let ((from, to), (ip_from, ip_to)) = (self.left.mac, self.left.ip);
        let ethernet = || PacketBuilder::ethernet2(from, to);
        let mut frames = vec![Vec::new(); 5];
        ethernet()
            .ipv4(ip_from, ip_to, 64)
            .tcp(40000, CLOSED, 1, 0)
            .rst()
            .write(&mut frames[0], &[])
            .unwrap();
        ethernet()
            .ipv4(ip_from, ip_to, 64)
            .icmpv4_echo_reply(0x1234, 1)
            .write(&mut frames[1], b"answer")
            .unwrap();
        // Every interface has this group's packets.
        let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        PacketBuilder::ethernet2(from, [0x33, 0x33, 0, 0, 0, 1])
            .ipv6(
                [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
                all_nodes,
                1,
            )
            .udp(40000, CLOSED)
            .write(&mut frames[2], b"version 6")
            .unwrap();
        ethernet()
            .single_vlan(42.try_into().unwrap())
            .ipv4(ip_from, ip_to, 64)
            .udp(40000, CLOSED)
            .write(&mut frames[3], b"tagged")
            .unwrap();
        frames[4] = frames::arp([from, to], [ip_from, ip_to], NO_OPERATION);
        for frame in frames {
            self.send(frame, |_| {});
        }
    }

    /// Sends a frame from the sender to the router, after `change`.
    pub fn send(&self, mut frame: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut frame);
        self.sender.run(move || frames::send("left", &frame));
    }

    /// Sends datagrams to a socket that does not read until one finds no room.
    fn fill_a_socket(&self) -> usize {
        self.router.run(|| {
            let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
            rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4096).unwrap();
            let address = receiver.local_addr().unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            let sent = 64;
            for _ in 0..sent {
                sender.send_to(&[0; 512], address).unwrap();
            }
            receiver.set_nonblocking(true).unwrap();
            let mut buffer = [0; 1024];
            let mut delivered = 0;
            while receiver.recv(&mut buffer).is_ok() {
                delivered += 1;
            }
            assert!(delivered < sent, "the socket took all {sent} datagrams");
            sent - delivered
        })
    }
}

/// Sends `count` datagrams to a full socket from a real-time thread, which lets the kernel's workers on its
/// CPU have no turn but the few per cent that the kernel keeps for them. Says how many were dropped: none of
/// them is answered, and an answer could be dropped as well where packets are queued for want of turns.
#[must_use]
pub fn overflow_without_a_break(count: usize) -> usize {
    let overflowing = std::thread::spawn(move || {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4096).unwrap();
        let address = receiver.local_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let schedule = |policy, sched_priority| {
            let priority = libc::sched_param { sched_priority };
            // SAFETY: the pointer is to a value that outlives the call, and 0 is the calling thread.
            let set = unsafe { libc::sched_setscheduler(0, policy, &raw const priority) };
            assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        };
        schedule(libc::SCHED_FIFO, 1);
        for _ in 0..count {
            sender.send_to(&[0; 32], address).unwrap();
        }
        schedule(libc::SCHED_OTHER, 0);
        // What is still queued gets there before this.
        receiver
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let mut delivered = 0;
        while receiver.recv(&mut [0; 32]).is_ok() {
            delivered += 1;
        }
        count - delivered
    });
    overflowing.join().unwrap()
}

/// Whether it is of a datagram to the closed port of 127.0.0.1, as [`flood`] sends them.
#[must_use]
pub fn is_closed_port(event: &DropEvent) -> bool {
    event.dst.is_some_and(|dst| {
        dst.port == Some(CLOSED) && dst.address == IpAddr::from(Ipv4Addr::LOCALHOST)
    })
}

fn mac_of(netns: &NetNs, name: &'static str) -> [u8; 6] {
    let output = netns.run(move || {
        std::process::Command::new("ip")
            .args(["-br", "link", "show", "dev", name])
            .output()
            .unwrap()
    });
    let text = String::from_utf8(output.stdout).unwrap();
    let mac = text
        .split_whitespace()
        .find(|word| word.len() == 17 && word.contains(':'));
    let bytes: Vec<u8> = mac
        .unwrap_or_else(|| panic!("no MAC address in `{text}`"))
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

/// Keeps the calling thread on one CPU: over loopback it drops there what it sends.
pub fn pin(cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).unwrap();
}

/// Sends `count` datagrams to the closed port of 127.0.0.1, from the calling thread's namespace,
/// as fast as it goes. Each is one `NO_SOCKET` drop.
pub fn flood(count: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let payload = [0; 32];
    let mut sent = 0;
    while sent < count {
        match socket.send_to(&payload, ("127.0.0.1", CLOSED)) {
            Ok(_) => sent += 1,
            // What the socket was told of an earlier datagram; this one was not sent.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(e) => panic!("datagram {sent}: {e}"),
        }
    }
}

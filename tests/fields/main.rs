//! Each field of an event, by a drop of which the test knows the right answer.
#![allow(clippy::unwrap_used)] // tests panic

mod connections;
mod queues;
mod table;
mod tunnels;

use etherparse::PacketBuilder;
use rustix::net::sockopt;
use skbdrop::{
    Backend, Checksum, DropEvent, ErrorKind, EtherType, IpProtocol, Monitor, PacketType,
    SocketRole, SocketState, SourceLines, headers::Network,
};
use std::{
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use support::{
    collect,
    drops::{CLOSED, Lab, flood},
    frames,
    netns::NetNs,
    run,
};

/// A user that is not root.
const USER: u32 = 1234;
/// A port whose packets are dropped on their way out.
const BLOCKED: u16 = 4321;

fn ebpf() -> Monitor {
    let monitor = Monitor::builder().backend(Backend::Ebpf).build().unwrap();
    // The program that reads by direct loads: that the kernel refuses it would show nowhere else.
    let debug = format!("{monitor:?}");
    assert!(debug.contains("program_type: TpBtf"), "{debug}");
    monitor
}

fn reason(event: &DropEvent) -> Option<&str> {
    event.reason.as_ref().and_then(|reason| reason.name())
}

/// Drops what these words of nftables match behind routing, where the device is known that it is to leave by.
fn drop_on_the_way_out(netns: &NetNs, matched: &str) {
    netns.command("nft add table inet fields");
    netns.command("nft add chain inet fields out '{ type filter hook postrouting priority 0; }'");
    netns.command(&format!("nft add rule inet fields out {matched} drop"));
}

/// What the tests send to be dropped there.
fn is_blocked() -> String {
    format!("udp dport {BLOCKED}")
}

/// The index of an interface in a namespace.
fn index_of(netns: &NetNs, name: &'static str) -> u32 {
    let index = netns.run(move || {
        let name = std::ffi::CString::new(name).unwrap();
        // SAFETY: the name is a C string.
        unsafe { libc::if_nametoindex(name.as_ptr()) }
    });
    assert_ne!(index, 0, "no interface {name}");
    index
}

/// Opens a socket that belongs to [`USER`].
fn as_user<T>(open: impl FnOnce() -> T) -> T {
    // SAFETY: setfsuid(2) takes no pointer, and concerns this thread alone.
    unsafe { libc::setfsuid(USER) };
    let socket = open();
    // SAFETY: as above.
    unsafe { libc::setfsuid(0) };
    socket
}

/// An option of a socket that is a number of 64 bits; `None` if the kernel has it not.
fn number(socket: impl AsFd, option: i32) -> Option<u64> {
    let mut value = 0u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `len` bytes into `value`.
    let got = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    (got == 0).then_some(value)
}

/// The number of this process's cgroup of version 2; that of the root where there is no other.
fn own_cgroup() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let root = mount.split(' ').nth(4)?;
        kind.starts_with("cgroup2 ").then(|| root.to_owned())
    });
    match (path, mount) {
        (Some(path), Some(mount)) if path != "/" => {
            std::fs::metadata(format!("{mount}{path}")).unwrap().ino()
        }
        _ => 1,
    }
}

/// Whether the kernel passes the receiving socket: since 6.11.
fn passes_receiver() -> bool {
    let format = std::fs::read_to_string("/sys/kernel/tracing/events/skb/kfree_skb/format");
    format.unwrap().contains(" rx_sk;")
}

/// Gives a namespace a name as `ip netns` does, until it is dropped.
struct Named {
    path: PathBuf,
    made_folder: bool,
}

impl Named {
    fn new(name: &str, netns: &NetNs) -> Self {
        let folder = Path::new("/run/netns");
        let made_folder =
            std::fs::create_dir_all("/run").is_ok() && std::fs::create_dir(folder).is_ok();
        let path = folder.join(name);
        std::fs::File::create_new(&path).unwrap();
        let source = format!("/proc/{}/ns/net", netns.tid);
        run("mount", &["--bind", &source, path.to_str().unwrap()]);
        Self { path, made_folder }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        run("umount", &[self.path.to_str().unwrap()]);
        let _ = std::fs::remove_file(&self.path);
        if self.made_folder {
            let _ = std::fs::remove_dir("/run/netns");
        }
    }
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn the_namespace_has_its_cookie_and_its_name() {
    let netns = NetNs::new();
    let name = format!("skbdrop-{}", std::process::id());
    let named = Named::new(&name, &netns);
    let mut monitor = ebpf();
    let cookie = netns.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"?", ("127.0.0.1", CLOSED)).unwrap();
        number(&socket, libc::SO_NETNS_COOKIE)
    });
    let is_here = |event: &DropEvent| {
        event
            .netns
            .as_ref()
            .is_some_and(|it| it.inode == netns.inode)
    };
    let event = collect(&mut monitor, 1, is_here).remove(0);
    let found = event.netns.as_ref().unwrap();
    assert_eq!(found.name.as_deref(), Some(&*name));
    assert!(
        event.to_string().contains(&format!("netns {name}")),
        "{event}"
    );
    // A kernel that tells no socket its cookie may have none yet.
    if let Some(cookie) = cookie {
        assert_eq!(found.cookie, Some(cookie));
    }
    // Without the name, once what is known of it is too old.
    drop(named);
    let later = Instant::now() + Duration::from_millis(1100);
    // Others' drops are taken meanwhile: there is room for ours.
    while let Some(left) = later.checked_duration_since(Instant::now()) {
        monitor.next_timeout(left).unwrap();
    }
    netns.run(|| flood(1));
    let event = collect(&mut monitor, 1, is_here).remove(0);
    assert_eq!(event.netns.unwrap().name, None);
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_receiver_is_told_with_its_owner() {
    let netns = NetNs::new();
    let mut monitor = ebpf();
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let (address, cookie) = netns.run(move || {
            let receiver = as_user(|| UdpSocket::bind(any).unwrap());
            sockopt::set_socket_recv_buffer_size(&receiver, 4096).unwrap();
            let address = receiver.local_addr().unwrap();
            let cookie = number(&receiver, libc::SO_COOKIE).unwrap();
            let sender = UdpSocket::bind(any).unwrap();
            for _ in 0..64 {
                sender.send_to(&[0; 512], address).unwrap();
            }
            (address, cookie)
        });
        let event = collect(&mut monitor, 1, |event| {
            event.dst.and_then(|dst| dst.port) == Some(address.port())
                && event
                    .netns
                    .as_ref()
                    .is_some_and(|it| it.inode == netns.inode)
        })
        .remove(0);
        if !passes_receiver() {
            assert!(
                event
                    .socket
                    .is_none_or(|it| it.role != SocketRole::Receiver),
                "{event:?}"
            );
            continue;
        }
        let socket = event.socket.unwrap();
        assert_eq!(socket.role, SocketRole::Receiver);
        assert_eq!(Some(socket.address), event.rx_sk_address);
        assert_eq!(socket.cookie, Some(cookie));
        assert_eq!(socket.uid, Some(USER));
        assert_eq!(socket.cgroup, Some(own_cgroup()));
        assert_eq!(socket.kind, Some(libc::SOCK_DGRAM as u16));
        assert_eq!(socket.protocol, Some(IpProtocol::UDP));
        assert_eq!(socket.state, Some(SocketState::CLOSE));
        assert_eq!(socket.local.unwrap().to_string(), address.to_string());
        assert_eq!(socket.remote, None);
    }
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_sender_is_told_with_what_it_wanted() {
    let netns = NetNs::new();
    drop_on_the_way_out(&netns, &is_blocked());
    let mut monitor = ebpf();
    for (any, here, family) in [
        ("127.0.0.1:0", "127.0.0.1", libc::AF_INET),
        ("[::1]:0", "::1", libc::AF_INET6),
    ] {
        let (local, cookie) = netns.run(move || {
            let socket = as_user(|| UdpSocket::bind(any).unwrap());
            set_option(&socket, libc::SO_MARK, 0x1234);
            set_option(&socket, libc::SO_PRIORITY, 5);
            socket.connect((here, BLOCKED)).unwrap();
            let cookie = number(&socket, libc::SO_COOKIE).unwrap();
            // It is told that it may not.
            let _ = socket.send(b"blocked");
            (socket.local_addr().unwrap(), cookie)
        });
        let event = collect(&mut monitor, 1, |event| {
            event.dst.and_then(|dst| dst.port) == Some(BLOCKED)
                && event.src.and_then(|src| src.port) == Some(local.port())
        })
        .remove(0);
        let socket = event.socket.unwrap();
        assert_eq!(socket.role, SocketRole::Sender);
        assert_eq!(event.rx_sk_address, None);
        assert_eq!(socket.cookie, Some(cookie));
        assert_eq!(socket.uid, Some(USER));
        assert_eq!(socket.family, Some(family as u16));
        assert_eq!(socket.state, Some(SocketState::ESTABLISHED));
        assert_eq!(socket.local.unwrap().to_string(), local.to_string());
        assert_eq!(socket.remote, event.dst);
        let metadata = event.metadata.unwrap();
        assert_eq!(metadata.mark, Some(0x1234));
        assert_eq!(metadata.priority, Some(5));
        assert_eq!(metadata.vlan, None);
        assert_eq!(metadata.gso, None);
        assert_eq!(metadata.checksum, Some(Checksum::Partial));
        assert!(metadata.hash.is_some() && metadata.queue_mapping.is_some());
        // It never came in, and was to leave by the loopback device.
        assert_eq!(event.iif, None);
        let device = event.device.as_ref().unwrap();
        assert_eq!((device.index, &*device.name), (1, "lo"));
        assert_eq!(device.netns, netns.inode);
        assert_eq!(event.netns.unwrap().inode, netns.inode);
    }
}

fn set_option(socket: &UdpSocket, option: i32, value: i32) {
    // SAFETY: the pointer is to a value that outlives the call, with its length.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn the_way_in_and_the_way_out_are_told_apart() {
    let lab = Lab::new();
    drop_on_the_way_out(&lab.router, &is_blocked());
    let (left, right) = (
        index_of(&lab.router, "left"),
        index_of(&lab.router, "right"),
    );
    let mut monitor = ebpf();
    lab.sender.command("ip route add 10.2.0.0/24 via 10.1.0.1");
    lab.sender.run(|| {
        let socket = UdpSocket::bind("10.1.0.2:0").unwrap();
        socket.send_to(b"forwarded", ("10.2.0.9", BLOCKED)).unwrap();
    });
    let event = collect(&mut monitor, 1, |event| {
        event.dst.is_some_and(|dst| dst.port == Some(BLOCKED))
    })
    .remove(0);
    assert_eq!(event.iif, Some(left), "{event:?}");
    assert_eq!(event.ifindex, Some(left), "{event:?}");
    let device = event.device.as_ref().unwrap();
    assert_eq!((device.index, &*device.name), (right, "right"));
    assert_eq!(device.netns, lab.router.inode);
    assert_eq!(event.headers().network.unwrap().ttl(), Some(63));
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn frames_as_they_came_in() {
    let lab = Lab::new();
    lab.router.command("tc qdisc add dev left clsact");
    lab.router
        .command("tc filter add dev left ingress bpf da bytecode '1,6 0 0 2,'");
    let mut monitor = ebpf();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [0xff; 6])
        .double_vlan(42.try_into().unwrap(), 7.try_into().unwrap())
        .ipv4([10, 1, 0, 2], [10, 1, 0, 1], 64)
        .udp(40000, CLOSED)
        .write(&mut frame, b"tagged")
        .unwrap();
    frame[14] |= 3 << 5; // priority
    lab.sender.run(move || frames::send("left", &frame));
    let question = [[2, 0, 0, 0, 0, 9], [0xff; 6]];
    let arp = frames::arp(question, [[10, 1, 0, 2], [10, 1, 0, 1]], 1);
    lab.sender.run(move || frames::send("left", &arp));
    let is_from_us = |event: &DropEvent| {
        let ethernet = event.headers().ethernet;
        ethernet.is_some_and(|header| header.source.0 == [2, 0, 0, 0, 0, 9])
    };
    let [tagged, arp] = collect(&mut monitor, 2, is_from_us).try_into().unwrap();

    // The kernel takes the outer tag off before anything else.
    let metadata = tagged.metadata.unwrap();
    let vlan = metadata.vlan.unwrap();
    assert_eq!(vlan.protocol, Some(EtherType::QINQ));
    assert_eq!((vlan.id, vlan.priority, vlan.drop_eligible), (42, 3, false));
    assert_eq!(metadata.packet_type, Some(PacketType::Broadcast));
    let headers = tagged.headers();
    assert_eq!(
        headers.vlans.iter().map(|tag| tag.id).collect::<Vec<_>>(),
        [7]
    );
    assert_eq!(headers.transport.unwrap().ports(), Some((40000, CLOSED)));
    assert_eq!(tagged.device.as_ref().unwrap().index, tagged.iif.unwrap());
    assert_eq!(&*tagged.device.unwrap().name, "left");

    let headers = arp.headers();
    let Some(Network::Arp(question)) = headers.network else {
        panic!("{arp:?}");
    };
    assert_eq!(question.target.unwrap().to_string(), "10.1.0.1");
    assert_eq!(arp.metadata.unwrap().vlan, None);
    assert!(arp.to_string().contains("ARP who has 10.1.0.1"), "{arp}");
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn the_call_stack_begins_at_the_place_of_the_drop() {
    let netns = NetNs::new();
    let mut monitor = Monitor::builder()
        .backend(Backend::Ebpf)
        .stacks(true)
        .build()
        .unwrap();
    netns.run(|| flood(1));
    let event = collect(&mut monitor, 1, |event| {
        support::is_flood(event, netns.inode)
    })
    .remove(0);
    assert_eq!(event.stack.first().copied(), event.location.address);
    let places = monitor.symbolize(&event.stack);
    assert_eq!(places[0], event.location);
    let names: Vec<&str> = places
        .iter()
        .filter_map(|place| place.symbol.as_ref())
        .map(|symbol| &*symbol.name)
        .collect();
    // Where the place is none, as the kernel's function is split, it is behind that.
    assert!(
        names.iter().take(2).any(|name| name.contains("udp")),
        "{names:?}"
    );
    // What called these has other names for each architecture.
    for wanted in ["ip_local_deliver_finish", "__sys_sendto"] {
        assert!(names.contains(&wanted), "no {wanted} in {names:?}");
    }
    // And without being asked for there is none.
    let mut monitor = ebpf();
    netns.run(|| flood(1));
    let events = collect(&mut monitor, 1, |event| {
        support::is_flood(event, netns.inode)
    });
    assert!(events[0].stack.is_empty());
}

#[test]
#[ignore = "needs root to load eBPF, and debug information of the kernel: cargo xtask test"]
fn the_source_lines_of_the_call_stack() {
    let source = match SourceLines::from_kernel() {
        Ok(source) => source,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            println!("skipped: {e}");
            return;
        }
        Err(e) => panic!("{e:#}"),
    };
    let netns = NetNs::new();
    let builder = Monitor::builder().backend(Backend::Ebpf).stacks(true);
    let mut monitor = builder.build().unwrap();
    netns.run(|| flood(1));
    let event = collect(&mut monitor, 1, |event| {
        support::is_flood(event, netns.inode)
    })
    .remove(0);
    let lines = source.lines(&event.location).unwrap();
    assert!(lines[0].file.ends_with("net/ipv4/udp.c"), "{lines:#?}");
    let mut files = Vec::new();
    for place in monitor.symbolize(&event.stack) {
        let lines = source.lines(&place).unwrap();
        for line in &lines {
            println!("{place}: {line}");
        }
        // The function around all that was built into it has the symbol's name. What is in assembly is in none.
        let outermost = lines.last().and_then(|line| line.function.as_deref());
        if let (Some(symbol), Some(outermost)) = (&place.symbol, outermost) {
            assert_eq!(Some(outermost), symbol.name.split('.').next(), "{lines:#?}");
        }
        files.extend(lines.into_iter().map(|line| line.file));
    }
    for wanted in ["net/ipv4/ip_input.c", "net/core/dev.c", "net/socket.c"] {
        assert!(
            files.iter().any(|file| file.ends_with(wanted)),
            "{files:#?}"
        );
    }
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn what_is_not_asked_for_is_not_told() {
    let netns = NetNs::new();
    drop_on_the_way_out(&netns, &is_blocked());
    let mut monitor = Monitor::builder()
        .backend(Backend::Ebpf)
        .metadata(false)
        .sockets(false)
        .snap_len(0)
        .build()
        .unwrap();
    netns.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = socket.send_to(b"?", ("127.0.0.1", BLOCKED));
    });
    let event = collect(&mut monitor, 1, |event| {
        event
            .netns
            .as_ref()
            .is_some_and(|it| it.inode == netns.inode)
    })
    .remove(0);
    assert_eq!((event.socket, event.metadata), (None, None));
    assert!(event.packet.bytes.is_empty() && event.stack.is_empty());
    assert_eq!(event.device.unwrap().index, 1);
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn the_program_that_reads_by_a_helper_tells_the_same() {
    let netns = NetNs::new();
    drop_on_the_way_out(&netns, &is_blocked());
    let mut direct = ebpf();
    // BTF from a file: its types need not be numbered as the kernel numbers them, which the other program must.
    let mut by_helper = Monitor::builder()
        .backend(Backend::Ebpf)
        .btf_file("/sys/kernel/btf/vmlinux")
        .build()
        .unwrap();
    let debug = format!("{by_helper:?}");
    assert!(debug.contains("program_type: RawTracepoint"), "{debug}");
    netns.run(|| {
        for (any, here) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            let socket = as_user(|| UdpSocket::bind(any).unwrap());
            set_option(&socket, libc::SO_MARK, 0x1234);
            let _ = socket.send_to(b"blocked", (here, BLOCKED));
            let _ = socket.send_to(b"closed", (here, CLOSED));
        }
    });
    let is_here = |event: &DropEvent| {
        let port = event.dst.and_then(|dst| dst.port);
        port == Some(BLOCKED) || port == Some(CLOSED) && support::is_flood(event, netns.inode)
    };
    let told = |event: &DropEvent| {
        (
            (event.skb_address, event.dst, event.socket, event.metadata),
            (event.iif, event.device.clone(), event.netns.clone()),
        )
    };
    // Three: `is_flood` knows IPv4 alone.
    let [direct, by_helper] = [&mut direct, &mut by_helper].map(|monitor| {
        collect(monitor, 3, is_here)
            .iter()
            .map(told)
            .collect::<Vec<_>>()
    });
    assert_eq!(direct, by_helper);
    assert!(direct.iter().any(|((_, _, socket, _), _)| socket.is_some()));
}

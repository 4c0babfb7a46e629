//! What the eBPF backend says of real drops, made in network namespaces of the test's own.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{BackendKind, DropEvent, Layer, Monitor};
use std::{
    net::UdpSocket,
    time::{Duration, SystemTime},
};
use support::{
    collect, drain,
    drops::{CLOSED, Lab, flood},
    is_flood, is_of_the_kernel, monotonic_ns,
    netns::NetNs,
    receives_udp,
};

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn every_field_of_a_drop_that_is_known() {
    let netns = NetNs::new();
    let mut monitor = Monitor::builder().build().unwrap();
    assert_eq!(monitor.backend(), BackendKind::Ebpf);
    let before = (monotonic_ns(), SystemTime::now());
    let (port, pid, tid) = netns.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .send_to(b"0123456789", ("127.0.0.1", CLOSED))
            .unwrap();
        let tid = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        (socket.local_addr().unwrap().port(), std::process::id(), tid)
    });
    let after = (monotonic_ns(), SystemTime::now());
    let event = collect(&mut monitor, 1, |event| is_flood(event, netns.inode)).remove(0);

    assert!(
        (before.0..=after.0).contains(&event.timestamp_ns),
        "{event:?}"
    );
    let slack = Duration::from_millis(1);
    assert!(
        (before.1 - slack..=after.1 + slack).contains(&event.wall_time),
        "{event:?}"
    );
    match monitor.resolver().number("NO_SOCKET") {
        Some(number) => {
            let reason = event.reason.as_ref().unwrap();
            assert_eq!(
                (reason.raw(), reason.name()),
                (Some(number), Some("NO_SOCKET"))
            );
            assert!(event.to_string().contains("NO_SOCKET"), "{event}");
        }
        // A kernel without reasons, as 5.10.
        None => assert_eq!(event.reason, None),
    }
    let symbol = event.location.symbol.as_ref().unwrap();
    assert!(receives_udp(symbol), "{symbol:?}");
    assert!(symbol.offset > 0 && symbol.module.is_none(), "{symbol:?}");
    assert_eq!(event.protocol.unwrap().0, 0x0800);
    assert_eq!(event.length, Some(14 + 20 + 8 + 10));
    assert_eq!(event.src.unwrap().to_string(), format!("127.0.0.1:{port}"));
    assert_eq!(
        event.dst.unwrap().to_string(),
        format!("127.0.0.1:{CLOSED}")
    );
    assert_eq!(event.transport.unwrap().0, 17);
    assert_eq!(event.packet.layer, Layer::Ethernet);
    assert_eq!(event.packet.bytes.len(), 52);
    assert!(event.packet.bytes.ends_with(b"0123456789"));
    assert_eq!(
        (event.ifindex, event.ifname.as_deref()),
        (Some(1), Some("lo"))
    );
    assert_eq!(event.netns.as_ref().unwrap().inode, netns.inode);
    // Loopback delivers in the sender's context, though nothing promises it.
    assert_eq!((event.pid, event.tid), (Some(pid), Some(tid)));
    assert!(
        event.comm.as_ref().is_some_and(|comm| !comm.is_empty()),
        "{event:?}"
    );
    assert!(event.cpu.is_some_and(|cpu| cpu < 8192));
    assert!(event.skb_address.is_some_and(is_of_the_kernel));
    assert_eq!(event.rx_sk_address, None);
    assert_eq!(event.lost_before, 0);
    let line = event.to_string();
    for part in [
        &*event.location.to_string(),
        "IPv4",
        "UDP",
        &format!("127.0.0.1:{CLOSED}"),
        "52 bytes",
        "lo",
    ] {
        assert!(line.contains(part), "`{part}` is not in: {line}");
    }
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn drops_of_every_kind_have_their_reason_protocol_and_namespace() {
    let lab = Lab::new();
    let mut monitor = Monitor::builder().build().unwrap();
    let made = lab.make_all();
    let mut left = drain(&mut monitor);
    for made in made {
        for _ in 0..made.count {
            let at = left.iter().position(|event| {
                event.reason.as_ref().and_then(|reason| reason.name()) == Some(made.reason)
                    && event.protocol.map(|protocol| protocol.0) == Some(made.protocol)
                    && event.netns.as_ref().map(|netns| netns.inode) == Some(made.netns)
            });
            let at = at.unwrap_or_else(|| {
                let left: Vec<String> = left.iter().map(ToString::to_string).collect();
                panic!("not seen: {made:?}; what came:\n{}", left.join("\n"))
            });
            left.remove(at);
        }
    }
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_full_buffer_names_the_receiving_socket() {
    let lab = Lab::new();
    let mut monitor = Monitor::builder().build().unwrap();
    lab.make_all();
    let events = drain(&mut monitor);
    let full = events.iter().find(|event| {
        event.reason.as_ref().and_then(|reason| reason.name()) == Some("SOCKET_RCVBUFF")
    });
    // The tracepoint passes it since Linux 6.11.
    let format = std::fs::read_to_string("/sys/kernel/tracing/events/skb/kfree_skb/format");
    let passed = format.unwrap().contains(" rx_sk;");
    assert_eq!(full.unwrap().rx_sk_address.is_some(), passed, "{full:?}");
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn snap_length_bounds_the_bytes() {
    let netns = NetNs::new();
    for (snap_len, expected) in [(0, 0), (20, 20), (128, 74), (16384, 74)] {
        let mut monitor = Monitor::builder().snap_len(snap_len).build().unwrap();
        netns.run(|| flood(1));
        let event = collect(&mut monitor, 1, |event| {
            event
                .netns
                .as_ref()
                .is_some_and(|it| it.inode == netns.inode)
                && event.length == Some(74)
        });
        assert_eq!(event[0].packet.bytes.len(), expected);
        assert_eq!(event[0].dst.is_some(), snap_len > 20);
    }
}

/// The running kernel's BTF, pruned, and its number for `NO_SOCKET`.
fn kernel_btf() -> (Vec<u8>, u32) {
    let whole = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let btf = skbdrop::prune_btf(&whole).unwrap().bytes;
    let resolver = skbdrop::Resolver::from_btf_bytes(&btf).unwrap();
    (btf, resolver.number("NO_SOCKET").unwrap())
}

/// What a monitor that was given this BTF says of a datagram to a closed port.
fn drop_seen_with(btf: &[u8]) -> DropEvent {
    let netns = NetNs::new();
    let path = std::env::temp_dir().join(format!("skbdrop-btf-{}", std::process::id()));
    std::fs::write(&path, btf).unwrap();
    let monitor = Monitor::builder().btf_file(&path).build();
    std::fs::remove_file(&path).unwrap();
    let mut monitor = monitor.unwrap();
    netns.run(|| flood(1));
    let is_there = |event: &DropEvent| {
        event
            .netns
            .as_ref()
            .is_some_and(|it| it.inode == netns.inode)
    };
    collect(&mut monitor, 1, is_there).remove(0)
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn shuffled_btf_gives_the_shuffled_names_live() {
    let (mut btf, number) = kernel_btf();
    // Each name moves by one; the marker at the end keeps its place.
    let mut previous = String::new();
    support::btf::change_enum(&mut btf, "skb_drop_reason", |name, value| {
        if name.ends_with("_MASK") || name.ends_with("_MAX") {
            return value;
        }
        if value == number - 1 {
            previous = name.trim_start_matches("SKB_DROP_REASON_").to_owned();
        }
        value + 1
    });
    let event = drop_seen_with(&btf);
    let reason = event.reason.unwrap();
    assert_eq!(
        (reason.raw(), reason.name()),
        (Some(number), Some(&*previous))
    );
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_reason_that_no_enum_has_is_shown_as_a_number() {
    let (mut btf, number) = kernel_btf();
    support::btf::change_enum(&mut btf, "skb_drop_reason", |name, value| match name {
        "SKB_DROP_REASON_NO_SOCKET" => 50_000,
        _ => value,
    });
    let event = drop_seen_with(&btf);
    assert_eq!(
        event.reason.as_ref().unwrap().to_string(),
        number.to_string()
    );
    assert!(
        event.to_string().contains(&format!(" {number} at ")),
        "{event}"
    );
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn json_has_every_field() {
    let netns = NetNs::new();
    let mut monitor = Monitor::builder().build().unwrap();
    netns.run(|| flood(1));
    let event = collect(&mut monitor, 1, |event| is_flood(event, netns.inode)).remove(0);
    let json = serde_json::to_value(&event).unwrap();
    let fields = [
        "timestamp_ns",
        "wall_time",
        "reason",
        "location",
        "protocol",
        "length",
        "src",
        "dst",
        "transport",
        "packet",
        "ifindex",
        "ifname",
        "iif",
        "device",
        "netns",
        "socket",
        "metadata",
        "qdisc",
        "stack",
        "cpu",
        "pid",
        "tid",
        "comm",
        "skb_address",
        "rx_sk_address",
        "origin",
        "flow_action_cookie",
        "count",
        "backend",
        "lost_before",
    ];
    let mut found: Vec<_> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = fields.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    match monitor.resolver().number("NO_SOCKET") {
        Some(_) => assert_eq!(json["reason"]["name"], "NO_SOCKET"),
        None => assert_eq!(json["reason"], serde_json::Value::Null),
    }
    assert_eq!(
        json["reason"]["subsystem"].is_string(),
        monitor.resolver().subsystems().count() > 0
    );
    assert_eq!(json["protocol"], 0x0800);
    assert_eq!(json["dst"], "127.0.0.1:9");
    assert_eq!(json["rx_sk_address"], serde_json::Value::Null);
    assert_eq!(json["backend"], "ebpf");
    assert_eq!(json["location"]["module"], serde_json::Value::Null);
    let address = json["location"]["address"].as_str().unwrap();
    assert!(address.len() > "0x".len() && address != "0x0", "{address}");
    assert!(address.starts_with("0x"), "{address}");
    assert!(json["wall_time"].as_str().unwrap().ends_with('Z'));
}

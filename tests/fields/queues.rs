//! The queueing discipline that dropped a packet, by queues that take none.

use crate::{ebpf, reason};
use skbdrop::{DropEvent, Monitor, TcHandle};
use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
};
use support::{collect, netns::NetNs};

const NEAR: &str = "10.9.0.1";
const FAR: &str = "10.9.0.2";

/// Whether the kernel tells of the queueing discipline: since 7.1.
fn has_tracepoint() -> bool {
    Path::new("/sys/kernel/tracing/events/qdisc/qdisc_drop").exists()
}

/// A namespace with an interface `out` of two transmit queues, on which nothing is sent but what a test sends.
pub(crate) struct Sender {
    netns: NetNs,
}

impl Sender {
    pub(crate) fn new() -> Self {
        let netns = NetNs::new();
        netns.sysctl("ipv6/conf/default/disable_ipv6", "1");
        netns.command("ip link add out numtxqueues 2 type veth peer name in");
        netns.command("ip link set in up");
        netns.command("ip link set out up");
        netns.command(&format!("ip addr add {NEAR}/24 dev out"));
        netns.command(&format!(
            "ip neigh add {FAR} lladdr 02:00:00:00:00:02 dev out"
        ));
        Self { netns }
    }

    /// Puts up these queues, the first outermost; sends a packet to each port, and takes the queues away.
    pub(crate) fn send(&self, queues: &[&str], ports: impl Iterator<Item = u16> + Send + 'static) {
        for queue in queues {
            self.netns.command(&format!("tc qdisc add dev out {queue}"));
        }
        self.netns.run(move || {
            let socket = UdpSocket::bind((NEAR, 0)).unwrap();
            for port in ports {
                // Some kernels say that it was dropped.
                let _ = socket.send_to(b"too much", (FAR, port));
            }
        });
        self.netns.command("tc qdisc del dev out root");
    }
}

/// The drop of the packet that was sent to this port.
fn sent_to(monitor: &mut Monitor, port: u16) -> DropEvent {
    let to = SocketAddr::new(FAR.parse().unwrap(), port).to_string();
    let is_it = |event: &DropEvent| event.dst.is_some_and(|dst| dst.to_string() == to);
    collect(monitor, 1, is_it).remove(0)
}

/// What an event says of the queueing discipline, as `tc` has it, and why it dropped the packet.
fn told(event: &DropEvent) -> Option<(String, String)> {
    let qdisc = event.qdisc.as_ref()?;
    let text = format!("{} {} {}", qdisc.kind, qdisc.handle, qdisc.parent);
    assert_eq!(
        qdisc.reason.subsystem().and_then(|it| it.name.as_deref()),
        Some("QDISC"),
        "{qdisc:?}"
    );
    assert!(event.to_string().contains(&format!(
        ", qdisc {} {} ({})",
        qdisc.kind, qdisc.handle, qdisc.reason
    )));
    Some((text, qdisc.reason.to_string()))
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_drop_of_a_queue_says_which() {
    let sender = Sender::new();
    let mut monitor = ebpf();
    assert!(
        monitor.limitations().is_empty(),
        "{:?}",
        monitor.limitations()
    );
    // A queue with room for none: the device's own, and one for each of a device's queues.
    sender.send(&["root handle 7: pfifo limit 0"], 5001..5002);
    sender.send(&["root handle 8001: bfifo limit 0"], 5002..5003);
    let each = [
        "root handle 3: mq",
        "parent 3:1 handle 41: pfifo limit 0",
        "parent 3:2 handle 42: pfifo limit 0",
    ];
    sender.send(&each, 5003..5004);
    let [own, bytes, of_many] = [5001, 5002, 5003].map(|port| sent_to(&mut monitor, port));
    for event in [&own, &bytes, &of_many] {
        println!("{event}");
        // 5.10 has no reasons.
        assert!(
            matches!(reason(event), Some("QDISC_DROP") | None),
            "{event}"
        );
    }
    if !has_tracepoint() {
        for event in [own, bytes, of_many] {
            assert!(event.qdisc.is_none(), "{event:?}");
        }
        assert!(format!("{monitor:?}").contains("qdisc: false"));
        println!("skipped: this kernel has no tracepoint qdisc:qdisc_drop");
        return;
    }
    // These disciplines give no reason of their own.
    let generic = || "QDISC_DROP_GENERIC".to_owned();
    assert_eq!(told(&own), Some(("pfifo 7: root".into(), generic())));
    assert_eq!(told(&bytes), Some(("bfifo 8001: root".into(), generic())));
    let queue = of_many.metadata.unwrap().queue_mapping.unwrap();
    let expected = format!("pfifo {}: 3:{}", 41 + queue, 1 + queue);
    assert_eq!(told(&of_many), Some((expected, generic())));
    let qdisc = own.qdisc.unwrap();
    assert_eq!(
        (qdisc.handle, qdisc.parent),
        (TcHandle(7 << 16), TcHandle::ROOT)
    );
}

/// Each event has the queue of its own packet, also when many are dropped, and by the program that reads by a helper; what other than
/// a queue drops has none.
#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn each_drop_has_its_own_queue() {
    const PORTS: u16 = 200;
    const CLOSED: u16 = 4000;
    let sender = Sender::new();
    let by_helper = Monitor::builder().btf_file("/sys/kernel/btf/vmlinux");
    let left_out = Monitor::builder().filter(format!("not port {CLOSED}").parse().unwrap());
    let silent = Monitor::builder().qdiscs(false);
    let [mut direct, mut by_helper, mut left_out, mut silent] =
        [Monitor::builder(), by_helper, left_out, silent]
            .map(|builder| builder.backend(skbdrop::Backend::Ebpf).build().unwrap());
    for round in 0..2u16 {
        let queue = [
            "root handle 1: pfifo limit 0",
            "root handle 2: bfifo limit 0",
        ];
        let first = 6000 + round * PORTS;
        sender.send(&[queue[usize::from(round)]], first..first + PORTS);
        // At the addresses that these packets had come others, whom no queue drops.
        sender.netns.command("ip link set lo up");
        sender.netns.run(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..PORTS {
                socket.send_to(b"closed", ("127.0.0.1", CLOSED)).unwrap();
            }
        });
    }
    let is_ours = |event: &DropEvent| {
        let port = event.dst.and_then(|dst| dst.port);
        port.is_some_and(|port| port == CLOSED || (6000..6000 + 2 * PORTS).contains(&port))
            && matches!(reason(event), Some("QDISC_DROP" | "NO_SOCKET") | None)
    };
    let count = usize::from(4 * PORTS);
    for (name, monitor, count) in [
        ("direct", &mut direct, count),
        ("by a helper", &mut by_helper, count),
        ("with a filter", &mut left_out, count / 2),
        ("without", &mut silent, count),
    ] {
        let events = collect(monitor, count, is_ours);
        for event in &events {
            let port = event.dst.unwrap().port.unwrap();
            let expected = match port {
                _ if !has_tracepoint() || name == "without" => None,
                CLOSED => None,
                _ if port < 6000 + PORTS => Some(("pfifo", TcHandle(1 << 16))),
                _ => Some(("bfifo", TcHandle(2 << 16))),
            };
            let qdisc = event.qdisc.as_ref();
            let told = qdisc.map(|it| (&*it.kind, it.handle));
            assert_eq!(told, expected, "{name}: {event:?}");
        }
    }
}

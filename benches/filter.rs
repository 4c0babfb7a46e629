//! What does a drop cost in the kernel that the eBPF backend's filter leaves out, next to an empty program?
//! `cargo bench -p skbdrop-benches --bench filter`, as root.

use skbdrop_benches::filtered::{empty, filtered};

/// Datagrams of a flood, each of them dropped.
const DATAGRAMS: usize = 200_000;
/// Floods of each filter, each after one of the empty program.
const ROUNDS: usize = 5;

/// Filters that no datagram of the flood passes.
const FILTERS: [(&str, &str); 12] = [
    ("none", "none"),
    ("a reason", "reason TCP_CSUM"),
    ("all reasons but one", "not reason NO_SOCKET"),
    ("all reasons of TCP", "reason TCP_*"),
    ("a function", "symbol tcp_v4_rcv"),
    ("an interface", "interface eth9"),
    ("a mark", "mark 1"),
    ("a network protocol", "protocol arp"),
    ("a port", "port 5353"),
    ("a port and a prefix", "port 9 and address 192.0.2.0/24"),
    ("a tcpdump expression", "pcap \"udp port 5353\""),
    ("a reason, then a port", "reason TCP_CSUM and port 5353"),
];

fn main() {
    println!(
        "{:24} {:>8} {:>8} {:>22}",
        "", "ns", "empty", "ratio (min-max)"
    );
    for (name, text) in FILTERS {
        let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
            .map(|_| (empty(DATAGRAMS), filtered(text, DATAGRAMS)))
            .collect();
        rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
        let ratio = |n: usize| rounds[n].1 / rounds[n].0;
        let (empty, ours) = rounds[ROUNDS / 2];
        println!(
            "{name:24} {ours:>8.0} {empty:>8.0} {:>8.2} ({:.2}-{:.2})",
            ratio(ROUNDS / 2),
            ratio(0),
            ratio(ROUNDS - 1)
        );
    }
}

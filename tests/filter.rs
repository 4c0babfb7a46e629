//! Filters, sampling and limits on real drops: the kernel's verdict, the user space's and the one that a person would
//! give are the same, and what is left out is counted.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{
    Backend, By, Counters, DropEvent, EtherType, Filter, IpProtocol, Layer, Monitor, Prefix,
    backend::{Endpoints, Reason, Record, Time},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use support::{
    backends, drain,
    drops::flood,
    is_flood,
    libpcap::{Classic, LinkType},
    monotonic_ns,
    netns::NetNs,
    played::Played,
    random::{self, PORTS, Random, TRANSPORTS},
    tun::Tun,
};

/// Expressions that random filters take their tcpdump terms from.
const EXPRESSIONS: [&str; 13] = [
    "udp port 53",
    "host 10.0.0.1",
    "tcp[tcpflags] & tcp-syn != 0",
    "ip6 and not udp",
    "not portrange 22-80",
    "less 70",
    "ip[(ip[0] & 0xf) * 4 + 2 : 2] = 53",
    "net fd00::/64 or tcp port 22",
    "vlan and udp",
    "icmp or icmp6",
    "ip[len - 15] & 3 = 1",
    "1 << ip[9] > ip[8] % 7",
    "ether src host 02:00:00:00:00:02",
];

/// Marks of long and of short IP packets, once they are beyond netfilter's first hook.
const LONG_MARK: u32 = 0xf000_0012;
const SHORT_MARK: u32 = 0x5;

/// A filter as the test understands it.
#[derive(Clone, Debug)]
enum Spec {
    Reason(String),
    ReasonsLike(String),
    Subsystem(String),
    Symbol(String),
    SymbolsLike(String),
    Interface(String),
    Ifindex(u32),
    Netns(u32),
    Protocol(u16),
    Transport(u8),
    Address(Option<bool>, IpAddr, u8),
    Port(Option<bool>, u16, u16),
    /// The value, and the mask.
    Mark(u32, u32),
    MinLength(u32),
    Pcap(usize),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// libpcap's programs for the expressions: on Ethernet, and without a link-layer header.
type Programs = Vec<(Result<Classic, String>, Result<Classic, String>)>;

impl Spec {
    fn random(random: &mut Random, seen: &[DropEvent], depth: usize) -> Self {
        if depth > 0 && !random.one_in(3) {
            let several = |random: &mut Random| {
                let count = 2 + random.below(3);
                (0..count)
                    .map(|_| Self::random(random, seen, depth - 1))
                    .collect()
            };
            return match random.below(3) {
                0 => Self::Not(Box::new(Self::random(random, seen, depth - 1))),
                1 => Self::And(several(random)),
                _ => Self::Or(several(random)),
            };
        }
        let event = &seen[random.below(seen.len())];
        // Not on kernels without reasons.
        let reason = event.reason.as_ref().and_then(|reason| reason.name());
        let symbol = &event.location.symbol.as_ref().unwrap().name;
        let end = random.pick(&[None, Some(true), Some(false)]);
        match (random.below(16), reason) {
            (0, Some(reason)) => Self::Reason(reason.to_owned()),
            (1, Some(reason)) => Self::ReasonsLike(reason[..1 + random.below(4)].to_owned()),
            (2, Some(reason)) => match event
                .reason
                .as_ref()
                .unwrap()
                .subsystem()
                .and_then(|known| known.name.as_deref())
            {
                Some(name) => Self::Subsystem(name.to_owned()),
                None => Self::Reason(reason.to_owned()),
            },
            (3, _) => Self::Symbol(symbol.to_string()),
            (4, _) => Self::SymbolsLike(symbol[..symbol.len().min(4 + random.below(4))].to_owned()),
            (5, _) => Self::Interface(random.pick(&["left", "lo", "tunnel", "nothing"]).to_owned()),
            (6, _) => Self::Ifindex(event.ifindex.unwrap_or(1)),
            (7, _) => Self::Netns(event.netns.as_ref().map_or(1, |netns| netns.inode)),
            (8, _) => Self::Protocol(random.pick(&[0x0800, 0x86dd, 0x0806, 0x8100])),
            (9, _) => Self::Transport(random.pick(&TRANSPORTS)),
            (10 | 11, _) => {
                let endpoint = event.src.or(event.dst);
                let address = endpoint.map_or([10, 0, 0, 1].into(), |end| end.address);
                let most = if address.is_ipv4() { 32 } else { 128 };
                let length = random.pick(&[most, most, most - 1, most / 2, 17, 0]);
                Self::Address(end, first_of(address, length), length)
            }
            (12, _) => {
                let (a, b) = (random.pick(&PORTS), random.pick(&PORTS));
                Self::Port(
                    end,
                    a.min(b),
                    if random.one_in(2) { a.min(b) } else { a.max(b) },
                )
            }
            (13, _) => {
                let mask = random.pick(&[u32::MAX, 0xff, 0xf000_0000, 0x3, 0]);
                Self::Mark(random.pick(&[0, LONG_MARK, SHORT_MARK]) & mask, mask)
            }
            (14, _) => Self::MinLength(event.length.unwrap_or(60) + random.pick(&[0, 1])),
            _ => Self::Pcap(random.below(EXPRESSIONS.len())),
        }
    }

    fn filter(&self) -> Filter {
        let prefix = |address: IpAddr, length: u8| Prefix::new(address, length).unwrap();
        match self {
            Self::Reason(name) => Filter::reason(name),
            Self::ReasonsLike(start) => Filter::reason(format!("{start}*")),
            Self::Subsystem(name) => Filter::subsystem(name),
            Self::Symbol(name) => Filter::symbol(name),
            Self::SymbolsLike(start) => Filter::symbol(format!("{start}*")),
            Self::Interface(name) => Filter::interface(name),
            Self::Ifindex(index) => Filter::ifindex(*index),
            Self::Netns(inode) => Filter::netns(*inode),
            Self::Protocol(protocol) => Filter::protocol(EtherType(*protocol)),
            Self::Transport(protocol) => Filter::transport(IpProtocol(*protocol)),
            Self::Address(None, address, length) => Filter::address(prefix(*address, *length)),
            Self::Address(Some(true), address, length) => {
                Filter::src_address(prefix(*address, *length))
            }
            Self::Address(Some(false), address, length) => {
                Filter::dst_address(prefix(*address, *length))
            }
            Self::Port(None, first, last) => Filter::port(*first..=*last),
            Self::Port(Some(true), first, last) => Filter::src_port(*first..=*last),
            Self::Port(Some(false), first, last) => Filter::dst_port(*first..=*last),
            Self::Mark(value, u32::MAX) => Filter::mark(*value),
            Self::Mark(value, mask) => Filter::mark_masked(*value, *mask),
            Self::MinLength(bytes) => Filter::min_length(*bytes),
            Self::Pcap(n) => Filter::pcap(EXPRESSIONS[*n]).unwrap(),
            Self::Not(inner) => !inner.filter(),
            Self::And(all) => Filter::all_of(all.iter().map(Self::filter)),
            Self::Or(any) => Filter::any_of(any.iter().map(Self::filter)),
        }
    }

    fn holds(&self, event: &DropEvent, programs: &Programs) -> bool {
        let reason = event.reason.as_ref();
        let symbol = event.location.symbol.as_ref();
        let either = |which: Option<bool>, is: &dyn Fn(skbdrop::Endpoint) -> bool| {
            let (src, dst) = (event.src.is_some_and(is), event.dst.is_some_and(is));
            which.map_or(src || dst, |only_src| if only_src { src } else { dst })
        };
        match self {
            Self::Reason(name) => reason.is_some_and(|it| it.name() == Some(name)),
            Self::ReasonsLike(start) => {
                reason.is_some_and(|it| it.name().is_some_and(|name| name.starts_with(start)))
            }
            Self::Subsystem(name) => reason.is_some_and(|it| {
                it.subsystem()
                    .is_some_and(|known| known.name.as_deref() == Some(name))
            }),
            Self::Symbol(name) => symbol.is_some_and(|it| *it.name == **name),
            Self::SymbolsLike(start) => symbol.is_some_and(|it| it.name.starts_with(start)),
            // The test's own namespace is not the one of the drops.
            Self::Interface(name) => event.ifname.as_deref() == Some(name),
            Self::Ifindex(index) => event.ifindex == Some(*index),
            Self::Netns(inode) => event.netns.as_ref().is_some_and(|it| it.inode == *inode),
            Self::Protocol(protocol) => event.protocol.is_some_and(|it| it.0 == *protocol),
            Self::Transport(protocol) => event.transport.is_some_and(|it| it.0 == *protocol),
            Self::Address(which, address, length) => either(*which, &|end| {
                end.address.is_ipv4() == address.is_ipv4()
                    && first_of(end.address, *length) == *address
            }),
            Self::Port(which, first, last) => either(*which, &|end| {
                end.port
                    .is_some_and(|port| (*first..=*last).contains(&port))
            }),
            Self::Mark(value, mask) => event
                .metadata
                .as_ref()
                .is_some_and(|it| it.mark.unwrap() & mask == *value),
            Self::MinLength(bytes) => event.length.is_some_and(|length| length >= *bytes),
            Self::Pcap(n) => {
                let (ethernet, raw) = &programs[*n];
                let program = match event.packet.layer {
                    Layer::Ethernet => ethernet,
                    Layer::Network => raw,
                    _ => return false,
                };
                let (bytes, length) = (&event.packet.bytes, event.length.unwrap());
                program
                    .as_ref()
                    .is_ok_and(|program| program.accepts(bytes, length))
            }
            Self::Not(inner) => !inner.holds(event, programs),
            Self::And(all) => all.iter().all(|inner| inner.holds(event, programs)),
            Self::Or(any) => any.iter().any(|inner| inner.holds(event, programs)),
        }
    }
}

/// The first address with the same bits in front, bit by bit.
fn first_of(address: IpAddr, length: u8) -> IpAddr {
    let clear = |bytes: &mut [u8]| {
        for bit in usize::from(length)..bytes.len() * 8 {
            bytes[bit / 8] &= !(0x80 >> (bit % 8));
        }
    };
    match address {
        IpAddr::V4(address) => {
            let mut bytes = address.octets();
            clear(&mut bytes);
            bytes.into()
        }
        IpAddr::V6(address) => {
            let mut bytes = address.octets();
            clear(&mut bytes);
            bytes.into()
        }
    }
}

/// Two namespaces; what the one sends, the other mostly drops.
struct Wire {
    sender: NetNs,
    receiver: NetNs,
    tun: Arc<Tun>,
}

impl Wire {
    fn new() -> Self {
        let (sender, receiver) = (NetNs::new(), NetNs::new());
        sender.connect("out", &receiver, "left");
        receiver.command("ip link set left address 02:00:00:00:00:01");
        receiver.command("ip addr add 10.0.0.1/24 dev left");
        receiver.command("ip addr add fd00::1/64 dev left nodad");
        let tun = receiver.run(|| Arc::new(Tun::new("tunnel")));
        receiver.command("ip link set tunnel up");
        receiver.command("ip addr add 10.0.1.1/24 dev tunnel");
        receiver.command("nft add table inet marks");
        receiver.command(
            "nft add chain inet marks first '{ type filter hook prerouting priority 0; }'",
        );
        for (which, mark) in [("> 75", LONG_MARK), ("< 50", SHORT_MARK)] {
            receiver.command(&format!(
                "nft add rule inet marks first meta length {which} meta mark set {mark:#x}"
            ));
        }
        Self {
            sender,
            receiver,
            tun,
        }
    }

    /// Sends random packets, some by a device without a link-layer header.
    fn send(&self, random: &mut Random, count: usize) {
        let mut frames = Vec::new();
        for _ in 0..count {
            if random.one_in(4) {
                self.tun.send(&random::network(random).1);
            } else {
                let destination =
                    random.pick(&[[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 1], [2, 9, 0, 0, 0, 1]]);
                frames.push(random::ethernet(random, destination, [2, 0, 0, 0, 0, 2]).1);
            }
        }
        self.sender.run(move || {
            for frame in frames {
                support::frames::send("out", &frame);
            }
        });
    }
}

/// What there is now.
fn take_all(monitor: &mut Monitor) -> Vec<DropEvent> {
    let mut events = Vec::new();
    loop {
        let more = monitor.next_batch(10_000).unwrap();
        if more.is_empty() {
            return events;
        }
        events.extend(more);
    }
}

/// What tells one drop from another, whichever monitor saw it.
type Key = (u64, u64, Vec<u8>);

fn key(event: &DropEvent) -> Key {
    (
        event.skb_address.unwrap(),
        event.location.address.unwrap(),
        event.packet.bytes.to_vec(),
    )
}

fn counted<'a>(
    events: impl Iterator<Item = &'a DropEvent>,
    but: &HashSet<Key>,
) -> BTreeMap<Key, usize> {
    let mut counts = BTreeMap::new();
    for key in events.map(key).filter(|key| !but.contains(key)) {
        *counts.entry(key).or_insert(0) += 1;
    }
    counts
}

/// The user space's verdict on events, as numbers of those that pass.
fn user_space(filter: Filter, events: &[DropEvent]) -> BTreeSet<usize> {
    let all = events.to_vec();
    let source = Played::new(events.len(), move |n, sink| {
        let event = &all[n];
        let mut record = Record::new(Time::Monotonic(n as u64));
        record.reason = event
            .reason
            .as_ref()
            .and_then(|reason| reason.raw())
            .map(Reason::Number);
        record.location = event.location.address;
        record.protocol = event.protocol.map(|protocol| protocol.0);
        record.packet = &event.packet.bytes;
        record.layer = event.packet.layer;
        let end = |end: Option<skbdrop::Endpoint>| end.map(|end| (end.address, end.port));
        let endpoints: Endpoints = (
            end(event.src),
            end(event.dst),
            event.transport.map(|it| it.0),
        );
        record.endpoints = Some(endpoints);
        record.original_length = event.length;
        record.metadata = event.metadata;
        record.ifindex = event.ifindex;
        record.ifname = event.ifname.as_deref().map(str::as_bytes);
        record.netns = event.netns.as_ref().map(|netns| netns.inode);
        sink(&record);
    });
    let builder = Monitor::builder()
        .source(source)
        .symbols(false)
        .filter(filter);
    let mut monitor = builder.build().unwrap();
    monitor
        .iter()
        .map(|event| event.unwrap().timestamp_ns as usize)
        .collect()
}

#[test]
#[ignore = "needs root and tcpdump: cargo xtask test"]
fn kernel_user_space_and_people_agree() {
    const FILTERS: usize = 6;
    const FRAMES: usize = 150;
    let rounds = std::env::var("SKBDROP_FILTER_ROUNDS")
        .map_or(8, |rounds| rounds.parse().expect("a number"));
    let seed =
        std::env::var("SKBDROP_FILTER_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut random = Random::new(seed);
    let programs: Programs = EXPRESSIONS
        .iter()
        .map(|it| {
            (
                Classic::compile(it, LinkType::Ethernet, false),
                Classic::compile(it, LinkType::Raw, false),
            )
        })
        .collect();
    let wire = Wire::new();
    let open = |filter: Filter, symbols: bool| {
        let text = filter.to_string();
        let builder = Monitor::builder().backend(Backend::Ebpf).snap_len(256);
        let built = builder
            .buffer_size(16 << 20)
            .symbols(symbols)
            .filter(filter)
            .build();
        built.unwrap_or_else(|e| panic!("`{text}`: {e:#}"))
    };
    // Whatever else drops packets on the machine, by the million maybe, is not looked at.
    let here = Filter::netns(wire.receiver.inode);
    let mut whole = open(here.clone(), true);
    wire.send(&mut random, 600);
    std::thread::sleep(Duration::from_millis(50));
    let inode = wire.receiver.inode;
    let ours = |event: &DropEvent| {
        event
            .netns
            .as_ref()
            .is_some_and(|netns| netns.inode == inode)
    };
    let mut seen = take_all(&mut whole);
    let is_named = |reason: &skbdrop::DropReason| reason.name().is_some();
    seen.retain(|event| ours(event) && event.reason.as_ref().is_none_or(is_named));
    assert!(seen.len() > 50, "{}", seen.len());

    let (mut verdicts, mut passed, mut reasons) = (0, 0, BTreeSet::new());
    let mut layers = HashMap::new();
    let mut lost_before = whole.stats().unwrap().lost;
    let mut round = 0;
    for _ in 0..4 * rounds {
        if round == rounds {
            break;
        }
        let specs: Vec<Spec> = (0..FILTERS)
            .map(|_| Spec::random(&mut random, &seen, 3))
            .collect();
        // One of them asks for no more than the filter under test does.
        let mut monitors: Vec<Monitor> = specs
            .iter()
            .enumerate()
            .map(|(n, spec)| match n {
                0 => open(spec.filter(), false),
                _ => open(spec.filter() & here.clone(), false),
            })
            .collect();
        take_all(&mut whole);
        std::thread::sleep(Duration::from_millis(5));
        let start = monotonic_ns();
        wire.send(&mut random, FRAMES);
        std::thread::sleep(Duration::from_millis(20));
        let end = monotonic_ns();
        let within = |event: &&DropEvent| ours(event) && (start..end).contains(&event.timestamp_ns);
        let near = |at: u64, edge: u64| at.abs_diff(edge) < 2_000_000;
        let at_edge =
            |event: &&DropEvent| near(event.timestamp_ns, start) || near(event.timestamp_ns, end);

        let mut all = take_all(&mut whole);
        all.retain(&ours);
        let lost = whole.stats().unwrap().lost;
        if std::mem::replace(&mut lost_before, lost) != lost {
            continue;
        }
        round += 1;
        for (spec, monitor) in specs.iter().zip(&mut monitors) {
            let mut kernel = drain(monitor);
            let stats = monitor.stats().unwrap();
            if stats.lost > 0 {
                // It was flooded by others.
                continue;
            }
            assert_eq!(stats.received, kernel.len() as u64);
            kernel.retain(&ours);
            // What drops at the edges one monitor may have within and the other not.
            let but = all.iter().chain(&kernel).filter(at_edge).map(key).collect();
            let wanted = all.iter().filter(|event| spec.holds(event, &programs));
            let expected = counted(wanted.filter(within), &but);
            let text = spec.filter().to_string();
            let found = counted(kernel.iter().filter(within), &but);
            if found != expected {
                let differs = |event: &&DropEvent| {
                    within(event)
                        && found.get(&key(event)) != expected.get(&key(event))
                        && !but.contains(&key(event))
                };
                let first = all.iter().find(differs);
                panic!(
                    "round {round}, `{text}`: {} passed instead of {}, the first difference: {first:#?}",
                    found.len(),
                    expected.len()
                );
            }
            let numbers: BTreeSet<usize> = (0..all.len())
                .filter(|&n| spec.holds(&all[n], &programs))
                .collect();
            let passing = user_space(spec.filter(), &all);
            if let Some(first) = passing.symmetric_difference(&numbers).next() {
                panic!("`{text}` in user space: {:#?}", all[*first]);
            }
            let again: Filter = text.parse().unwrap();
            assert_eq!(again, spec.filter());
            verdicts += all.iter().filter(within).count();
            passed += found.values().sum::<usize>();
        }
        reasons.extend(
            all.iter()
                .filter(within)
                .filter_map(|event| Some(event.reason.as_ref()?.to_string())),
        );
        for event in all.iter().filter(within) {
            *layers
                .entry(format!("{:?}", event.packet.layer))
                .or_insert(0) += 1;
        }
    }
    println!(
        "{verdicts} verdicts of {} filters alike, {passed} passed; {layers:?}; {reasons:?}",
        rounds * FILTERS
    );
    assert!(
        verdicts > rounds * FILTERS * FRAMES / 4 && passed > verdicts / 20,
        "too few to tell"
    );
}

/// All drops that a monitor knows of.
fn total(monitor: &Monitor) -> u64 {
    let stats = monitor.stats().unwrap();
    stats.received + stats.lost + stats.filtered + stats.limited
}

/// Datagrams of a flood.
const FLOOD: usize = 5000;

/// Floods, and gives what the monitor told of it. Two others that leave nothing out see at least and at most what it
/// sees; floods until these saw the same number, however busy the machine is beside it.
fn flooded(
    backend: Backend,
    build: impl Fn(skbdrop::Builder) -> skbdrop::Builder,
) -> (u64, Monitor, Vec<DropEvent>) {
    for _ in 0..30 {
        let netns = NetNs::new();
        let builder = || Monitor::builder().backend(backend).buffer_size(16 << 20);
        let mut outer = builder().build().unwrap();
        let mut monitor = build(builder()).build().unwrap();
        let mut inner = builder().build().unwrap();
        let inode = netns.inode;
        netns.run(move || flood(FLOOD));
        inner.stop();
        monitor.stop();
        outer.stop();
        drain(&mut inner);
        let mut events = drain(&mut monitor);
        drain(&mut outer);
        let seen = total(&monitor);
        println!(
            "{}: {:?} of {FLOOD} and others'",
            backend.name(),
            monitor.stats().unwrap()
        );
        assert_eq!(monitor.stats().unwrap().received, events.len() as u64);
        assert!(total(&inner) >= FLOOD as u64);
        assert!((total(&inner)..=total(&outer)).contains(&seen));
        if total(&inner) == total(&outer) {
            events.retain(|event| is_flood(event, inode));
            return (seen, monitor, events);
        }
    }
    panic!("the machine dropped other packets in the same instants, each time");
}

#[test]
#[ignore = "needs root: cargo xtask test, cargo xtask kernels"]
fn what_a_filter_leaves_out_is_counted() {
    for backend in backends() {
        // Every backend can tell where. Reasons are left out here, for kernels without.
        let udp = Filter::symbol("*udp*") & Filter::protocol(EtherType::IPV4);
        let (_, monitor, events) = flooded(backend, |builder| builder.filter(!udp.clone()));
        assert_eq!(events.len(), 0);
        assert!(monitor.stats().unwrap().filtered > 0);
        let (seen, monitor, events) = flooded(backend, |builder| builder.filter(udp.clone()));
        let stats = monitor.stats().unwrap();
        assert!(
            events.len() as u64 + stats.lost >= FLOOD as u64,
            "{stats:?}"
        );
        assert!(stats.filtered <= seen - FLOOD as u64, "{stats:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test, cargo xtask kernels"]
fn counters_count_what_the_filter_wants() {
    let (wanted, other) = (NetNs::new(), NetNs::new());
    let inode = wanted.inode;
    let filter = Filter::netns(inode) & Filter::transport(IpProtocol::UDP);
    let mut counters = Counters::builder()
        .by([By::NetNs])
        .filter(filter)
        .build()
        .unwrap();
    for netns in [&wanted, &other] {
        netns.run(|| flood(FLOOD));
    }
    let counts = counters.snapshot().unwrap();
    // The answers to the datagrams come back to a socket of their own, and are no drops.
    assert_eq!(counts.kinds.len(), 1, "{counts:?}");
    let netns = counts.kinds[0].netns.as_ref();
    assert_eq!(netns.map(|netns| netns.inode), Some(inode));
    let drops = FLOOD as u64;
    let counted = counts.total().drops;
    assert!(
        (drops - counts.missed..=drops).contains(&counted),
        "{counts:?}"
    );
    assert!(counts.filtered + counts.missed >= drops, "{counts:?}");
    assert_eq!(counters.delta().unwrap().filtered, counts.filtered);
}

#[test]
#[ignore = "needs root: cargo xtask test, cargo xtask kernels"]
fn sampling_and_limits_count_the_rest() {
    for backend in backends() {
        let (seen, monitor, _) = flooded(backend, |builder| builder.sample(10));
        let stats = monitor.stats().unwrap();
        // Six standard deviations of what chance gives.
        let (passed, expected) = (stats.received + stats.lost, seen as f64 / 10.0);
        let off = (passed as f64 - expected).abs();
        assert!(
            stats.lost > 0 || off < 6.0 * (expected * 0.9).sqrt(),
            "{}: {stats:?}",
            backend.name()
        );
        let (_, _, events) = flooded(backend, |builder| builder.limit_rate(50));
        let mut seconds = HashMap::new();
        for event in &events {
            *seconds
                .entry(event.timestamp_ns / 1_000_000_000)
                .or_insert(0) += 1;
        }
        // The clock is read anew for the record: one of the last of a second may be in the next.
        assert!(
            seconds.values().all(|&drops| drops <= 51),
            "{}: {seconds:?}",
            backend.name()
        );
        assert!(events.len() >= 25, "{}: {seconds:?}", backend.name());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn losses_are_told_though_their_event_is_left_out() {
    let source = Played::new(10, |n, sink| {
        let mut record = Record::new(Time::Monotonic(n as u64));
        record.ifindex = Some(n as u32);
        record.lost_before = 1;
        sink(&record);
    });
    let filter = Filter::ifindex(4) | Filter::ifindex(9);
    let mut monitor = Monitor::builder()
        .source(source)
        .filter(filter)
        .build()
        .unwrap();
    let told: Vec<u64> = monitor
        .iter()
        .map(|event| event.unwrap().lost_before)
        .collect();
    assert_eq!(told, [5, 5]);
    assert_eq!(monitor.stats().unwrap().filtered, 8);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_empty_batch_tells_whether_there_is_more() {
    const LAST: u32 = 200_000;
    let source = Played::new(LAST as usize + 1, |n, sink| {
        let mut record = Record::new(Time::Monotonic(n as u64));
        record.ifindex = Some(n as u32);
        sink(&record);
    });
    let mut monitor = Monitor::builder()
        .source(source)
        .filter(Filter::ifindex(LAST))
        .build()
        .unwrap();
    let mut empty = 0;
    let batch = loop {
        let batch = monitor.next_batch(10).unwrap();
        if !batch.is_empty() {
            break batch;
        }
        assert!(monitor.has_more(), "after {empty}");
        empty += 1;
    };
    assert_eq!(batch.len(), 1);
    assert_eq!(empty, 3);
    assert!(monitor.next_batch(10).unwrap().is_empty());
    assert!(!monitor.has_more() && monitor.has_ended());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn names_that_the_kernel_does_not_have_are_errors() {
    for backend in backends().into_iter().chain([Backend::Auto]) {
        for (filter, near) in [
            ("reason NO_SOKET", "did you mean `NO_SOCKET`"),
            ("not (port 53 or reason tcp_csum)", "`TCP_CSUM`"),
            ("reason NOTHING_LIKE_THAT_*", "has a drop reason"),
            ("symbol tcp_v4_rvc", "`tcp_v4_rcv`"),
            ("subsystem OPENVSWICH", "did you mean `OPENVSWITCH`"),
        ] {
            let filter: Filter = filter.parse().unwrap();
            let error = Monitor::builder()
                .backend(backend)
                .filter(filter.clone())
                .build();
            let error = error.expect_err("no such name");
            assert_eq!(error.kind(), skbdrop::ErrorKind::InvalidInput, "{error:#}");
            assert!(
                error.to_string().contains(near),
                "{}: {error:#}",
                backend.name()
            );
        }
        let noise = Monitor::builder()
            .backend(backend)
            .filter(!Filter::noise())
            .build();
        noise.expect("reasons that are not there are no noise");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn terms_that_can_never_hold_are_limitations() {
    let limitations = |backend, filter: &str| {
        let monitor = Monitor::builder()
            .backend(backend)
            .filter(filter.parse().unwrap())
            .build()
            .unwrap();
        monitor
            .limitations()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let filter = "reason NO_SOCKET and not (port 53 or netns 1) and symbol *udp*";
    assert_eq!(limitations(Backend::Ebpf, filter), [""; 0]);
    let perf = limitations(Backend::Perf, filter);
    assert_eq!(perf.len(), 2, "{perf:?}");
    assert!(
        perf[0].starts_with("`port 53` in the filter holds never"),
        "{perf:?}"
    );
    assert_eq!(limitations(Backend::Ebpf, "interface lo"), [""; 0]);
    let misspelt = limitations(Backend::Ebpf, "interface l0");
    assert_eq!(misspelt.len(), 1, "{misspelt:?}");
    assert!(misspelt[0].contains("has the name `l0`"), "{misspelt:?}");
    assert!(misspelt[0].contains("`lo`"), "{misspelt:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn limits_of_nothing_are_refused() {
    for builder in [
        Monitor::builder().sample(0),
        Monitor::builder().limit_rate(0),
    ] {
        let error = builder.build().expect_err("nothing would come");
        assert_eq!(error.kind(), skbdrop::ErrorKind::InvalidInput);
    }
}

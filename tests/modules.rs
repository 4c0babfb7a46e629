//! Reasons that are not the core's: of modules that come and go, and of queues. What a backend has only a number
//! for must get the name that the kernel itself says to drop_monitor.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{Backend, BackendKind, DropEvent, DropReason, Monitor, Resolver, TcHandle};
use std::{
    collections::BTreeMap,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use support::{PATIENCE, backends, collect, netns::NetNs, openvswitch::Lane, run, wireless::Air};

fn monitors() -> Vec<Monitor> {
    backends()
        .iter()
        .map(|backend| Monitor::builder().backend(*backend).build().unwrap())
        .collect()
}

fn btf(module: &str) -> PathBuf {
    Path::new("/sys/kernel/btf").join(module)
}

/// Loads a module with what it needs. It must not be there, for names must come from this loading.
fn load(module: &str) {
    assert!(!btf(module).exists(), "{module} is loaded");
    run("modprobe", &[module]);
    assert!(btf(module).exists(), "{module} has no BTF");
}

/// Unloads a module, once the kernel has let go of what we made with it.
fn unload(module: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !Command::new("rmmod")
        .arg(module)
        .status()
        .unwrap()
        .success()
    {
        assert!(Instant::now() < deadline, "{module} is in use");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(!btf(module).exists());
}

/// Takes `count` drops of the lane, which must have their name.
fn take_named(monitor: &mut Monitor, count: usize) {
    let events = collect(monitor, count, Lane::dropped);
    for event in &events {
        let reason = event.reason.as_ref().unwrap();
        assert_eq!(reason.name(), Some("OVS_DROP_LAST_ACTION"), "{event:?}");
        assert_eq!(subsystem(reason), Some("OPENVSWITCH"), "{event:?}");
        // The place may be unknown when the module is gone, and is no neighbour's.
        let symbol = event.location.symbol.as_ref();
        let module = symbol.and_then(|symbol| symbol.module.as_deref());
        assert!(
            symbol.is_none() || module == Some("openvswitch"),
            "{event:?}"
        );
    }
    println!("{}: {}", monitor.backend().name(), events[0]);
}

/// Makes drops that wait in the queues and are read when nothing in the kernel tells their names any more.
fn take_named_when_gone(lane: Lane, monitors: &mut [Monitor]) {
    let waiting = 5;
    lane.send(waiting);
    drop(lane);
    unload("openvswitch");
    for monitor in monitors {
        take_named(monitor, waiting);
    }
}

fn subsystem(reason: &DropReason) -> Option<&str> {
    reason.subsystem()?.name.as_deref()
}

#[test]
#[ignore = "needs openvswitch with reasons (Linux 6.6), which it loads and unloads, and root: cargo xtask kernels"]
fn a_module_that_comes_after_the_start_is_named_also_when_it_is_gone() {
    let mut monitors = monitors();
    load("openvswitch");
    let lane = Lane::new();
    lane.send(1);
    for monitor in &mut monitors {
        take_named(monitor, 1);
    }
    take_named_when_gone(lane, &mut monitors);
}

#[test]
#[ignore = "needs openvswitch with reasons (Linux 6.6), which it loads and unloads, and root: cargo xtask kernels"]
fn a_module_that_goes_before_its_first_drop_is_read_is_named_by_a_resolver_that_read_it() {
    load("openvswitch");
    let lane = Lane::new();
    let with_modules = |backend: &Backend| {
        let mut resolver = Resolver::from_kernel().unwrap();
        assert!(resolver.refresh());
        let builder = Monitor::builder().backend(*backend);
        builder.resolver(resolver).build().unwrap()
    };
    let mut monitors: Vec<Monitor> = backends().iter().map(with_modules).collect();
    take_named_when_gone(lane, &mut monitors);
}

/// How often each reason was given.
fn counted(events: &[DropEvent]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        let reason = event.reason.as_ref().unwrap().to_string();
        *counts.entry(reason).or_insert(0) += 1;
    }
    counts
}

#[test]
#[ignore = "needs mac80211_hwsim with reasons (Linux 6.4), which it loads, and root: cargo xtask kernels"]
fn drops_of_mac80211_have_the_same_name_everywhere() {
    let mut monitors = monitors();
    load("mac80211_hwsim");
    let air = Air::new();
    let each = 3;
    for _ in 0..each {
        air.send_short_action();
        air.send_strange_action();
        air.send_strange_data();
    }
    let is_wireless = |event: &DropEvent| {
        let reason = event.reason.as_ref().unwrap();
        let of_mac80211 = subsystem(reason).is_some_and(|name| name.starts_with("MAC80211"));
        of_mac80211
            || reason
                .name()
                .is_some_and(|name| name.starts_with("RX_DROP"))
    };
    let seen: Vec<(BackendKind, BTreeMap<String, usize>)> = monitors
        .iter_mut()
        .map(|monitor| {
            let events = collect(monitor, 3 * each, is_wireless);
            println!("{}: {}", monitor.backend().name(), events[0]);
            (monitor.backend(), counted(&events))
        })
        .collect();
    let told = |kind| &seen.iter().find(|(it, _)| *it == kind).unwrap().1;
    // The one that the kernel gives its own words.
    let words = told(BackendKind::Netlink);
    println!("{words:?}");
    assert_eq!(words.get("RX_DROP_U_RUNT_ACTION"), Some(&each), "{words:?}");
    assert_eq!(
        words.get("RX_DROP_U_ACTION_UNKNOWN_SRC"),
        Some(&each),
        "{words:?}"
    );
    // Until 6.14 the number that a subsystem's begin with, and since 7.1 one of its own.
    let data = ["RX_DROP_MONITOR", "RX_DROP_U_SPURIOUS"];
    assert!(
        data.iter().any(|name| words.get(*name) == Some(&each)),
        "{words:?}"
    );
    for (kind, names) in &seen {
        assert_eq!(names, words, "{}", kind.name());
    }
}

/// Queues on the way out of an interface, one after the other, and packets that they cannot hold.
struct Queues {
    near: NetNs,
    _far: NetNs,
}

impl Queues {
    fn new() -> Self {
        let (near, far) = (NetNs::new(), NetNs::new());
        // Its own packets would be in the queues too.
        for netns in [&near, &far] {
            netns.sysctl("ipv6/conf/default/disable_ipv6", "1");
        }
        near.connect("out", &far, "in");
        near.command("ip addr add 10.9.0.1/24 dev out");
        near.command("ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev out");
        Self { near, _far: far }
    }

    /// Puts up these queues, the first outermost, sends packets, waits until the queues are empty, and gives how many
    /// packets the innermost says that it dropped.
    fn overflow(&self, queues: &[&str]) -> usize {
        for queue in queues {
            self.near.command(&format!("tc qdisc add dev out {queue}"));
        }
        self.near.run(|| {
            let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
            for _ in 0..12 {
                socket.send_to(&[0; 900], "10.9.0.2:9").unwrap();
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let dropped = loop {
            let said = self.statistics();
            if said
                .split("backlog ")
                .skip(1)
                .all(|rest| rest.starts_with("0b 0p"))
            {
                let last = said.split("(dropped ").last().unwrap();
                break last.split(',').next().unwrap().parse().unwrap();
            }
            assert!(Instant::now() < deadline, "{said}");
            thread::sleep(Duration::from_millis(50));
        };
        self.near.command("tc qdisc del dev out root");
        dropped
    }

    fn statistics(&self) -> String {
        let output = self.near.run(|| {
            let arguments = ["-s", "qdisc", "show", "dev", "out"];
            Command::new("tc").args(arguments).output().unwrap()
        });
        String::from_utf8(output.stdout).unwrap()
    }
}

/// How many drops of each discipline are told with it and its reason.
fn disciplines(events: &[DropEvent]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for qdisc in events.iter().filter_map(|event| event.qdisc.as_ref()) {
        // `tc` chose the numbers of those that were given none.
        assert_ne!(qdisc.handle, TcHandle(0));
        assert_eq!(qdisc.parent, TcHandle::ROOT);
        let what = format!("{} {}", qdisc.kind, qdisc.reason);
        *counts.entry(what).or_insert(0) += 1;
    }
    counts
}

/// What is to be told of the drops of queues that could not take what they were given. The inner one of two is not told, its
/// reason is.
fn outermost(given: [usize; 4]) -> BTreeMap<String, usize> {
    let told = [
        ("tbf QDISC_DROP_GENERIC", given[0]),
        ("netem QDISC_DROP_GENERIC", given[1] + given[2]),
        ("tbf QDISC_DROP_OVERLIMIT", given[3]),
    ];
    BTreeMap::from(told.map(|(what, count)| (what.to_owned(), count)))
}

/// Since 7.1 queues have reasons of their own. A queue that drops what it is given passes the core's on; one
/// that drops what it takes out, inside of one that cannot, its own.
#[test]
#[ignore = "needs the modules of queues and root: cargo xtask kernels"]
fn drops_of_queues_are_named() {
    let mut monitors = monitors();
    let queues = Queues::new();
    let given = [
        queues.overflow(&["root tbf rate 80kbit burst 1600 limit 3000"]),
        queues.overflow(&["root netem limit 2 delay 200ms"]),
        queues.overflow(&["root netem loss 100%"]),
        queues.overflow(&[
            "root handle 1: tbf rate 80kbit burst 1600 limit 300000",
            "parent 1:1 codel limit 1",
        ]),
    ];
    let taken = queues.overflow(&[
        "root handle 1: tbf rate 400kbit burst 1600 limit 300000",
        "parent 1:1 codel target 1ms interval 5ms",
    ]);
    println!("dropped: {given:?}, {taken}");
    assert!(
        given[0] > 0 && given[3] > 0 && taken > 0,
        "{given:?}, {taken}"
    );
    assert_eq!(given[1..3], [10, 12]);
    let has_own = monitors[0]
        .resolver()
        .subsystems()
        .any(|known| known.name.as_deref() == Some("QDISC"));
    for monitor in &mut monitors {
        // The subsystem's numbers have no words in the kernel, and drop_monitor says so.
        let own = match monitor.backend() {
            BackendKind::Ebpf | BackendKind::Perf if has_own => "QDISC_DROP_CONGESTED",
            _ => "NOT_SPECIFIED",
        };
        let sum = given.iter().sum();
        let is_codel = |event: &DropEvent| {
            let symbol = event.location.symbol.as_ref();
            symbol.is_some_and(|symbol| symbol.name.contains("codel"))
        };
        let events = collect(monitor, sum + taken, |event| {
            let reason = event.reason.as_ref().unwrap();
            reason.name() == Some("QDISC_DROP") || is_codel(event)
        });
        let last = events.iter().rev().find(|event| is_codel(event)).unwrap();
        println!("{}: {last}", monitor.backend().name());
        let expected = [("QDISC_DROP".to_owned(), sum), (own.to_owned(), taken)];
        assert_eq!(counted(&events), BTreeMap::from(expected));
        let expected = match monitor.backend() {
            BackendKind::Ebpf if has_own => outermost(given),
            _ => BTreeMap::new(),
        };
        assert_eq!(disciplines(&events), expected);
        let reason = last.reason.as_ref().unwrap();
        let expected = if own == "NOT_SPECIFIED" {
            "CORE"
        } else {
            "QDISC"
        };
        assert_eq!(subsystem(reason), Some(expected), "{last:?}");
    }
}

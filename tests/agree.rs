//! All backends watch the same drops at once, and must tell the same of each.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{Backend, BackendKind, DropEvent, Layer, Monitor};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};
use support::{
    backends, drain, drop_monitor,
    drops::Lab,
    dropwatch::{self, Alert, Dropwatch},
    monotonic_ns,
    openvswitch::Lane,
};

/// What every backend can say of a drop.
type Facts = (u64, Option<String>, Option<u16>);

fn facts(event: &DropEvent) -> Facts {
    (
        event.location.address.expect("every backend has it"),
        event.reason.as_ref().map(ToString::to_string),
        event.protocol.map(|protocol| protocol.0),
    )
}

/// How often each was seen, and how a person would name it.
fn counted<'a>(events: impl Iterator<Item = &'a DropEvent>) -> BTreeMap<Facts, (usize, String)> {
    let mut counts = BTreeMap::new();
    for event in events {
        let entry = counts
            .entry(facts(event))
            .or_insert((0, event.location.to_string()));
        entry.0 += 1;
    }
    counts
}

/// drop_monitor passes over packets without a MAC header (`net_dm_packet_trace_kfree_skb_hit`).
fn has_mac(event: &&DropEvent) -> bool {
    matches!(event.packet.layer, Layer::Ethernet | Layer::Link)
}

#[test]
#[ignore = "needs root: cargo xtask test, cargo xtask kernels"]
fn all_backends_tell_the_same_of_the_same_drops() {
    let backends = backends();
    assert!(backends.len() > 1, "{backends:?}");
    let lab = Lab::new();
    let mut monitors: Vec<Monitor> = backends
        .iter()
        .map(|backend| Monitor::builder().backend(*backend).build().unwrap())
        .collect();
    let start = monotonic_ns();
    let made = lab.make_all();
    let end = monotonic_ns();

    let seen: Vec<(BackendKind, Vec<DropEvent>)> = monitors
        .iter_mut()
        .map(|monitor| {
            let events = drain(monitor);
            assert_eq!(monitor.stats().unwrap().lost, 0);
            (monitor.backend(), events)
        })
        .collect();
    let of = |kind| {
        &seen
            .iter()
            .find(|(it, _)| *it == kind)
            .expect("ebpf is among them")
            .1
    };
    let within = |event: &&DropEvent| (start..=end).contains(&event.timestamp_ns);
    let ours = of(BackendKind::Ebpf);

    for (kind, theirs) in &seen {
        let expected = match kind {
            BackendKind::Netlink => counted(ours.iter().filter(within).filter(has_mac)),
            _ => counted(ours.iter().filter(within)),
        };
        assert_eq!(
            counted(theirs.iter().filter(within)),
            expected,
            "{}",
            kind.name()
        );
    }

    let sum: usize = made.iter().map(|made| made.count).sum();
    let dropped = ours.iter().filter(within).count();
    assert!(dropped >= sum, "{dropped} of {sum} drops");
    let reasons: BTreeSet<String> = ours
        .iter()
        .filter(within)
        .filter_map(|event| Some(event.reason.as_ref()?.to_string()))
        .collect();
    let names: Vec<&str> = seen.iter().map(|(kind, _)| kind.name()).collect();
    println!(
        "{dropped} drops of {} reasons told alike by {names:?}: {reasons:?}",
        reasons.len()
    );
    // A kernel without reasons has none, the first with them had few.
    let known = monitors[0].resolver().reasons().count();
    assert!(
        if known == 0 {
            reasons.is_empty()
        } else {
            reasons.len() >= 5
        },
        "{reasons:?}"
    );
}

/// What dropwatch prints of a drop, by the names that it gives, but for the time.
type Lines = BTreeMap<String, String>;

/// The kernel cuts a symbol's text to this length (`NET_DM_MAX_SYMBOL_LEN`, less a NUL).
const MAX_SYMBOL_LEN: usize = 39;
/// The eBPF program and drop_monitor look at the clock one after the other.
const BETWEEN: Duration = Duration::from_millis(10);
/// No guest is stopped for longer.
const AT_MOST: Duration = Duration::from_secs(5);

fn printed(alert: Alert<'_>) -> Lines {
    let Some((symbol, address)) = alert.place().rsplit_once(" (") else {
        panic!("{alert:?}");
    };
    // After it come the function's length and the module, if that was not cut off.
    let symbol = symbol.split('/').next().unwrap().to_owned();
    let mut lines = Lines::from([
        ("symbol".to_owned(), symbol),
        (
            "address".to_owned(),
            address.trim_end_matches(')').to_owned(),
        ),
    ]);
    let others = alert.lines().filter(|(name, _)| *name != "timestamp");
    lines.extend(others.map(|(name, value)| (name.to_owned(), value.to_owned())));
    lines
}

/// What it should print of this.
fn to_print(event: &DropEvent) -> Lines {
    let symbol = event.location.symbol.as_ref().unwrap();
    let mut symbol = format!("{}+{:#x}", symbol.name, symbol.offset);
    symbol.truncate(MAX_SYMBOL_LEN);
    let reason = event.reason.as_ref().map(ToString::to_string);
    let iif = event.iif.map(|index| index.to_string());
    let lines = [
        ("symbol", Some(symbol)),
        (
            "address",
            Some(format!("{:#x}", event.location.address.unwrap())),
        ),
        ("origin", Some("software".to_owned())),
        ("input port ifindex", iif),
        (
            "protocol",
            Some(format!("{:#x}", event.protocol.unwrap().0)),
        ),
        ("length", Some(event.packet.bytes.len().to_string())),
        ("original length", Some(event.length.unwrap().to_string())),
        ("drop reason", reason),
    ];
    let told = lines.into_iter();
    told.filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// Whatever dropwatch prints of a packet is in the event, also the time. It has switched drop_monitor on, and our
/// monitor of it listens beside.
#[test]
#[ignore = "needs drop_monitor, dropwatch and root: cargo xtask kernels"]
fn dropwatch_prints_the_same_drops() {
    /// dropwatch has a small receive buffer, which a slow machine overruns.
    const TIMES: usize = 5;
    let compared = (0..TIMES).any(|_| dropwatch_compared());
    assert!(compared, "dropwatch lost drops {TIMES} times");
}

/// Whether it could be: not if dropwatch itself lost drops.
fn dropwatch_compared() -> bool {
    let lab = Lab::new();
    drop_monitor::reset();
    let dropwatch = Dropwatch::start(&[]);
    let mut monitors = [Backend::Ebpf, Backend::Netlink].map(|backend| {
        let builder = Monitor::builder().backend(backend);
        // As much of each packet as it asks for: all.
        builder.snap_len(1024).build().unwrap()
    });
    let (start, began) = (monotonic_ns(), SystemTime::now());
    lab.make_one_of_each_protocol();
    lab.make_all();
    let (end, took) = (monotonic_ns(), began.elapsed().unwrap());
    let told = monitors.each_mut().map(drain);
    drop_monitor::wait_until_read();
    let text = dropwatch.stop();
    drop_monitor::reset();
    if text.contains("No buffer space available") {
        return false;
    }

    // The day may have changed meanwhile.
    let since = |time_of_day: Duration| {
        let began = began.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let nanos = time_of_day.as_nanos() + DAY - began.as_nanos() % DAY;
        Duration::from_nanos((nanos % DAY) as u64)
    };
    let mut theirs: Vec<(Lines, Duration)> = dropwatch::alerts(&text)
        .map(|alert| (printed(alert), since(alert.time_of_day())))
        .filter(|(_, since)| *since <= took)
        .collect();
    theirs.sort();
    assert!(theirs.len() >= 20, "{theirs:#?}");
    for (monitor, events) in monitors.iter().zip(&told) {
        assert_eq!(monitor.stats().unwrap().lost, 0);
        let mut ours: Vec<(Lines, Duration)> = events
            .iter()
            .filter(|event| (start..=end).contains(&event.timestamp_ns))
            .filter(has_mac)
            .map(|event| {
                let since = event.wall_time.duration_since(began);
                (to_print(event), since.unwrap_or_default())
            })
            .collect();
        ours.sort();
        let lines = |all: &[(Lines, Duration)]| -> Vec<Lines> {
            all.iter().map(|(lines, _)| lines.clone()).collect()
        };
        let name = monitor.backend().name();
        assert_eq!(lines(&ours), lines(&theirs), "{name}");
        let pairs = ours.iter().zip(&theirs);
        let apart = pairs.map(|((lines, ours), (_, theirs))| (ours.abs_diff(*theirs), lines));
        let mut apart: Vec<(Duration, &Lines)> = apart.collect();
        apart.sort();
        // The same stamp, or one beside it: between these a guest's processor may be taken away now and then, for as long as
        // its host likes.
        let (place, most) = match monitor.backend() {
            BackendKind::Netlink => (apart.len() - 1, Duration::ZERO),
            _ => (apart.len() * 9 / 10, BETWEEN),
        };
        let (longest, lines) = apart[place];
        assert!(longest <= most, "{name}, {longest:?} apart: {lines:?}");
        let farthest = apart[apart.len() - 1].0;
        assert!(farthest <= AT_MOST, "{name}, {farthest:?} apart");
        println!("{name}: {longest:?} apart");
    }
    // All kinds but the one that is dropped on its way out, and the reasons where the kernel has them.
    let with_reason = theirs
        .iter()
        .filter(|(lines, _)| lines.contains_key("drop reason"))
        .count();
    let reasons = monitors[0].resolver().reasons().count();
    assert_eq!(with_reason, if reasons == 0 { 0 } else { theirs.len() });
    let protocols: BTreeSet<&str> = theirs
        .iter()
        .map(|(lines, _)| &*lines["protocol"])
        .collect();
    for protocol in ["0x800", "0x806", "0x86dd"] {
        assert!(protocols.contains(protocol), "{protocols:?}");
    }
    println!(
        "{} drops told as dropwatch prints them, {with_reason} with a reason",
        theirs.len()
    );
    true
}

/// In nanoseconds.
const DAY: u128 = 86_400_000_000_000;

/// A reason of a subsystem's own, in a module of its own: all backends must name it alike, two by its number and
/// one by the kernel's word.
#[test]
#[ignore = "needs openvswitch with reasons (Linux 6.6) and root: cargo xtask kernels"]
fn drops_of_openvswitch_have_the_same_name_everywhere() {
    let mut monitors: Vec<Monitor> = backends()
        .iter()
        .map(|backend| Monitor::builder().backend(*backend).build().unwrap())
        .collect();
    let lane = Lane::new();
    let sent = 5;
    lane.send(sent);
    for monitor in &mut monitors {
        let events = support::collect(monitor, sent, Lane::dropped);
        for event in &events {
            let reason = event.reason.as_ref().unwrap();
            assert_eq!(reason.name(), Some("OVS_DROP_LAST_ACTION"), "{event}");
            assert_eq!(
                reason.subsystem().and_then(|known| known.name.as_deref()),
                Some("OPENVSWITCH"),
                "{event:?}"
            );
        }
        println!("{}: {}", monitor.backend().name(), events[0]);
    }
}

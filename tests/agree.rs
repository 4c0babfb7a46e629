//! All backends watch the same drops at once, and must tell the same of each.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{Backend, BackendKind, DropEvent, Layer, Monitor};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
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

/// What dropwatch prints of a drop: symbol with offset and address, reason, protocol.
type Line = (String, String, Option<String>, String);

/// The kernel cuts a symbol's text to this length (`NET_DM_MAX_SYMBOL_LEN`, less a NUL).
const MAX_SYMBOL_LEN: usize = 39;

fn printed(alert: Alert<'_>) -> Line {
    let Some((symbol, address)) = alert.place().rsplit_once(" (") else {
        panic!("{alert:?}");
    };
    assert_eq!(alert.value("origin"), Some("software"));
    (
        // After it comes the function's length, if that was not cut off.
        symbol.split('/').next().unwrap().to_owned(),
        address.trim_end_matches(')').to_owned(),
        alert.value("drop reason").map(str::to_owned),
        alert.value("protocol").unwrap().to_owned(),
    )
}

/// What it should print of this.
fn to_print(event: &DropEvent) -> Line {
    let symbol = event.location.symbol.as_ref().unwrap();
    let mut symbol = format!("{}+{:#x}", symbol.name, symbol.offset);
    symbol.truncate(MAX_SYMBOL_LEN);
    (
        symbol,
        format!("{:#x}", event.location.address.unwrap()),
        event.reason.as_ref().map(ToString::to_string),
        format!("{:#x}", event.protocol.unwrap().0),
    )
}

/// It has switched drop_monitor on, and our monitor of it listens beside.
#[test]
#[ignore = "needs drop_monitor, dropwatch and root: cargo xtask kernels"]
fn dropwatch_prints_the_same_drops() {
    let lab = Lab::new();
    drop_monitor::reset();
    let dropwatch = Dropwatch::start(&[]);
    let mut monitors = [Backend::Ebpf, Backend::Netlink]
        .map(|backend| Monitor::builder().backend(backend).build().unwrap());
    let (start, began) = (monotonic_ns(), SystemTime::now());
    lab.make_all();
    let (end, took) = (monotonic_ns(), began.elapsed().unwrap());
    let told = monitors.each_mut().map(drain);
    drop_monitor::wait_until_read();
    let text = dropwatch.stop();
    drop_monitor::reset();

    const DAY: u128 = 86_400_000_000_000;
    let began = began.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let began = began.as_nanos() % DAY;
    let within = |alert: &Alert<'_>| {
        // The day may have changed meanwhile.
        let since = (alert.time_of_day().as_nanos() + DAY - began) % DAY;
        since <= took.as_nanos()
    };
    let mut theirs: Vec<Line> = dropwatch::alerts(&text)
        .filter(within)
        .map(printed)
        .collect();
    theirs.sort();
    for (monitor, events) in monitors.iter().zip(&told) {
        assert_eq!(monitor.stats().unwrap().lost, 0);
        let mut ours: Vec<Line> = events
            .iter()
            .filter(|event| (start..=end).contains(&event.timestamp_ns))
            .filter(has_mac)
            .map(to_print)
            .collect();
        ours.sort();
        assert_eq!(ours, theirs, "{}", monitor.backend().name());
    }
    // All kinds but the one that is dropped on its way out, and the reasons where the kernel has them.
    let with_reason = theirs.iter().filter(|line| line.2.is_some()).count();
    let reasons = monitors[0].resolver().reasons().count();
    assert!(theirs.len() >= 15, "{theirs:?}");
    assert_eq!(with_reason, if reasons == 0 { 0 } else { theirs.len() });
    println!(
        "{} drops told as dropwatch prints them, {with_reason} with a reason",
        theirs.len()
    );
}

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

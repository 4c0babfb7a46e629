//! All backends watch the same drops at once, and must tell the same of each.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{BackendKind, DropEvent, Layer, Monitor};
use std::collections::{BTreeMap, BTreeSet};
use support::{backends, drain, drops::Lab, monotonic_ns, openvswitch::Lane};

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
        // drop_monitor passes over packets without a MAC header (`net_dm_packet_trace_kfree_skb_hit`).
        let has_mac =
            |event: &&DropEvent| matches!(event.packet.layer, Layer::Ethernet | Layer::Link);
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

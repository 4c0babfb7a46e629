//! Counting in the kernel: every drop is in one count, or in the overflow.
#![allow(clippy::unwrap_used)] // tests panic

use futures::StreamExt as _;
use skbdrop::{By, Count, Counters, CountersBuilder, Counts, ErrorKind, Tally};
use std::time::{Duration, Instant};
use support::{
    drops::{Lab, flood},
    flood_size,
    netns::NetNs,
    receives_udp,
};

/// By everything that can be told, so that the flood of a namespace is told from other drops of the machine.
fn by_all() -> CountersBuilder {
    Counters::builder().by([
        By::Reason,
        By::Location,
        By::Interface,
        By::NetNs,
        By::Protocol,
    ])
}

/// Drops and bytes of the datagrams of a flood in a namespace.
fn flood_of(counts: &Counts, inode: u32) -> (u64, u64) {
    let of_flood = |count: &&Count| {
        let reason = count.reason.as_ref();
        count
            .netns
            .as_ref()
            .is_some_and(|netns| netns.inode == inode)
            && reason.is_none_or(|reason| reason.name() == Some("NO_SOCKET"))
            && count.protocol.is_some_and(|protocol| protocol.0 == 0x0800)
    };
    let mut sum = (0, 0);
    for count in counts.kinds.iter().filter(of_flood) {
        sum.0 += count.tally.drops;
        sum.1 += count.tally.bytes;
    }
    sum
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn counts_are_exact_on_two_cpus() {
    let netns = [NetNs::new(), NetNs::new()];
    let inodes = netns.each_ref().map(|netns| netns.inode);
    let mut counters = by_all().build().unwrap();
    let flooding =
        netns.map(|netns| std::thread::spawn(move || netns.run(|| flood(flood_size() / 2))));
    // Readings meanwhile disturb nothing.
    let mut deltas = [(0, 0); 2];
    let mut add = |counts: &Counts| {
        for (sum, inode) in deltas.iter_mut().zip(inodes) {
            let (drops, bytes) = flood_of(counts, inode);
            *sum = (sum.0 + drops, sum.1 + bytes);
        }
    };
    while !flooding.iter().all(|thread| thread.is_finished()) {
        add(&counters.delta().unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    for flooding in flooding {
        flooding.join().unwrap();
    }
    add(&counters.delta().unwrap());
    let counts = counters.snapshot().unwrap();
    assert_eq!(counts.overflow.drops, 0);
    let generated = (flood_size() / 2) as u64;
    // On a slow machine the loopback's backlog overflows, before the packet is in a namespace.
    let on_the_way: u64 = counts
        .kinds
        .iter()
        .filter(|kind| kind.netns.is_none())
        .map(|kind| kind.tally.drops)
        .sum();
    let elsewhere = counts.missed + on_the_way;
    for (inode, delta) in inodes.into_iter().zip(deltas) {
        let (drops, bytes) = flood_of(&counts, inode);
        assert_eq!((drops, bytes), delta, "the deltas' sum is the snapshot");
        assert!(drops + elsewhere >= generated, "{drops}: {counts:?}");
        assert!(drops <= generated, "{drops} of {generated}");
        if elsewhere == 0 {
            assert_eq!(drops, generated);
        }
        // 32 bytes, and the header of UDP: the kernel had taken off what comes before.
        assert!(bytes % drops == 0 && bytes / drops >= 32 + 8, "{bytes}");
    }
    let first = &counts.kinds[0];
    let line = first.to_string();
    let location = first.location.as_ref().unwrap();
    let symbol = location.symbol.as_ref().unwrap();
    assert!(receives_udp(symbol), "{first:?}");
    assert!(
        line.contains(" drops, ") && line.contains(&location.to_string()),
        "{line}"
    );
    assert_eq!(first.ifindex, Some(1), "{first:?}");
    // A line for each kind, the most frequent first.
    let drops: Vec<u64> = counts.kinds.iter().map(|count| count.tally.drops).collect();
    assert!(drops.is_sorted_by(|a, b| a >= b));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn kinds_without_room_are_counted_together() {
    let lab = Lab::new();
    let by = [By::Reason, By::Protocol, By::NetNs];
    let few = Counters::builder().by(by).max_kinds(2).build();
    let (mut few, mut all) = (few.unwrap(), Counters::builder().by(by).build().unwrap());
    let made: usize = lab.make_all().iter().map(|made| made.count).sum();
    // In this order: whatever the machine drops meanwhile, the one with little room has seen more.
    let (all, few) = (all.snapshot().unwrap(), few.snapshot().unwrap());
    assert_eq!(few.kinds.len(), 2, "{few:?}");
    assert_eq!(all.overflow.drops, 0);
    assert!(all.total().drops + all.missed >= made as u64, "{all:?}");
    assert!(few.total().drops + few.missed >= all.total().drops);
    let has_room = |kind: &&Count| {
        few.kinds.iter().any(|few| {
            (&few.reason, few.protocol, &few.netns) == (&kind.reason, kind.protocol, &kind.netns)
        })
    };
    let no_room: Vec<_> = all.kinds.iter().filter(|kind| !has_room(kind)).collect();
    // Kernels without reasons tell fewer kinds apart.
    assert!(!no_room.is_empty(), "{all:?}");
    let drops: u64 = no_room.iter().map(|kind| kind.tally.drops).sum();
    let bytes: u64 = no_room.iter().map(|kind| kind.tally.bytes).sum();
    let Tally {
        drops: over,
        bytes: over_bytes,
        ..
    } = few.overflow;
    assert!(over + few.missed >= drops, "{few:?}\n{all:?}");
    assert!(few.missed > 0 || over_bytes >= bytes, "{few:?}\n{all:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn kinds_are_what_was_chosen() {
    let netns = NetNs::new();
    let mut none = Counters::builder().by([]).build().unwrap();
    let mut spaces = Counters::builder().by([By::NetNs]).build().unwrap();
    netns.run(|| flood(100));
    let none = none.snapshot().unwrap();
    assert_eq!(none.kinds.len(), 1);
    assert!(none.total().drops >= 100);
    let counts = spaces.snapshot().unwrap();
    let ours = counts.kinds.iter().find(|count| {
        count
            .netns
            .as_ref()
            .is_some_and(|it| it.inode == netns.inode)
    });
    let ours = ours.unwrap();
    assert_eq!(ours.tally.drops, 100, "{counts:?}");
    assert_eq!(
        (&ours.reason, &ours.location, ours.ifindex, ours.protocol),
        (&None, &None, None, None)
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn both_programs_count_the_same() {
    // With types from a file it is the program that serves older kernels.
    let netns = NetNs::new();
    let mut direct = by_all().build().unwrap();
    let mut probing = by_all()
        .btf_file("/sys/kernel/btf/vmlinux")
        .build()
        .unwrap();
    netns.run(|| flood(1000));
    let of_netns = |counts: Counts| {
        let mut kinds = counts.kinds;
        kinds.retain(|count| {
            count
                .netns
                .as_ref()
                .is_some_and(|it| it.inode == netns.inode)
        });
        kinds
    };
    let direct = of_netns(direct.snapshot().unwrap());
    assert_eq!(direct, of_netns(probing.snapshot().unwrap()));
    assert_eq!(direct[0].tally.drops, 1000);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_stream_of_intervals() {
    let netns = NetNs::new();
    let inode = netns.inode;
    let counting = async move {
        // To read the symbols takes its time, once.
        let counters = by_all().symbols(false).build().unwrap();
        let mut intervals = counters.intervals(Duration::from_millis(50)).unwrap();
        let flooding = std::thread::spawn(move || {
            for _ in 0..10 {
                netns.run(|| flood(100));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let (mut drops, mut readings) = (0, 0);
        while drops < 1000 {
            let counts = intervals.next().await.unwrap().unwrap();
            drops += flood_of(&counts, inode).0 + counts.missed;
            readings += 1;
        }
        flooding.join().unwrap();
        assert!(readings >= 2, "{readings}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(counting);
    // The same without tokio.
    let counters = Counters::builder().build().unwrap();
    let mut intervals = counters.intervals(Duration::from_millis(10)).unwrap();
    let start = Instant::now();
    futures::executor::block_on(async {
        for _ in 0..3 {
            intervals.next().await.unwrap().unwrap();
        }
    });
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_interval_is_refused() {
    let counters = Counters::builder().build().unwrap();
    let error = counters.intervals(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn numbers_of_kinds_that_nobody_means_are_refused() {
    for kinds in [0, u32::MAX] {
        let error = Counters::builder().max_kinds(kinds).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

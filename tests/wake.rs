//! When a backend wakes its reader: at once while drops are rare, for many together under load, never while
//! there are none.
#![allow(clippy::unwrap_used)] // tests panic

use futures::StreamExt as _;
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    thread::{CpuSet, gettid, sched_getaffinity},
};
use skbdrop::{Backend, Builder, ErrorKind, Monitor};
use std::{
    os::fd::AsFd as _,
    time::{Duration, Instant},
};
use support::{
    drops::{flood, pin},
    flood_size, is_flood, monotonic_ns,
    netns::NetNs,
};

/// Each backend.
fn each(test: impl Fn(Builder)) {
    each_but(&[], test);
}

/// Each backend but these. Without symbols: to read them takes its time, once.
fn each_but(others: &[Backend], test: impl Fn(Builder)) {
    for backend in support::backends() {
        if !others.contains(&backend) {
            println!("{}:", backend.name());
            test(Monitor::builder().backend(backend).symbols(false));
        }
    }
}

/// Waits on the monitor's descriptor; says whether it became readable.
fn readable(monitor: &Monitor, timeout: Duration) -> bool {
    let timeout = Timespec::try_from(timeout).unwrap();
    let mut fds = [PollFd::from_borrowed_fd(monitor.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).unwrap() == 1
}

/// How often the calling thread gave up its CPU to wait.
fn sleeps() -> u64 {
    let path = format!("/proc/self/task/{}/status", gettid());
    let status = std::fs::read_to_string(path).unwrap();
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

/// Nanoseconds that the calling thread has run.
fn cpu_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// One drop.
fn drop_one(netns: &NetNs) {
    netns.run(|| flood(1));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_drop_after_silence_comes_at_once() {
    each(|builder| {
        let netns = NetNs::new();
        // So long that a drop which waits for it is seen to.
        let latency = Duration::from_millis(50);
        let mut monitor = builder.max_latency(latency).build().unwrap();
        let mut delays = Vec::new();
        for _ in 0..200 {
            std::thread::sleep(latency / 5);
            // Others' drops on this machine are no silence.
            let silent = monitor
                .next_timeout(latency + Duration::from_millis(5))
                .unwrap();
            if silent.is_some() {
                continue;
            }
            let (sender, inode) = (&netns, netns.inode);
            let delay = std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(2));
                    drop_one(sender);
                });
                let event = support::collect(&mut monitor, 1, |event| is_flood(event, inode));
                monotonic_ns() - event[0].timestamp_ns
            });
            delays.push(Duration::from_nanos(delay));
            if delays.len() == 50 {
                break;
            }
        }
        delays.sort_unstable();
        assert!(delays.len() >= 10, "the machine drops packets all the time");
        let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
        println!("delay: median {:?}, 99 % {:?}", at(50), at(99));
        // Bounds that a machine under load keeps, far from the latency.
        assert!(at(50) < latency / 10, "{delays:?}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn under_load_many_drops_come_by_one_wake_up() {
    each(|builder| {
        let netns = NetNs::new();
        let inode = netns.inode;
        let mut monitor = builder.build().unwrap();
        let flooding = std::thread::spawn(move || netns.run(|| flood(flood_size())));
        let (start, before) = (Instant::now(), sleeps());
        let mut seen = 0;
        while !flooding.is_finished() {
            let event = monitor.next_timeout(Duration::from_millis(100)).unwrap();
            seen += usize::from(event.is_some_and(|event| is_flood(&event, inode)));
        }
        let (slept, took) = (sleeps() - before, start.elapsed());
        flooding.join().unwrap();
        let left = support::drain(&mut monitor);
        seen += left.iter().filter(|event| is_flood(event, inode)).count();
        let lost = monitor.stats().unwrap().lost;
        println!("{seen} drops in {took:?}, {lost} lost, {slept} wake-ups");
        // One in 10 ms, as many again for pauses of the flood, and some for the mark.
        assert!(
            slept < 20 + took.as_millis() as u64 / 4,
            "{slept} in {took:?}"
        );
        assert!(seen + lost as usize >= flood_size());
        // A machine under load may keep the reader from its CPU for long; nearly all come in any case.
        assert!(seen > flood_size() / 2, "{seen} seen");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_drop_waits_longer_than_the_latency() {
    each(|builder| {
        let netns = NetNs::new();
        let inode = netns.inode;
        let latency = Duration::from_millis(20);
        let mut monitor = builder.max_latency(latency).build().unwrap();
        let sending = std::thread::spawn(move || {
            for n in 0..300_u64 {
                drop_one(&netns);
                std::thread::sleep(Duration::from_micros(n * 37 % 5000));
            }
        });
        let mut late = 0;
        let mut seen = 0;
        while seen < 300 {
            let event = monitor.next_timeout(support::PATIENCE).unwrap().unwrap();
            let delay = monotonic_ns() - event.timestamp_ns;
            if is_flood(&event, inode) {
                seen += 1;
                // A machine under load keeps the reader from its CPU now and then.
                late += u64::from(delay > latency.as_nanos() as u64 + 10_000_000);
            }
        }
        sending.join().unwrap();
        assert!(late <= 15, "{late} of {seen} came later than {latency:?}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_drops_nobody_wakes() {
    // The netlink backend looks now and then whether drop_monitor is still on.
    each_but(&[Backend::Netlink], |builder| {
        let netns = NetNs::new();
        let mut monitor = builder.build().unwrap();
        // Load, and then silence.
        netns.run(|| flood(1000));
        let events = support::collect(&mut monitor, 1000, |event| is_flood(event, netns.inode));
        assert_eq!(events.len(), 1000);
        // Others' drops on this machine may come between: the first ends the sleep, so it has to be long enough.
        let quiet = (0..20).any(|_| {
            while monitor
                .next_timeout(Duration::from_millis(50))
                .unwrap()
                .is_some()
            {}
            let (start, slept, ran) = (Instant::now(), sleeps(), cpu_ns());
            monitor.next_timeout(Duration::from_millis(700)).unwrap();
            let (took, ran, slept) = (start.elapsed(), cpu_ns() - ran, sleeps() - slept);
            println!("{slept} sleeps in {took:?}, {ran} ns");
            took > Duration::from_millis(200) && slept == 1 && ran < 1_000_000
        });
        assert!(quiet, "the reader does not sleep through");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_descriptor_stays_readable_until_nothing_is_found() {
    each(|builder| {
        let netns = NetNs::new();
        let mut monitor = builder.build().unwrap();
        netns.run(|| flood(1000));
        let mut seen = 0;
        // One at a time, and each time it waits first: an event loop that takes one event for each readiness.
        while seen < 1000 {
            assert!(readable(&monitor, support::PATIENCE), "after {seen}");
            let batch = monitor.next_batch(1).unwrap();
            seen += batch
                .iter()
                .filter(|event| is_flood(event, netns.inode))
                .count();
        }
        // The same where it looks by itself, without having been woken.
        for _ in 0..20 {
            while !monitor.next_batch(1000).unwrap().is_empty() {}
            netns.run(|| flood(600));
            let mut seen = monitor.next_batch(1).unwrap().len();
            while seen < 600 {
                assert!(readable(&monitor, support::PATIENCE), "after {seen}");
                let batch = monitor.next_batch(7).unwrap();
                seen += batch
                    .iter()
                    .filter(|event| is_flood(event, netns.inode))
                    .count();
            }
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_event_loop_by_edge_misses_nothing() {
    each(|builder| {
        let netns = NetNs::new();
        let inode = netns.inode;
        let mut monitor = builder.build().unwrap();
        let waiting = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&waiting, &monitor, epoll::EventData::new_u64(0), flags).unwrap();
        let sending = std::thread::spawn(move || {
            for n in 0..200_u64 {
                netns.run(move || flood(n as usize % 40 + 1));
                std::thread::sleep(Duration::from_micros(n * 131 % 15_000));
            }
        });
        let total: usize = (0..200).map(|n| n % 40 + 1).sum();
        let mut seen = 0;
        let timeout = Timespec::try_from(support::PATIENCE).unwrap();
        while seen < total {
            let mut events = Vec::with_capacity(1);
            let buffer = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&waiting, buffer, Some(&timeout)).unwrap();
            assert_eq!(events.len(), 1, "{seen} of {total} came");
            loop {
                let batch = monitor.next_batch(100).unwrap();
                if batch.is_empty() {
                    break;
                }
                seen += batch.iter().filter(|event| is_flood(event, inode)).count();
            }
        }
        sending.join().unwrap();
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_tiny_buffer_wakes_a_reader_that_lets_drops_gather() {
    each(|builder| {
        let netns = NetNs::new();
        let inode = netns.inode;
        // The reader would sleep for an hour, but for the mark.
        let mut monitor = builder
            .buffer_size(4096)
            .max_latency(Duration::from_secs(3600))
            .build()
            .unwrap();
        let generated = 20_000;
        let flooding = std::thread::spawn(move || netns.run(move || flood(generated)));
        let (mut seen, mut told) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !flooding.is_finished() {
            let Some(event) = monitor.next_timeout(Duration::from_millis(10)).unwrap() else {
                continue;
            };
            seen += u64::from(is_flood(&event, inode));
            told += event.lost_before;
            assert!(Instant::now() < deadline);
        }
        flooding.join().unwrap();
        for event in support::drain(&mut monitor) {
            seen += u64::from(is_flood(&event, inode));
            told += event.lost_before;
        }
        let stats = monitor.stats().unwrap();
        println!("{seen} seen, {told} told, {stats:?}");
        assert!(told <= stats.lost);
        assert!(seen + stats.lost >= generated as u64);
        // By the mark alone, over and over: the ring has room for a dozen.
        assert!(seen > 200, "{seen}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_stream_sleeps_and_wakes_between_bursts() {
    each(|builder| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let netns = NetNs::new();
        let inode = netns.inode;
        let mut monitor = builder.build().unwrap();
        let sending = std::thread::spawn(move || {
            for n in 0..100_u64 {
                netns.run(|| flood(20));
                std::thread::sleep(Duration::from_millis(n % 23));
            }
        });
        runtime.block_on(async {
            let mut seen = 0;
            while seen < 2000 {
                let next = tokio::time::timeout(support::PATIENCE, monitor.next()).await;
                let event = next.expect("it is woken").unwrap().unwrap();
                seen += usize::from(is_flood(&event, inode));
            }
        });
        sending.join().unwrap();
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_last_drops_of_any_cpu_wake() {
    each(|builder| {
        let netns = NetNs::new();
        let inode = netns.inode;
        let mut monitor = builder.build().unwrap();
        let all = sched_getaffinity(None).unwrap();
        let cpus: Vec<_> = (0..CpuSet::MAX_CPU)
            .filter(|&cpu| all.is_set(cpu))
            .collect();
        for n in 0..300 {
            let cpu = cpus[n % cpus.len()];
            // Some wake a reader that waits for the first, some come while others gather, all are the last for now.
            let burst = [1, 1, 2, 50][n / cpus.len() % 4];
            netns.run(move || {
                pin(cpu);
                flood(burst);
            });
            support::collect(&mut monitor, burst, |event| is_flood(event, inode));
            std::thread::sleep(Duration::from_micros(n as u64 * 977 % 15_000));
        }
    });
}

#[test]
fn what_nobody_means_is_refused() {
    let refused = |builder: Builder| builder.build().map(drop).unwrap_err();
    for error in [
        refused(Monitor::builder().wakeup_fill(101)),
        refused(Monitor::builder().max_latency(Duration::MAX)),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_drop_at_once_if_asked_for() {
    each(|builder| {
        let netns = NetNs::new();
        let inode = netns.inode;
        let mut monitor = builder.max_latency(Duration::ZERO).build().unwrap();
        let mut slow = 0;
        for _ in 0..200 {
            drop_one(&netns);
            let event = support::collect(&mut monitor, 1, |event| is_flood(event, inode)).remove(0);
            slow += u32::from(monotonic_ns() - event.timestamp_ns > 8_000_000);
        }
        assert!(slow < 20, "{slow} of 200 took as if drops gathered");
    });
}

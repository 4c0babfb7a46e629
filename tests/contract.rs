//! What every backend promises, on real drops: one body a promise, run for each backend.
#![allow(clippy::unwrap_used)] // tests panic

use futures::StreamExt as _;
use skbdrop::{Backend, Monitor};
use std::{
    collections::HashMap,
    process::Command,
    time::{Duration, Instant},
};
use support::{
    account::{Count, undisturbed},
    backends, collect, drain,
    drops::flood,
    flood_size, is_flood,
    netns::NetNs,
    open_descriptors,
};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn each_drop_is_delivered_or_counted() {
    for backend in backends() {
        undisturbed(|| {
            let netns = NetNs::new();
            let mut monitor = Monitor::builder().backend(backend).build().unwrap();
            let (inode, generated) = (netns.inode, flood_size());
            let flooding = std::thread::spawn(move || netns.run(move || flood(generated)));
            let mut count = Count::default();
            while !flooding.is_finished() {
                if let Some(event) = monitor.next_timeout(Duration::from_millis(10)).unwrap() {
                    count.add(&event, inode);
                }
            }
            flooding.join().unwrap();
            count.settle(monitor, inode, generated)
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn each_drop_is_delivered_or_counted_with_a_consumer_that_sleeps() {
    for backend in backends() {
        let lost = undisturbed(|| {
            let netns = NetNs::new();
            // One page a CPU for perf, on two CPUs.
            let mut monitor = Monitor::builder()
                .backend(backend)
                .buffer_size(1 << 13)
                .build()
                .unwrap();
            let (inode, generated) = (netns.inode, flood_size());
            let flooding = std::thread::spawn(move || netns.run(move || flood(generated)));
            let mut count = Count::default();
            while !flooding.is_finished() {
                for event in monitor.next_batch(100).unwrap() {
                    count.add(&event, inode);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            flooding.join().unwrap();
            count.settle(monitor, inode, generated)
        });
        assert!(lost > 0, "the consumer was meant to be too slow");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn events_of_a_cpu_come_in_order_of_time() {
    for backend in backends() {
        let netns = [NetNs::new(), NetNs::new()];
        let mut monitor = Monitor::builder().backend(backend).build().unwrap();
        let flooding =
            netns.map(|netns| std::thread::spawn(move || netns.run(|| flood(flood_size() / 30))));
        let mut events = Vec::new();
        while !flooding.iter().all(|thread| thread.is_finished()) {
            events.extend(monitor.next_batch(1000).unwrap());
        }
        events.extend(drain(&mut monitor));
        let mut last = HashMap::new();
        for event in &events {
            // Without a CPU nothing is promised.
            let Some(cpu) = event.cpu else { continue };
            let last = last.insert(cpu, event.timestamp_ns).unwrap_or(0);
            assert!(
                event.timestamp_ns >= last,
                "{}: {event} came late",
                backend.name()
            );
        }
        // Over all CPUs only what two of them do at the same moment may cross.
        let crossed = events
            .windows(2)
            .filter(|two| two[1].timestamp_ns < two[0].timestamp_ns)
            .count();
        println!("{}: {crossed} of {} crossed", backend.name(), events.len());
        assert!(events.len() > 100, "{}", events.len());
    }
}

/// Makes drops while the stream is polled, with pauses in which it must sleep and wake, and expects them all.
async fn stream_delivers(mut monitor: Monitor, netns: NetNs) {
    const BURSTS: usize = 30;
    const BURST: usize = 100;
    let inode = netns.inode;
    let sending = std::thread::spawn(move || {
        for n in 0..BURSTS {
            netns.run(|| flood(BURST));
            std::thread::sleep(Duration::from_millis(n as u64 % 5));
        }
    });
    let mut seen = 0;
    while seen < BURSTS * BURST {
        let event = monitor.next().await.unwrap().unwrap();
        seen += usize::from(is_flood(&event, inode));
    }
    sending.join().unwrap();
    monitor.stop();
    while let Some(event) = monitor.next().await {
        assert!(!is_flood(&event.unwrap(), inode), "more than was sent");
    }
    assert!(
        monitor.next().await.is_none(),
        "an ended stream stays ended"
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn stream_under_tokio() {
    for backend in backends() {
        for runtime in [
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
        ] {
            runtime.block_on(async {
                let monitor = Monitor::builder().backend(backend).build().unwrap();
                let test = stream_delivers(monitor, NetNs::new());
                tokio::time::timeout(Duration::from_secs(60), test)
                    .await
                    .unwrap();
            });
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn stream_under_another_executor() {
    // In a pool the task moves between threads.
    let pool = futures::executor::ThreadPool::builder()
        .pool_size(2)
        .create()
        .unwrap();
    for backend in backends() {
        for _ in 0..3 {
            let monitor = Monitor::builder().backend(backend).build().unwrap();
            let (done, end) = std::sync::mpsc::channel();
            pool.spawn_ok(async move {
                stream_delivers(monitor, NetNs::new()).await;
                done.send(()).unwrap();
            });
            end.recv_timeout(Duration::from_secs(60)).unwrap();
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_flood_does_not_starve_timers_of_the_thread() {
    for backend in backends() {
        let netns = NetNs::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let flooding = std::thread::spawn(move || netns.run(|| flood(flood_size())));
        runtime.block_on(async {
            let mut monitor = Monitor::builder()
                .backend(backend)
                // To read them takes its time, once.
                .symbols(false)
                .build().unwrap();
            let start = Instant::now();
            tokio::select! {
                biased;
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
                () = async { while let Some(event) = monitor.next().await { event.unwrap(); } } => {}
            }
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        });
        flooding.join().unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_monitors_see_the_same() {
    for backend in backends() {
        let netns = NetNs::new();
        let mut monitors = [(); 2].map(|()| Monitor::builder().backend(backend).build().unwrap());
        netns.run(|| flood(100));
        let [first, second] = monitors.each_mut().map(|monitor| {
            let events = collect(monitor, 100, |event| is_flood(event, netns.inode));
            let facts = events.iter().map(|event| {
                (
                    event.skb_address,
                    event.location.address,
                    event.reason.clone(),
                    event.length,
                )
            });
            facts.collect::<Vec<_>>()
        });
        assert_eq!(first, second);
    }
}

/// Loaded eBPF programs of ours, by `bpftool`.
fn our_programs() -> usize {
    let output = Command::new("bpftool")
        .args(["prog", "show"])
        .output()
        .expect("bpftool is there");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout)
        .matches("skbdrop_")
        .count()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_dropped_monitor_leaves_nothing() {
    for backend in backends() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            // tokio and its driver open theirs once.
            let mut first = Monitor::builder().backend(backend).build().unwrap();
            let _ = futures::poll!(first.next());
            drop(first);
            let descriptors = open_descriptors();
            let mut monitor = Monitor::builder().backend(backend).build().unwrap();
            // Polled once, so that it is registered with the runtime.
            let _ = futures::poll!(monitor.next());
            assert!(open_descriptors().len() > descriptors.len());
            drop(monitor);
            assert_eq!(open_descriptors(), descriptors, "{}", backend.name());
        });
    }
}

#[test]
#[ignore = "needs root and bpftool: cargo xtask test"]
fn a_dropped_monitor_leaves_no_program() {
    let before = our_programs();
    let monitor = Monitor::builder().backend(Backend::Ebpf).build().unwrap();
    assert_eq!(our_programs(), before + 1);
    drop(monitor);
    // The kernel frees programs a little after their last descriptor is closed.
    let deadline = Instant::now() + support::PATIENCE;
    while our_programs() != before {
        assert!(
            Instant::now() < deadline,
            "{} programs instead of {before}",
            our_programs()
        );
        std::thread::yield_now();
    }
}

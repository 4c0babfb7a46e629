//! Streams that are dropped, moved, and that outlive their executor.

use crate::{BURST, Watched, each};
use futures::StreamExt as _;
use skbdrop::Monitor;
use std::{task::Poll, time::Duration};
use support::{PATIENCE, account::Count, drops::flood, is_flood, netns::NetNs, open_descriptors};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// Polls until there is nothing to take.
async fn poll_until_pending(monitor: &mut Monitor) {
    while let Poll::Ready(event) = futures::poll!(monitor.next()) {
        event.unwrap().unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_stream_is_dropped_in_every_state() {
    const STATES: [&str; 6] = [
        "before the first poll",
        "pending",
        "pending, with events queued in the kernel",
        "with events taken from the kernel",
        "stopped",
        "ended",
    ];
    for backend in support::backends() {
        let netns = NetNs::new();
        let runtime = runtime();
        runtime.block_on(async {
            let build = || Monitor::builder().backend(backend).build().unwrap();
            // The runtime opens what it has once.
            poll_until_pending(&mut build()).await;
            let before = open_descriptors();
            for state in STATES {
                let mut monitor = build();
                match state {
                    "before the first poll" => {}
                    "pending" => poll_until_pending(&mut monitor).await,
                    "pending, with events queued in the kernel" => {
                        poll_until_pending(&mut monitor).await;
                        netns.run(|| flood(BURST));
                    }
                    _ => {
                        netns.run(|| flood(BURST));
                        let event = monitor.next().await.unwrap().unwrap();
                        assert!(event.timestamp_ns > 0);
                    }
                }
                if ["stopped", "ended"].contains(&state) {
                    monitor.stop();
                }
                if state == "ended" {
                    while let Some(event) = monitor.next().await {
                        event.unwrap();
                    }
                    assert!(monitor.has_ended());
                }
                drop(monitor);
                assert_eq!(open_descriptors(), before, "{}: {state}", backend.name());
            }
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_executor_is_dropped_while_it_waits() {
    each(|builder| {
        let mut watched = Watched::new(builder);
        let inode = watched.netns.inode;
        let mut count = Count::default();
        for _ in 0..2 {
            let executor = runtime();
            executor.block_on(async {
                // Registered with it, and then cut short.
                let wait = async {
                    while let Some(event) = watched.monitor.next().await {
                        count.add(&event.unwrap(), inode);
                    }
                };
                let cut = tokio::time::timeout(Duration::from_millis(20), wait).await;
                cut.expect_err("it waits");
            });
            watched.burst();
            drop(executor);
            // The next one finds it as if nothing had been.
            let next = runtime();
            let mut seen = 0;
            next.block_on(async {
                while seen < BURST {
                    let event = tokio::time::timeout(PATIENCE, watched.monitor.next()).await;
                    let event = event.expect("it is woken").unwrap().unwrap();
                    seen += usize::from(is_flood(&event, inode));
                    count.add(&event, inode);
                }
            });
        }
        // And an executor of another kind.
        watched.burst();
        futures::executor::block_on(async {
            for _ in 0..BURST {
                count.add(&watched.monitor.next().await.unwrap().unwrap(), inode);
            }
        });
        let lost = count.settle(watched.monitor, inode, watched.generated)?;
        assert_eq!(lost, 0, "the buffer has room for all");
        Some(())
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_monitor_moves_between_threads() {
    /// Threads that it goes through, each of which is gone when the next has it.
    const THREADS: usize = 8;
    each(|builder| {
        let build = std::thread::spawn(|| Watched::new(builder));
        let mut watched = build.join().unwrap();
        let mut count = Count::default();
        for _ in 0..THREADS {
            watched.burst();
            let moved = std::thread::spawn(move || {
                // Some of it here, and the rest in the next.
                for event in watched.monitor.next_batch(BURST * 2 / 3).unwrap() {
                    count.add(&event, watched.netns.inode);
                }
                (watched, count)
            });
            (watched, count) = moved.join().unwrap();
        }
        let lost = count.settle(watched.monitor, watched.netns.inode, watched.generated)?;
        assert_eq!(lost, 0, "the buffer has room for all");
        Some(())
    });
}

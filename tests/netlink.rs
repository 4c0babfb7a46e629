//! The netlink backend on real kernels: what it reports, what it loses, and its manners with others.
//!
//! These need drop_monitor, which few machines have loaded and which is one for the whole system: they run
//! in guests of their own.
#![allow(clippy::unwrap_used)] // tests panic

use futures::StreamExt as _;
use skbdrop::{
    Backend, BackendKind, Builder, DropEvent, ErrorKind, Layer, Monitor, Origin,
    backend::{NetlinkOptions, WhenRunning},
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::UdpSocket,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};
use support::{
    collect, drain,
    drop_monitor::{self, Config, Listener, State},
    drops::{CLOSED, flood, is_closed_port, overflow_without_a_break, pin},
    dropwatch::Dropwatch,
    is_of_the_kernel,
    netns::NetNs,
    receives_udp, run,
};

/// A configuration that is not the kernel's own.
const ODD: Config = Config {
    mode: 1,
    trunc_len: 77,
    queue_len: 333,
};

fn builder(options: NetlinkOptions) -> Builder {
    Monitor::builder()
        .backend(Backend::Netlink)
        .netlink(options)
}

fn monitor() -> Monitor {
    builder(NetlinkOptions::new()).build().unwrap()
}

/// Sends `count` datagrams to the closed port and takes their events.
fn flood_and_take(monitor: &mut Monitor, count: usize) -> Vec<DropEvent> {
    flood(count);
    collect(monitor, count, is_closed_port)
}

/// Runs `test` from each of some states, which must be there again afterwards.
fn keeps_the_state(befores: &[State], test: impl Fn()) {
    for &(config, running) in befores {
        drop_monitor::reset();
        drop_monitor::configure(config);
        if running {
            drop_monitor::start();
        }
        let before = drop_monitor::state();
        test();
        assert_eq!(drop_monitor::state(), before);
    }
    drop_monitor::reset();
}

const OFF: [State; 2] = [(Config::DEFAULT, false), (ODD, false)];
const ON: [State; 1] = [(ODD, true)];

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn every_field_that_netlink_tells() {
    drop_monitor::reset();
    let mut monitor = monitor();
    assert_eq!(monitor.backend(), BackendKind::Netlink);
    let before = SystemTime::now();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .send_to(b"0123456789", ("127.0.0.1", CLOSED))
        .unwrap();
    let port = socket.local_addr().unwrap().port();
    let event = collect(&mut monitor, 1, is_closed_port).remove(0);
    let slack = Duration::from_millis(10);
    assert!(
        (before - slack..=SystemTime::now() + slack).contains(&event.wall_time),
        "{event:?}"
    );
    // The kernel gives reasons since 5.18, where its tracepoint has them since 5.17.
    let format = std::fs::read_to_string("/sys/kernel/tracing/events/skb/kfree_skb/format");
    let has_reasons = format.unwrap().contains("reason");
    let name = event.reason.as_ref().map(|reason| reason.name().unwrap());
    assert_eq!(name, has_reasons.then_some("NO_SOCKET"));
    let symbol = event.location.symbol.as_ref().unwrap();
    assert!(receives_udp(symbol), "{symbol:?}");
    assert!(symbol.offset > 0 && symbol.module.is_none(), "{symbol:?}");
    assert!(event.location.address.is_some_and(is_of_the_kernel));
    assert_eq!(event.protocol.unwrap().0, 0x0800);
    assert_eq!(event.length, Some(14 + 20 + 8 + 10));
    assert_eq!(event.src.unwrap().to_string(), format!("127.0.0.1:{port}"));
    assert_eq!(event.packet.layer, Layer::Ethernet);
    assert_eq!(event.packet.bytes.len(), 52);
    assert!(event.packet.bytes.ends_with(b"0123456789"));
    assert_eq!((event.ifindex, event.ifname.as_deref()), (Some(1), None));
    assert_eq!((&event.netns, event.cpu, event.pid), (&None, None, None));
    assert_eq!(event.origin, Origin::Software);
    assert_eq!((event.count, event.lost_before), (1, 0));
    assert_eq!(event.backend, BackendKind::Netlink);
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn snap_length_bounds_the_bytes() {
    for (snap_len, expected) in [(0, 0), (20, 20), (128, 74), (16384, 74)] {
        drop_monitor::reset();
        let mut monitor = builder(NetlinkOptions::new())
            .snap_len(snap_len)
            .build()
            .unwrap();
        flood(1);
        let event = collect(&mut monitor, 1, |event| event.length == Some(74)).remove(0);
        assert_eq!(event.packet.bytes.len(), expected);
        assert_eq!(event.dst.is_some(), snap_len >= 128);
    }
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn drops_in_other_namespaces_are_seen() {
    drop_monitor::reset();
    let netns = NetNs::new();
    let mut monitor = monitor();
    netns.run(|| flood(3));
    let events = collect(&mut monitor, 3, is_closed_port);
    assert!(events.iter().all(|event| event.netns.is_none()));
}

/// Every drop of a burst is delivered or counted, wherever it was lost.
#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn delivered_and_lost_is_all_that_was_dropped() {
    const BURST: usize = 50_000;
    let small = 4096;
    let large = 64 << 20;
    // Losses at the socket, in the CPUs' queues, at both, and as it comes with the defaults.
    let with_turns = |count| {
        flood(count);
        count
    };
    for (queue_len, receive_buffer, burst) in [
        (1, small, with_turns as fn(usize) -> usize),
        (1, large, overflow_without_a_break),
        (1, small, overflow_without_a_break),
        (1000, 4 << 20, with_turns),
    ] {
        drop_monitor::reset();
        let options = NetlinkOptions::new()
            .queue_len(queue_len)
            .receive_buffer(receive_buffer);
        let mut monitor = builder(options).build().unwrap();
        let queued = drop_monitor::queue_drops();
        let dropped = burst(BURST);
        let events = drain(&mut monitor);
        let stats = monitor.stats().unwrap();
        let queued = drop_monitor::queue_drops() - queued;
        println!(
            "queue {queue_len}, buffer {receive_buffer}: of {dropped}, {} delivered, {} lost, {queued} of them in \
             the queues",
            events.len(),
            stats.lost,
        );
        assert_eq!(events.len() as u64, stats.received);
        assert_eq!(stats.received + stats.lost, dropped as u64, "{stats:?}");
        assert_eq!(stats.undecodable, 0);
        if receive_buffer == small {
            assert!(stats.lost > queued, "nothing was lost at the socket");
        }
        if receive_buffer == large {
            assert!(queued > 0, "nothing was lost in the queues");
            assert_eq!(stats.lost, queued);
        }
        let told: u64 = events.iter().map(|event| event.lost_before).sum();
        assert!(told <= stats.lost, "{told} of {stats:?}");
    }
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn losses_are_told_by_what_comes_after() {
    drop_monitor::reset();
    let options = NetlinkOptions::new().receive_buffer(4096);
    let mut monitor = builder(options).build().unwrap();
    let mut told = 0;
    for _ in 0..3 {
        flood(500);
        std::thread::sleep(Duration::from_millis(100));
        while let Some(event) = monitor.next_timeout(Duration::ZERO).unwrap() {
            told += event.lost_before;
        }
        let lost = monitor.stats().unwrap().lost;
        assert!(lost > told, "the last loss is not told yet: {lost}, {told}");
        told += flood_and_take(&mut monitor, 1)[0].lost_before;
        assert_eq!(told, lost);
    }
    let stats = monitor.stats().unwrap();
    assert_eq!(stats.received + stats.lost, 3 * 501);
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn events_of_a_cpu_are_in_order_of_time() {
    drop_monitor::reset();
    let mut monitor = monitor();
    // The kernel has a queue for each CPU, and sends the one or the other first.
    let flooding = std::thread::spawn(|| {
        pin(0);
        flood(200);
    });
    flooding.join().unwrap();
    let events = drain(&mut monitor);
    assert_eq!(events.len(), 200);
    assert!(events.is_sorted_by_key(|event| event.timestamp_ns));
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn summaries_count_per_location() {
    keeps_the_state(&OFF, || {
        let options = NetlinkOptions::new().summary(true);
        let mut monitor = builder(options).build().unwrap();
        flood(1000);
        let mut counted = 0;
        // An alert comes a second after its first drop, one for each CPU.
        while let Some(event) = monitor.next_timeout(Duration::from_secs(3)).unwrap() {
            assert_eq!((&event.reason, event.packet.bytes.len()), (&None, 0));
            let symbol = event.location.symbol.as_ref().unwrap();
            if receives_udp(symbol) {
                counted += event.count;
            }
            assert!(event.location.address.is_some());
        }
        assert_eq!(counted, 1000);
        let stats = monitor.stats().unwrap();
        assert_eq!((stats.lost, stats.undecodable), (0, 0));
    });
}

#[tokio::test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
async fn it_streams_in_tokio() {
    drop_monitor::reset();
    stream(monitor()).await;
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn it_streams_in_other_executors() {
    drop_monitor::reset();
    futures::executor::block_on(stream(monitor()));
}

/// Takes events before and after a pause in which the monitor looks at the switch.
async fn stream(monitor: Monitor) {
    let wanted = |event: &skbdrop::Result<DropEvent>| {
        std::future::ready(is_closed_port(event.as_ref().unwrap()))
    };
    let mut events = monitor.filter(wanted);
    for _ in 0..2 {
        let sender = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(2500));
            flood(300);
        });
        for _ in 0..300 {
            events.next().await.unwrap().unwrap();
        }
        sender.join().unwrap();
    }
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn a_stopped_monitor_ends() {
    keeps_the_state(&OFF, || {
        let mut monitor = monitor();
        flood(10);
        assert_eq!(drain(&mut monitor).len(), 10);
        flood(10);
        assert_eq!(monitor.stats().unwrap().received, 10);
        assert!(
            monitor
                .next_timeout(Duration::from_secs(5))
                .unwrap()
                .is_none()
        );
    });
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn two_monitors_share_it_and_the_last_stops_it() {
    keeps_the_state(&OFF, || {
        let (mut first, mut second) = (monitor(), monitor());
        flood(10);
        collect(&mut first, 10, is_closed_port);
        collect(&mut second, 10, is_closed_port);
        drop(first);
        flood_and_take(&mut second, 10);
        let mut third = monitor();
        second.stop();
        flood_and_take(&mut third, 10);
    });
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn two_processes_share_it_whoever_leaves_first() {
    for process_first in [false, true] {
        keeps_the_state(&OFF, || {
            let mut other = process_first.then(Process::start);
            let mut here = monitor();
            let mut other = other.take().unwrap_or_else(Process::start);
            flood(10);
            collect(&mut here, 10, is_closed_port);
            other.take(10);
            if process_first {
                other.end();
                flood_and_take(&mut here, 10);
            } else {
                drop(here);
                other.take_of_flood(10);
                let found_it = monitor();
                other.end();
                drop(found_it);
            }
        });
    }
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn what_a_killed_monitor_left_on_is_started_anew_and_stopped() {
    // The mark says that the kernel's own configuration was there.
    keeps_the_state(&OFF[..1], || {
        Process::start().kill();
        let (left, running) = drop_monitor::state();
        assert!(running && left != Config::DEFAULT, "{left:?}");
        // Nobody listens, so nobody is hindered, whatever is chosen.
        for choice in [
            WhenRunning::Fail,
            WhenRunning::Listen,
            WhenRunning::TakeOver,
        ] {
            let options = NetlinkOptions::new().when_running(choice);
            let mut monitor = builder(options).snap_len(20).build().unwrap();
            flood(1);
            let event = collect(&mut monitor, 1, |event| event.length == Some(74)).remove(0);
            assert_eq!(event.packet.bytes.len(), 20);
            drop(monitor);
            assert_eq!(drop_monitor::state(), (Config::DEFAULT, false));
            Process::start().kill();
        }
        drop(monitor());
    });
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn a_killed_starter_cuts_nobody() {
    keeps_the_state(&OFF, || {
        let starter = Process::start();
        let mut monitor = monitor();
        starter.kill();
        flood_and_take(&mut monitor, 10);
    });
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn tracing_of_another_is_listened_to_and_left_on() {
    keeps_the_state(&ON, || {
        let other = Listener::new();
        let mut monitor = monitor();
        let event = flood_and_take(&mut monitor, 1).remove(0);
        assert_eq!(event.packet.bytes.len(), 74);
        drop(monitor);
        assert_eq!(drop_monitor::state(), (ODD, true));
        flood(1);
        for _ in 0..2 {
            assert!(other.next(Duration::from_secs(5)).is_some());
        }
    });
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn tracing_of_another_can_be_refused_and_taken_over() {
    keeps_the_state(&ON, || {
        let refuse = NetlinkOptions::new().when_running(WhenRunning::Fail);
        let error = builder(refuse).build().unwrap_err();
        assert!(
            error.to_string().contains("`drop_monitor` is on already"),
            "{error}"
        );
        assert_eq!(drop_monitor::state(), (ODD, true));

        let other = Listener::new();
        let options = NetlinkOptions::new().when_running(WhenRunning::TakeOver);
        let mut monitor = builder(options).snap_len(20).build().unwrap();
        flood(1);
        let event = collect(&mut monitor, 1, |event| event.length == Some(74)).remove(0);
        assert_eq!(event.packet.bytes.len(), 20);
        assert!(other.next(Duration::from_secs(5)).is_some());
        // With the other still there nothing is put back: that would take it away from it.
        drop(other);
    });
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn a_stop_by_another_is_undone() {
    for before in [ON, [(ODD, false)]] {
        keeps_the_state(&[(before[0].0, false)], || {
            if before[0].1 {
                drop_monitor::start();
            }
            let mut monitor = monitor();
            flood_and_take(&mut monitor, 1);
            drop_monitor::stop();
            let stopped = Instant::now();
            let again = loop {
                flood(1);
                let event = monitor.next_timeout(Duration::from_millis(200)).unwrap();
                if event.is_some() {
                    break stopped.elapsed();
                }
                assert!(stopped.elapsed() < Duration::from_secs(5));
            };
            println!("on again after {again:?}");
            flood_and_take(&mut monitor, 10);
        });
    }
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn dropwatch_before_during_and_after() {
    // Its own configuration stays behind, by its own doing.
    let packets = Config {
        mode: 1,
        ..Config::DEFAULT
    };
    drop_monitor::reset();

    // Before: it has started, and ours listens. It stops, and ours goes on.
    let dropwatch = Dropwatch::start(&[]);
    let mut monitor = monitor();
    flood(10);
    collect(&mut monitor, 10, is_closed_port);
    drop_monitor::wait_until_read();
    let seen = dropwatch.stop();
    assert!(
        seen.matches("drop at: ").count() >= 10,
        "it was cut off: {seen}"
    );
    let pause = monitor.next_timeout(Duration::from_millis(2500));
    assert!(pause.unwrap().is_none());
    flood_and_take(&mut monitor, 10);

    // During: the kernel refuses it a second start, and it ends. Ours goes on.
    let refused = Dropwatch::start(&[]).stop();
    assert!(
        refused.contains("Failed activation request"),
        "it has learnt to share: {refused}"
    );
    flood_and_take(&mut monitor, 10);
    drop(monitor);
    assert_eq!(drop_monitor::state(), (packets, false));

    // After: it starts as ever, and with ours gone again it still runs.
    let dropwatch = Dropwatch::start(&[]);
    let mut monitor = crate::monitor();
    flood_and_take(&mut monitor, 10);
    drop(monitor);
    flood(10);
    std::thread::sleep(Duration::from_millis(500));
    drop_monitor::wait_until_read();
    let seen = dropwatch.stop();
    assert!(
        seen.matches("drop at: ").count() >= 20,
        "it was cut off: {seen}"
    );
    assert_eq!(drop_monitor::state(), (packets, false));
    drop_monitor::reset();
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn another_network_namespace_and_a_missing_module_are_told_apart() {
    drop_monitor::reset();
    let build = || builder(NetlinkOptions::new()).build().map(drop);
    let error = NetNs::new().run(move || build().unwrap_err());
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(
        text.contains("initial network namespace")
            && text.contains("if this kernel has it")
            && !text.contains("modprobe"),
        "{text}"
    );

    run("rmmod", &["drop_monitor"]);
    let error = builder(NetlinkOptions::new()).build().unwrap_err();
    run("modprobe", &["drop_monitor"]);
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    let text = error.to_string();
    // The guest has the list of its modules.
    let told = text.contains("its module is not loaded (modprobe drop_monitor)");
    assert!(told && !text.contains("not in this kernel"), "{text}");
    // Before 5.14 what tells is that the namespaces of this process and the first are the same,
    // which is no proof.
    let sure = !text.contains("which namespace this is cannot be told");
    let old = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(sure, !old.starts_with("5.10."), "{text}");
}

#[test]
#[ignore = "needs drop_monitor and root: cargo xtask kernels"]
fn missing_capabilities_are_named() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    drop_monitor::reset();
    let with = |set: CapabilitySet| {
        let build = move || {
            let mut sets = capabilities(None).unwrap();
            (sets.effective, sets.permitted) = (set, set);
            sets.inheritable = CapabilitySet::empty();
            set_capabilities(None, sets).unwrap();
            builder(NetlinkOptions::new()).build().map(drop)
        };
        std::thread::spawn(build).join().unwrap()
    };
    let both = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
    with(both).unwrap();
    let error = with(CapabilitySet::SYS_ADMIN).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    match with(CapabilitySet::NET_ADMIN) {
        Ok(()) => println!("CAP_NET_ADMIN suffices here"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.to_string().contains("CAP_SYS_ADMIN"), "{error}");
            println!("CAP_NET_ADMIN and CAP_SYS_ADMIN are needed here");
        }
    }
    assert_eq!(drop_monitor::state(), (Config::DEFAULT, false));
}

/// A monitor in a process of its own.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_listener"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        process.expect("ready");
        process
    }

    fn take(&mut self, count: usize) {
        writeln!(self.input, "{count}").unwrap();
        self.expect("took");
    }

    fn take_of_flood(&mut self, count: usize) {
        flood(count);
        self.take(count);
    }

    fn end(self) {
        let Self {
            mut child, input, ..
        } = self;
        drop(input);
        assert!(child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), word);
    }
}

//! Processes that fork, and that are killed.

use crate::{BURST, Watched, each};
use futures::StreamExt as _;
use skbdrop::Monitor;
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    task::Poll,
    time::{Duration, Instant},
};
use support::{PATIENCE, backends, drops::flood, is_flood, netns::NetNs};

/// Has a child of this process drop the monitor, which it has as well.
fn drop_in_child(monitor: Monitor) -> Monitor {
    // SAFETY: the child does nothing but to drop the monitor, whose memory it has a copy of, and to leave.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(monitor);
        // SAFETY: it does not return.
        unsafe { libc::_exit(0) };
    }
    assert!(child > 0, "{}", std::io::Error::last_os_error());
    let deadline = Instant::now() + PATIENCE;
    let mut status = 0;
    // SAFETY: the pointer is to a value that outlives the call.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if Instant::now() > deadline {
            // SAFETY: it is our child, and not waited for yet.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs in dropping the monitor");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(status, 0, "the child dropped it and left");
    monitor
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_child_drops_its_copy_of_the_monitor() {
    each(|builder| {
        // The thread that reads symbols is one that the child has not.
        let mut watched = Watched::new(builder.symbols(true));
        watched.burst();
        watched.monitor = drop_in_child(watched.monitor);
        watched.burst();
        watched.all_came()
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_child_drops_its_copy_of_a_stream_that_is_waited_for() {
    each(|builder| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let delivers = stream_outlives_a_child(builder.build().unwrap());
        runtime.block_on(async {
            let delivers = tokio::time::timeout(PATIENCE, delivers).await;
            delivers.expect("the parent is woken");
        });
        Some(())
    });
    // Without a runtime it is registered with async-io.
    each(|builder| {
        let delivers = stream_outlives_a_child(builder.build().unwrap());
        let (done, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            futures::executor::block_on(delivers);
            done.send(()).unwrap();
        });
        end.recv_timeout(PATIENCE).expect("the parent is woken");
        Some(())
    });
}

/// A child drops its copy when the stream is registered and has nothing more to take; then there are drops.
async fn stream_outlives_a_child(mut monitor: Monitor) {
    while let Poll::Ready(event) = futures::poll!(monitor.next()) {
        event.unwrap().unwrap();
    }
    monitor = drop_in_child(monitor);
    let netns = NetNs::new();
    let inode = netns.inode;
    let sending = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        netns.run(|| flood(BURST));
    });
    let mut seen = 0;
    while seen < BURST {
        let event = monitor.next().await.unwrap().unwrap();
        seen += usize::from(is_flood(&event, inode));
    }
    sending.join().unwrap();
}

/// What the kernel has of eBPF for a process: kind, as `bpftool` names it, and number.
fn objects(process: u32) -> BTreeSet<(&'static str, u32)> {
    let mut objects = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        for (field, kind) in [
            ("prog_id:", "prog"),
            ("map_id:", "map"),
            ("link_id:", "link"),
        ] {
            let id = text.lines().find_map(|line| line.strip_prefix(field));
            objects.extend(id.map(|id| (kind, id.trim().parse::<u32>().unwrap())));
        }
    }
    objects
}

/// Whether the kernel still has it.
fn is_there((kind, id): (&str, u32)) -> bool {
    let id = id.to_string();
    let shown = Command::new("bpftool")
        .args([kind, "show", "id", &id])
        .output();
    shown.expect("bpftool is there").status.success()
}

/// Perf events that a process has open.
fn perf_events(process: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let targets = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    targets
        .filter(|target| target.to_string_lossy().contains("[perf_event]"))
        .count()
}

#[test]
#[ignore = "needs root and bpftool: cargo xtask test"]
fn a_killed_process_leaves_nothing() {
    for backend in backends() {
        let mut listener = Command::new(env!("CARGO_BIN_EXE_listener"))
            .arg(backend.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = listener.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let process = listener.id();
        let (objects, events) = (objects(process), perf_events(process));
        println!("{}: {objects:?}, {events} perf events", backend.name());
        match backend.name() {
            "ebpf" => assert!(
                ["prog", "map"]
                    .iter()
                    .all(|kind| objects.iter().any(|(it, _)| it == kind))
            ),
            "perf" => assert!(events > 0),
            _ => {}
        }
        assert!(objects.iter().all(|object| is_there(*object)));
        listener.kill().unwrap();
        listener.wait().unwrap();
        // Perf events end with their last descriptor, and nobody else had one of these.
        assert!(!fs::exists(format!("/proc/{process}")).unwrap());
        // The kernel frees them a little after their last descriptor is closed.
        let deadline = Instant::now() + PATIENCE;
        while let Some(left) = objects.iter().find(|object| is_there(**object)) {
            assert!(Instant::now() < deadline, "{left:?} is left");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

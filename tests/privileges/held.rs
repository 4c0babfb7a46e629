//! Which descriptors a monitor holds: those that it reads and ends by, and no other.

use skbdrop::{Backend, Monitor};
use std::collections::{BTreeMap, HashSet};
use support::{backends, drop_monitor, is_named, open_descriptors};

/// Kinds of descriptors, and how many of each.
type Held = BTreeMap<String, usize>;

/// What came since.
fn since(before: &HashSet<(String, String)>) -> Held {
    let mut held = Held::new();
    for (_, target) in open_descriptors().difference(before) {
        *held.entry(kind(target)).or_default() += 1;
    }
    held
}

/// As the kernel names it, without the number of the very one.
fn kind(target: &str) -> String {
    let kind = match target.split_once(':') {
        Some(("anon_inode", kind)) => kind.trim_matches(['[', ']']),
        Some((kind, _)) => kind,
        None if target.ends_with("/net/netlink") => "netlink",
        None => target,
    };
    // Before Linux 5.8 the kernel had no links.
    match kind {
        "bpf-raw-tracepoint" => "bpf_link",
        kind => kind,
    }
    .to_owned()
}

/// What a backend needs while it runs.
fn needed(backend: Backend) -> Vec<(&'static str, usize)> {
    let online = std::fs::read_to_string("/proc/stat").unwrap();
    let cpus = online
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    // What to wait on, with the timer that bounds a sleep, is each backend's.
    match backend {
        // The ring that wakes, the program for its count of misses, and what holds it on the tracepoint. The ring of records is
        // only mapped.
        Backend::Ebpf => vec![
            ("eventpoll", 1),
            ("timerfd", 1),
            ("bpf-map", 1),
            ("bpf-prog", 1),
            ("bpf_link", 1),
        ],
        // What records and what wakes, and who tells of CPUs.
        Backend::Perf => vec![
            ("eventpoll", 1),
            ("timerfd", 1),
            ("perf_event", 2 * cpus),
            ("socket", 1),
        ],
        // The socket of alerts twice, once for the epoll that is watched by the other, and that of requests; a timer by which to look
        // whether drop_monitor is still on; the list of who else listens.
        Backend::Netlink => vec![
            ("eventpoll", 2),
            ("timerfd", 2),
            ("socket", 3),
            ("netlink", 1),
        ],
        other => panic!("no such backend here: {other:?}"),
    }
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_monitor_holds_no_descriptor_that_it_does_not_need() {
    if is_named(Backend::Netlink) {
        drop_monitor::reset();
    }
    for backend in backends() {
        for gives_up in [false, true] {
            // The thread has no use for capabilities after it.
            let opening = std::thread::spawn(move || {
                let before = open_descriptors();
                // Since Linux 7.1 there is a second program for them.
                let builder = Monitor::builder().backend(backend).qdiscs(false);
                let builder = builder.symbols(gives_up);
                let monitor = builder.drop_capabilities(gives_up).build().unwrap();
                let held = since(&before);
                drop(monitor);
                assert_eq!(open_descriptors(), before, "{}", backend.name());
                held
            });
            let held = opening.join().unwrap();
            println!(
                "{}, capabilities dropped: {gives_up}: {held:?}",
                backend.name()
            );
            let mut needed = needed(backend);
            if gives_up {
                // Who could not open these again keeps them. Without modules in the kernel there is one.
                needed.push(("/proc/kallsyms", 1));
                if std::fs::exists("/proc/modules").unwrap() {
                    needed.push(("/proc/modules", 1));
                }
            }
            let needed = needed
                .into_iter()
                .map(|(kind, count)| (kind.to_owned(), count));
            assert_eq!(held, needed.collect::<Held>(), "{}", backend.name());
        }
    }
}

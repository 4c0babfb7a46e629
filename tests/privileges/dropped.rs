//! A monitor that has given up its capabilities.

use crate::PROBE;
use skbdrop::{Backend, Monitor};
use std::sync::mpsc;
use support::{backends, drop_monitor, fewer, is_named};

/// `CAP_NET_ADMIN`, without which `drop_monitor` cannot be switched off.
const NET_ADMIN: &str = "0 1000 1000 0";

/// What the probe says under `heading`.
#[track_caller]
fn line<'a>(said: &'a str, heading: &str) -> &'a str {
    let mut lines = said.lines();
    let line = lines.find_map(|line| line.strip_prefix(heading)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no `{heading}` in: {said}"))
}

#[test]
#[ignore = "needs root to have what it gives up: cargo xtask test"]
fn a_monitor_that_dropped_capabilities_sees_drops() {
    for backend in backends() {
        let name = backend.name();
        if is_named(Backend::Netlink) {
            drop_monitor::reset();
        }
        let said = fewer::run(PROBE, &["env"], &format!("dropped={name}"));
        println!("{name}: {said}");
        assert!(said.starts_with("ok: "), "{name}: {said}");
        let event = said.lines().next().unwrap();
        // By the function, whose list could not be opened any more.
        assert!(event.contains("udp"), "{name}: {event}");
        assert_eq!(line(&said, "lost"), "0, limitations 0", "{name}");
        let (kept, refusal) = match backend {
            Backend::Netlink => (NET_ADMIN, "CAP_SYS_ADMIN"),
            Backend::Perf => ("0 0 0 0", "needs CAP_PERFMON"),
            _ => ("0 0 0 0", "needs CAP_BPF and CAP_PERFMON"),
        };
        // Of the one thread that there is: that which read symbols has ended.
        assert_eq!(line(&said, "sets"), kept, "{name}");
        let executed = line(&said, "executed");
        assert!(
            executed.contains("CapEff: 0000000000000000"),
            "{name}: {executed}"
        );
        assert!(executed.contains("NoNewPrivs: 1"), "{name}: {executed}");
        let again = line(&said, "again");
        assert!(
            again.starts_with("PermissionDenied: cannot "),
            "{name}: {again}"
        );
        assert!(again.contains(refusal), "{name}: {again}");
        if backend == Backend::Netlink {
            let (_, running) = drop_monitor::state();
            assert!(!running, "it switched drop_monitor off at its end");
        }
    }
}

/// The permitted set of the calling thread.
fn own_permitted() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    set.unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs root to have what it gives up: cargo xtask test"]
fn capabilities_are_dropped_by_the_thread_that_builds_and_others_are_told() {
    for backend in backends() {
        let before = own_permitted();
        let (end, wait) = mpsc::channel::<()>();
        let keeps = std::thread::Builder::new().name("keeps".to_owned());
        let keeps = keeps.spawn(move || wait.recv()).unwrap();
        let building = std::thread::spawn(move || {
            let builder = Monitor::builder().backend(backend).drop_capabilities(true);
            let monitor = builder.build().unwrap();
            let told = monitor.limitations().iter().map(ToString::to_string);
            let told = told.collect::<Vec<_>>().join("; ");
            // A thread that is started from here on has no more than this one.
            let started = std::thread::spawn(own_permitted).join().unwrap();
            (told, started)
        });
        let (told, permitted) = building.join().unwrap();
        assert!(told.contains("keep their capabilities: "), "{told}");
        assert!(told.contains("keeps "), "{told}");
        let kept = if backend == Backend::Netlink {
            "1000"
        } else {
            "0"
        };
        assert_eq!(permitted, format!("{kept:0>16}"));
        drop(end);
        let _ = keeps.join();
        assert_eq!(own_permitted(), before, "nobody else has lost any");
    }
}

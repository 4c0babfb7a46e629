//! Which descriptors a monitor holds.

use skbdrop::{Backend, Monitor};
use std::collections::BTreeMap;
use support::{backends, open_descriptors};

/// What the descriptors are that came since, and how many of each. Of sockets and the like the number does not matter.
fn since(before: &std::collections::HashSet<(String, String)>) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for (_, target) in open_descriptors().difference(before) {
        let kind = target.split(":[").next().unwrap();
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn descriptors_that_a_monitor_holds() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    for backend in backends() {
        for drop_capabilities in [false, true] {
            let held = std::thread::spawn(move || {
                let before = open_descriptors();
                let builder = Monitor::builder()
                    .backend(backend)
                    .symbols(drop_capabilities);
                let monitor = builder
                    .drop_capabilities(drop_capabilities)
                    .build()
                    .unwrap();
                let held = since(&before);
                drop(monitor);
                assert_eq!(open_descriptors(), before);
                held
            });
            let held = held.join().unwrap();
            println!("{}: {held:?}", backend.name());
        }
    }
    let _ = cpus;
}

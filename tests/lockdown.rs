//! A kernel that was booted with `lockdown=confidentiality`, which keeps user space from reading the kernel's memory.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{Backend, BackendKind, ErrorKind, Monitor, Support};
use support::{collect, drops::flood, is_flood, netns::NetNs};

#[test]
#[ignore = "needs a kernel under lockdown: cargo xtask kernels"]
fn automatic_choice_still_tells_reason_and_location_and_says_what_it_lacks() {
    let netns = NetNs::new();
    let mut monitor = Monitor::builder().backend(Backend::Auto).build().unwrap();
    assert_eq!(monitor.backend(), BackendKind::Ebpf);
    let lacking = monitor.limitations();
    assert_eq!(lacking.len(), 1, "{lacking:?}");
    let text = format!("{:#}", lacking[0]);
    assert!(
        text.contains("no bytes of packets") && text.contains("lockdown"),
        "{text}"
    );
    netns.run(|| flood(1));
    let event = collect(&mut monitor, 1, |event| is_flood(event, netns.inode)).remove(0);
    assert_eq!(event.reason.as_ref().unwrap().name(), Some("NO_SOCKET"));
    assert!(event.location.symbol.is_some(), "{event}");
    assert_eq!(event.netns.as_ref().unwrap().inode, netns.inode);
    assert_eq!(event.ifname.as_deref(), Some("lo"));
    assert!(
        event.packet.bytes.is_empty() && event.dst.is_none(),
        "{event}"
    );
    println!("{event}\n{text}");
}

#[test]
#[ignore = "needs a kernel under lockdown: cargo xtask kernels"]
fn the_report_says_what_works_and_what_does_not() {
    let report = skbdrop::support();
    println!("{report}");
    let of = |kind| {
        &report
            .backends
            .iter()
            .find(|(it, _)| *it == kind)
            .unwrap()
            .1
    };
    assert!(
        matches!(of(BackendKind::Ebpf), Support::Yes(lacking) if lacking.len() == 1),
        "{report}"
    );
    assert!(
        matches!(of(BackendKind::Netlink), Support::Yes(_)),
        "{report}"
    );
    let Support::No(e) = of(BackendKind::Perf) else {
        panic!("tracefs is empty under lockdown: {report}");
    };
    assert_eq!(e.kind(), ErrorKind::NotFound);
    assert!(
        format!("{e:#}").contains("lockdown=confidentiality"),
        "{e:#}"
    );
}

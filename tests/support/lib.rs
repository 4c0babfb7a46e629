//! What the tests share: network namespaces of their own, drops on demand, BTF made by hand.

#![allow(clippy::unwrap_used, missing_debug_implementations)] // tests panic

pub mod account;
pub mod btf;
pub mod database;
pub mod drop_monitor;
pub mod drops;
pub mod dropwatch;
pub mod fewer;
pub mod frames;
pub mod genl;
pub mod libpcap;
pub mod netns;
pub mod openvswitch;
pub mod played;
pub mod random;
pub mod terminal;
pub mod tun;
pub mod wireless;

use skbdrop::{Backend, DropEvent, Monitor, Symbol};
use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
    process::Command,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a drop that was made may take to come out of a monitor.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The backends to test. A test does not find out by itself which of them work here: it would skip
/// what it should fail. `SKBDROP_BACKENDS` names them, by default those of a kernel without
/// drop_monitor.
pub fn backends() -> Vec<Backend> {
    let names = std::env::var(BACKENDS).unwrap_or_else(|_| "ebpf,perf".to_owned());
    names
        .split(',')
        .map(|name| name.parse().expect("a backend"))
        .collect()
}

/// Whether the caller of the tests has named this backend, so that what keeps it from working is a failure.
pub fn is_named(backend: Backend) -> bool {
    std::env::var_os(BACKENDS).is_some() && backends().contains(&backend)
}

const BACKENDS: &str = "SKBDROP_BACKENDS";

/// The program of an example; built here, since cargo builds no other package's examples for a test.
pub fn example(name: &str) -> PathBuf {
    // To find that there is nothing to do takes cargo most of a second.
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(name) {
        build_example(name);
        built.insert(name.to_owned());
    }
    let mut target = std::env::current_exe().unwrap();
    // target/<profile>/deps/<test>
    target.pop();
    target.pop();
    target.join("examples").join(name)
}

fn build_example(name: &str) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(&root)
        .args([
            "build",
            "--quiet",
            "-p",
            "skbdrop-examples",
            "--all-features",
            "--example",
            name,
        ])
        .status()
        .unwrap();
    assert!(built.success(), "the example {name} does not build");
}

/// How many datagrams a flood has: `SKBDROP_FLOOD`, by default as many as take a machine some two
/// seconds.
pub fn flood_size() -> usize {
    std::env::var("SKBDROP_FLOOD").map_or(300_000, |size| size.parse().expect("a number"))
}

/// Whether an event is of a flood in the namespace `netns`, by what its backend can tell. Its process only tells
/// that it is another program's: drops of a flood are the kernel's own threads' work now and then.
pub fn is_flood(event: &DropEvent, netns: u32) -> bool {
    let reason = event
        .reason
        .as_ref()
        .is_none_or(|reason| reason.name() == Some("NO_SOCKET"));
    let port = event
        .dst
        .and_then(|dst| dst.port)
        .is_none_or(|port| port == drops::CLOSED);
    let netns = event.netns.as_ref().is_none_or(|it| it.inode == netns);
    let place = event
        .location
        .symbol
        .as_ref()
        .is_none_or(|symbol| symbol.name.contains("udp") || is_of_split(symbol));
    let protocol = event.protocol.is_some_and(|protocol| protocol.0 == 0x0800);
    let ours = event.netns.is_some() || event.pid.is_none_or(|pid| !is_another_program(pid));
    reason && port && netns && place && protocol && ours
}

/// Whether this is where the kernel drops a datagram to a closed port.
#[must_use]
pub fn receives_udp(symbol: &Symbol) -> bool {
    // The function has been called so since long, and otherwise since 7.x.
    ["__udp4_lib_rcv", "udp_rcv"].contains(&&*symbol.name) || is_of_split(symbol)
}

/// Whether an address may be one of the kernel.
#[must_use]
pub fn is_of_the_kernel(address: u64) -> bool {
    // It has the upper half of the addresses, except where it has an address space of its own, as on s390x.
    let lower = if cfg!(target_arch = "s390x") {
        0
    } else {
        1 << 63
    };
    address > lower
}

/// Whether this is no place of a drop, but in the function that frees what is dropped, and the compiler has split that in two:
/// then the second half calls the tracepoint, with the first half for caller, for each drop. Since Linux 6.1
/// `__fix_address` forbids it.
fn is_of_split(symbol: &Symbol) -> bool {
    static IS_SPLIT: LazyLock<bool> = LazyLock::new(|| {
        let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
        symbols.contains(" kfree_skb.part.")
    });
    &*symbol.name == "kfree_skb" && *IS_SPLIT
}

/// Whether a process is neither this one nor the kernel's. What is gone was no thread of the kernel's.
fn is_another_program(pid: u32) -> bool {
    thread_local! {
        static KNOWN: RefCell<HashMap<u32, bool>> = RefCell::default();
    }
    let look = || {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline"));
        pid != 0
            && pid != std::process::id()
            && arguments.map_or(true, |arguments| !arguments.is_empty())
    };
    KNOWN.with_borrow_mut(|known| *known.entry(pid).or_insert_with(look))
}

/// The inode number of the network namespace that we are in.
pub fn own_netns() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino() as u32
}

/// Collects events that `wanted` picks until there are `count`; fails after [`PATIENCE`].
#[track_caller]
pub fn collect(
    monitor: &mut Monitor,
    count: usize,
    mut wanted: impl FnMut(&DropEvent) -> bool,
) -> Vec<DropEvent> {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    while events.len() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        match monitor.next_timeout(left).expect("the backend can be read") {
            Some(event) if wanted(&event) => events.push(event),
            Some(_) => {}
            None => panic!("{} of {count} events came: {events:#?}", events.len()),
        }
    }
    events
}

/// Stops the monitor and takes all that is left.
pub fn drain(monitor: &mut Monitor) -> Vec<DropEvent> {
    monitor.stop();
    monitor
        .iter()
        .map(|event| event.expect("the backend can be read"))
        .collect()
}

/// Runs a program, which must succeed.
pub fn run(program: &str, arguments: &[&str]) {
    let status = std::process::Command::new(program).args(arguments).status();
    let status = status.unwrap_or_else(|e| panic!("cannot start `{program}`: {e}"));
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The capabilities of each thread of this process: inheritable, permitted, effective and ambient, as the kernel lists them.
#[must_use]
pub fn capability_sets() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let sets = threads.map(|thread| {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
        };
        ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"]
            .map(|name| format!("{:x}", set(name)))
            .join(" ")
    });
    sets.collect()
}

/// Open descriptors, by what they are.
#[must_use]
pub fn open_descriptors() -> HashSet<(String, String)> {
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    let entries = folder.filter_map(|entry| {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).ok()?;
        Some((
            entry.file_name().into_string().unwrap(),
            target.to_str().unwrap().to_owned(),
        ))
    });
    // The folder's own descriptor is gone by the time that one looks at it.
    entries
        .filter(|(_, target)| !target.ends_with("/fd"))
        .collect()
}

//! `cargo xtask kernels`: the live tests on each kernel that we claim, in QEMU.

use crate::{
    Result,
    boot::{Boot, Fetched, Report, Run},
    executables::{self, Executable},
    host,
    kernel::{KNOWN, Known},
    netdevsim,
};
use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// What runs where.
const MATRIX: [Boot; 9] = [
    // No reasons, so what is told of them cannot be tested; and no subsystems before 6.4.
    boot(
        "5.10",
        &[
            AGREE,
            CONTRACT,
            WAKE,
            COUNTERS,
            FILTER,
            LIVE_WITHOUT_REASONS,
            FIELDS,
            PROGRAMS,
            CAPABILITIES,
            PRIVILEGES,
            NETLINK,
            VMLINUZ,
        ],
    ),
    boot(
        "6.1",
        &[
            AGREE,
            CONTRACT,
            WAKE,
            COUNTERS,
            FILTER,
            LIVE,
            FIELDS,
            PROGRAMS,
            CAPABILITIES,
            PRIVILEGES,
            NETLINK,
            RESOLVE,
            VMLINUZ,
        ],
    ),
    boot("6.12", &WITH_SUBSYSTEMS),
    boot("newest", &WITH_SUBSYSTEMS),
    // Debian's next release: none of what it says is recorded here.
    Boot {
        modules: &[],
        ..boot("sid", &[VMLINUZ])
    },
    Boot {
        append: "lockdown=confidentiality",
        ..boot("6.12", &[LOCKDOWN])
    },
    Boot {
        modules: &NETDEVSIM,
        extra: Some(netdevsim::module),
        ..boot("6.1", &[HARDWARE])
    },
    // Wireless is in these alone.
    subsystems("6.12-generic", &SUBSYSTEMS_6_12),
    subsystems("newest-generic", &SUBSYSTEMS),
];

/// What runs where it is named: the tests are built once more for it, which takes longer than they.
const BY_NAME: [Boot; 4] = [
    boot("5.10-arm64", &ARM64_WITHOUT_REASONS),
    boot("newest-arm64", &ARM64),
    Boot {
        only_modules: &MODULES,
        ..boot("newest-arm64-16k", &PAGES)
    },
    Boot {
        modules: &MODULES_S390X,
        ..boot("6.12-s390x", &BIG_ENDIAN)
    },
];

/// What there may be of the architecture's own: programs that the kernel compiles for it, structures, system calls, images. The
/// rest is of the kernel's sources, which are one for all (netlink, openvswitch), or of how processors see each other's writes,
/// which an emulated one does as its host (wake); and a filter's program is checked by the same tests on the others.
const ARM64: [Run; 7] = [AGREE, COUNTERS, LIVE, FIELDS, PROGRAMS, RESOLVE, VMLINUZ];
const ARM64_WITHOUT_REASONS: [Run; 6] = [
    AGREE,
    COUNTERS,
    LIVE_WITHOUT_REASONS,
    FIELDS,
    PROGRAMS,
    VMLINUZ,
];

/// What there may be of the byte order: what is read of the kernel, what goes to it, and what the eBPF programs write. What is not
/// here has not been seen to its end there: see CONTRIBUTING.md.
const BIG_ENDIAN: [Run; 6] = [
    without_perf(AGREE),
    without_perf(CONTRACT),
    COUNTERS,
    without_perf(LIVE),
    PROGRAMS,
    NETLINK,
];

/// For machines that the perf backend is not for.
const fn without_perf(run: Run) -> Run {
    Run {
        backends: "ebpf,netlink",
        ..run
    }
}

/// What is made of pages: rings, mapped arrays, and their least sizes.
const PAGES: [Run; 3] = [AGREE, COUNTERS, LIVE];

/// What runs on kernels whose modules have reasons of their own.
const WITH_SUBSYSTEMS: [Run; 14] = [
    AGREE,
    OPENVSWITCH,
    CONTRACT,
    WAKE,
    COUNTERS,
    FILTER,
    LIVE,
    FIELDS,
    PROGRAMS,
    CAPABILITIES,
    PRIVILEGES,
    NETLINK,
    RESOLVE,
    VMLINUZ,
];

const fn subsystems(kernel: &'static str, modules: &'static [&'static str]) -> Boot {
    Boot {
        modules: &["drop_monitor", "veth"],
        only_modules: modules,
        ..boot(kernel, &[REASONS_OF_MODULES])
    }
}

const fn boot(kernel: &'static str, runs: &'static [Run]) -> Boot {
    Boot {
        kernel,
        append: "",
        modules: &MODULES,
        only_modules: &[],
        extra: None,
        runs,
    }
}

const ALL: &str = "ebpf,perf,netlink";

const AGREE: Run = Run {
    test: "agree",
    // All backends, and dropwatch.
    filter: &["same_drops"],
    backends: ALL,
};
const OPENVSWITCH: Run = Run {
    test: "agree",
    filter: &["openvswitch"],
    backends: ALL,
};
const CONTRACT: Run = Run {
    test: "contract",
    // It counts programs by bpftool, which each kernel has its own of.
    filter: &["--skip", "a_dropped_monitor_leaves_no_program"],
    backends: ALL,
};
const WAKE: Run = Run {
    test: "wake",
    // The others measure time, which an emulated kernel has its own of.
    filter: &[
        "by_edge",
        "stays_readable",
        "tiny_buffer",
        "sleeps_and_wakes",
        "of_any_cpu",
    ],
    backends: ALL,
};
const COUNTERS: Run = Run {
    test: "counters",
    filter: &["exact", "kinds", "both"],
    backends: "ebpf",
};
const FILTER: Run = Run {
    test: "filter",
    // The others are about names, which not every kernel has.
    filter: &["agree", "count", "told"],
    backends: ALL,
};
const LIVE: Run = Run {
    test: "live",
    filter: &["every_field", "snap_length", "full_buffer", "json"],
    backends: ALL,
};
const LIVE_WITHOUT_REASONS: Run = Run {
    test: "live",
    filter: &["every_field", "snap_length", "json"],
    backends: ALL,
};
const FIELDS: Run = Run {
    test: "fields",
    filter: &[],
    backends: ALL,
};
const PROGRAMS: Run = Run {
    test: "programs",
    filter: &[],
    backends: "ebpf",
};
const CAPABILITIES: Run = Run {
    test: "refusals",
    filter: &["needs_cap", "without_btf", "when_nothing_works"],
    backends: ALL,
};
const PRIVILEGES: Run = Run {
    test: "privileges",
    filter: &[],
    backends: ALL,
};
const NETLINK: Run = Run {
    test: "netlink",
    filter: &[],
    backends: "netlink",
};
const LOCKDOWN: Run = Run {
    test: "lockdown",
    filter: &[],
    backends: "ebpf,netlink",
};
const VMLINUZ: Run = Run {
    test: "vmlinuz",
    filter: &[],
    // Reads files alone.
    backends: "",
};
const RESOLVE: Run = Run {
    test: "resolve",
    // Live: BTF against the tracepoint's print fmt. The others read fixtures, which no guest has.
    filter: &["what_the_kernel_says_of_itself_agrees"],
    // Of none, and to be named nonetheless: then tracefs has to be there.
    backends: "",
};
const REASONS_OF_MODULES: Run = Run {
    test: "modules",
    filter: &[],
    backends: ALL,
};
const HARDWARE: Run = Run {
    test: "hardware",
    filter: &[],
    backends: "netlink",
};

/// The third backend, what the makers of drops need, and a subsystem with reasons of its own.
const MODULES: [&str; 8] = [
    "drop_monitor",
    "veth",
    "tun",
    "nf_tables",
    "sch_ingress",
    "cls_bpf",
    "vxlan",
    "openvswitch",
];

/// The same, and what libcrc32c, which nf_tables and openvswitch need, asks for as it starts, by no module's name; the other kernels
/// have that in themselves.
const MODULES_S390X: [&str; 9] = [
    "drop_monitor",
    "veth",
    "tun",
    "crc32c_generic",
    "nf_tables",
    "sch_ingress",
    "cls_bpf",
    "vxlan",
    "openvswitch",
];

/// What the tests of modules load, and what they have loaded by the kernel.
const SUBSYSTEMS: [&str; 7] = [
    "drop_monitor",
    "veth",
    "openvswitch",
    "mac80211_hwsim",
    "sch_codel",
    "sch_netem",
    "sch_tbf",
];
/// The same, and what openvswitch's libcrc32c asked for as it started, by no module's name.
const SUBSYSTEMS_6_12: [&str; 8] = [
    "drop_monitor",
    "veth",
    "openvswitch",
    "crc32c_generic",
    "mac80211_hwsim",
    "sch_codel",
    "sch_netem",
    "sch_tbf",
];

/// The third backend, and what netdevsim needs.
const NETDEVSIM: [&str; 4] = ["drop_monitor", "psample", "udp_tunnel", "ip6_udp_tunnel"];

/// Programs that the tests call in the guest, and the packages that have them.
pub(crate) const TOOLS: [(&str, &str); 7] = [
    ("devlink", "iproute2"),
    ("dropwatch", "dropwatch"),
    ("ip", "iproute2"),
    ("iw", "iw"),
    ("nft", "nftables"),
    ("tc", "iproute2"),
    ("tcpdump", "tcpdump"),
];

/// Guests that run at once: each takes a processor, and few machines have many more to give.
const AT_ONCE: usize = 2;

/// Runs the matrix, or what there is for the kernels named.
pub(crate) fn run(arguments: &[&str]) -> Result {
    if arguments == ["--list"] {
        list();
        return Ok(());
    }
    for name in arguments {
        Known::by_name(name)?;
    }
    let all = MATRIX.iter();
    let boots: Vec<&Boot> = match arguments {
        [] => all.collect(),
        names => all
            .chain(&BY_NAME)
            .filter(|boot| names.contains(&boot.kernel))
            .collect(),
    };
    // One after the other; what cannot be fetched or built fails its boots, not the others.
    let fetched: Vec<Result<Fetched>> = boots.iter().map(|boot| boot.fetch(&TOOLS)).collect();
    let mut executables: BTreeMap<&str, Result<Vec<Executable>>> = BTreeMap::new();
    for architecture in fetched.iter().flatten().map(|it| it.kernel.architecture) {
        executables.entry(architecture.name).or_insert_with(|| {
            println!("xtask: building the tests for {}", architecture.name);
            executables::build(architecture)
        });
    }
    let waiting = Mutex::new(boots.iter().zip(fetched).enumerate());
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = lock(&waiting).next();
                    let Some((place, (boot, fetched))) = next else {
                        break;
                    };
                    let report = fetched.and_then(|fetched| {
                        let built = executables[fetched.kernel.architecture.name].as_ref();
                        boot.run(fetched, built.map_err(String::clone)?)
                    });
                    // Under the lock, so that one guest's lines stay together.
                    let mut reports = lock(&reports);
                    show(boot, &report);
                    let kept = report
                        .as_ref()
                        .map_or(Ok(()), |report| keep(boot, &report.output));
                    kept.unwrap_or_else(|e| println!("{e}"));
                    reports.push((place, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(place, _)| *place);
    table(&boots, &reports);
    let is_bad = |report: &Result<Report>| !report.as_ref().is_ok_and(Report::is_good);
    match reports.iter().filter(|(_, report)| is_bad(report)).count() {
        0 => Ok(()),
        bad => Err(format!("{bad} of {} boots failed", reports.len())),
    }
}

/// The kernels, and where in the cache they are.
fn list() {
    for known in &KNOWN {
        let Known { name, suite, .. } = known;
        match known.cached() {
            Some(kernel) => println!("{name:<17} {suite:<18} {}", kernel.image.display()),
            None => println!("{name:<17} {suite:<18} not in the cache"),
        }
    }
}

/// What a guest said: all of it where something failed, else libtest's last lines.
fn show(boot: &Boot, report: &Result<Report>) {
    println!("\n== {} {}", boot.kernel, boot.append);
    match report {
        Ok(report) if report.is_good() => {
            for (name, outcome) in &report.runs {
                println!("{}: {name}: {}", report.release, outcome.result);
            }
        }
        Ok(report) => println!("{}", report.output),
        Err(why) => println!("{why}"),
    }
}

/// Keeps all that a guest said, tables of its tests among it, in `target/kernels`.
fn keep(boot: &Boot, output: &str) -> Result {
    let folder = host::workspace().join("target/kernels");
    fs::create_dir_all(&folder)
        .map_err(|e| format!("cannot create `{}`: {e}", folder.display()))?;
    // A kernel may be booted more than once, for other tests.
    let only = match boot.runs {
        [run] => run.test,
        _ => "",
    };
    let name = format!("{} {} {only}", boot.kernel, boot.append);
    let words: Vec<&str> = name.split([' ', '=']).filter(|it| !it.is_empty()).collect();
    let name = words.join("-");
    host::write(&folder.join(name + ".txt"), output.as_bytes())
}

fn table(boots: &[&Boot], reports: &[(usize, Result<Report>)]) {
    println!(
        "\n{:<28} {:<12} {:<18} {:>6} {:>6} {:>7}",
        "kernel", "test", "backends", "passed", "failed", "skipped"
    );
    for (place, report) in reports {
        let boot = boots[*place];
        let Ok(report) = report else {
            println!("{:<28} did not run, see above", boot.kernel);
            continue;
        };
        for (run, (name, outcome)) in boot.runs.iter().zip(&report.runs) {
            let kernel = format!("{} {}", report.release, boot.append);
            println!(
                "{:<28} {name:<12} {:<18} {:>6} {:>6} {:>7}{}",
                kernel.trim_end(),
                run.backends,
                outcome.passed,
                outcome.failed,
                outcome.skipped.len(),
                if outcome.is_good() { "" } else { "   FAILED" },
            );
            for (test, reason) in &outcome.skipped {
                println!("{:<28} skipped {test}: {reason}", "");
            }
        }
    }
}

/// A thread that panicked takes its own report with it, not those of others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

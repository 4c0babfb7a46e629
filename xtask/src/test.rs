//! `cargo xtask test`: every check and test of the project, in the order in which they fail fastest.

use crate::{
    Result,
    architecture::Architecture,
    deb::Suite,
    ebpf,
    host::{self, run},
    kernels, package, unsafety,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the live tests call: the reference that we are compared with, makers of drops, takers of
/// privileges.
const PACKAGES: [&str; 10] = [
    "linux-perf",
    "bpftool",
    "nftables",
    "iproute2",
    "util-linux",
    "tcpdump",
    "tshark",
    // The exporter's unit, and the system calls that it allows.
    "procps",
    "strace",
    "systemd",
];
/// Every feature of the library, each of which must build alone.
pub(crate) const FEATURES: [&str; 10] = [
    "ebpf",
    "perf",
    "netlink",
    "tokio",
    "async-io",
    "serde",
    "image",
    "replay",
    "source-lines",
    "tracing",
];

pub(crate) fn run_all(install: bool) -> Result {
    if !install {
        host::forbid_installing();
    }
    host::apt_install(&PACKAGES)?;
    if install {
        ebpf::install()?;
    }
    if !host::is_root() {
        return Err(
            "the live tests need root, and without them this is no test run: sudo cargo xtask test\n\
             (plain `cargo test` runs what needs no privilege)"
                .to_owned(),
        );
    }
    step("format", cargo(&["fmt", "--all", "--check"]))?;
    println!("\n== the list of what is unsafe is what the sources have");
    unsafety::check()?;
    let clippy = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ];
    step("clippy", cargo(&clippy))?;
    for feature in FEATURES {
        let alone = [
            "clippy",
            "--quiet",
            "-p",
            "skbdrop",
            "--no-default-features",
            "--features",
            feature,
        ];
        step(
            &format!("clippy, feature {feature} alone"),
            cargo(&alone).args(["--", "-D", "warnings"]),
        )?;
    }
    let none = [
        "clippy",
        "--quiet",
        "-p",
        "skbdrop",
        "--no-default-features",
        "--",
        "-D",
        "warnings",
    ];
    step("clippy without features", cargo(&none))?;
    let doc = [
        "doc",
        "--quiet",
        "--no-deps",
        "-p",
        "skbdrop",
        "-p",
        "skbdrop-ebpf",
        "--all-features",
    ];
    step(
        "documentation",
        cargo(&doc).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    println!("\n== the eBPF object is what the sources build");
    ebpf::check()?;
    step(
        "unit and documentation tests, and that of allocations",
        cargo(&[
            "test",
            "-p",
            "skbdrop",
            "-p",
            "skbdrop-ebpf",
            "-p",
            "xtask",
            "-p",
            "skbdrop-benches",
            "-p",
            "skbdrop-examples",
            "--all-features",
        ]),
    )?;
    live()?;
    package::check()?;
    println!("\n== the tests on other kernels, in QEMU");
    kernels::run(&[])
}

/// The tests of the tests' crate that run in guests alone: they switch what is one for a whole system, load
/// modules, or need the image that it was booted from.
const IN_GUESTS: [&str; 5] = ["netlink", "hardware", "lockdown", "modules", "vmlinuz"];

/// The tests against the running kernel. They share it, so one at a time.
fn live() -> Result {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tests = tests_here()?;
    let tests = tests.iter().flat_map(|test| ["--test", test]);
    step(
        "tests against the running kernel",
        host::with_tracefs(Path::new(&cargo))
            .args(["test", "-p", "skbdrop-tests"])
            .args(tests)
            .args(["--", "--include-ignored", "--test-threads=1"])
            // openvswitch and drop_monitor are modules, which this kernel may not have.
            .args(["--skip", "openvswitch", "--skip", "dropwatch"])
            .env("SKBDROP_PROMETHEUS", database("prometheus")?)
            .env("SKBDROP_VICTORIA_METRICS", database("victoria-metrics")?)
            .current_dir(host::workspace()),
    )
}

/// The program of a database that the exporters' tests run, named as its package: in the cache, as the installed
/// package would start a service.
fn database(name: &str) -> Result<PathBuf> {
    let folder = Suite::open(DATABASES, Architecture::own()?)?.unpacked(name)?;
    Ok(folder.join("usr/bin").join(name))
}

/// It has a VictoriaMetrics that takes OTLP, which Debian leaves out of its Prometheus. The programs need few libraries,
/// and run on older releases too.
const DATABASES: &str = "trixie";

/// Those of the tests' crate that are not for guests, by the manifest.
fn tests_here() -> Result<Vec<String>> {
    let path = host::workspace().join("tests/Cargo.toml");
    let manifest =
        fs::read_to_string(&path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
    let names = manifest.split("[[test]]").skip(1).filter_map(|section| {
        let name = section
            .lines()
            .find_map(|line| line.strip_prefix("name = "))?;
        Some(name.trim_matches('"').to_owned())
    });
    Ok(names
        .filter(|name| !IN_GUESTS.contains(&name.as_str()))
        .collect())
}

/// Our own cargo, in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(host::workspace());
    command
}

/// Runs one step under a heading.
pub(crate) fn step(name: &str, mut command: impl std::borrow::BorrowMut<Command>) -> Result {
    println!("\n== {name}");
    run(command.borrow_mut())
}

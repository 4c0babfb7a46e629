//! `cargo xtask test`: every check and test of the project, in the order in which they fail fastest.

use crate::{
    Result, ebpf,
    host::{self, run},
    kernels,
};
use std::{env, fs, path::Path, process::Command};

/// What the live tests call: the reference that we are compared with, makers of drops, takers of
/// privileges.
const PACKAGES: [&str; 7] = [
    "linux-perf",
    "bpftool",
    "nftables",
    "iproute2",
    "util-linux",
    "tcpdump",
    "tshark",
];
/// Every feature of the library, each of which must build alone.
const FEATURES: [&str; 9] = [
    "ebpf",
    "perf",
    "netlink",
    "tokio",
    "async-io",
    "serde",
    "image",
    "replay",
    "source-lines",
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
    package()?;
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
            .current_dir(host::workspace()),
    )
}

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

/// What a stranger gets: the packaged crates, in a project outside of the workspace.
fn package() -> Result {
    step(
        "package",
        cargo(&[
            "package",
            "--quiet",
            "--workspace",
            "--allow-dirty",
            "--no-verify",
        ])
        .arg("--target-dir")
        .arg(host::workspace().join("target")),
    )?;
    let root = host::workspace();
    let packages = root.join("target/package");
    let folder = env::temp_dir().join(format!("skbdrop-stranger-{}", std::process::id()));
    let result = stranger(&packages, &folder);
    let _ = fs::remove_dir_all(&folder);
    result
}

fn stranger(packages: &Path, folder: &Path) -> Result {
    fs::create_dir_all(folder.join("src"))
        .map_err(|e| format!("cannot create `{}`: {e}", folder.display()))?;
    let version = env!("CARGO_PKG_VERSION");
    for name in ["skbdrop", "skbdrop-ebpf"] {
        let archive = packages.join(format!("{name}-{version}.crate"));
        run(Command::new("tar")
            .arg("-xzf")
            .arg(archive)
            .arg("-C")
            .arg(folder))?;
    }
    let manifest = format!(
        "[package]\nname = \"stranger\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [workspace]\n\
         [dependencies]\nskbdrop = \"{version}\"\nfutures = \"0.3\"\n\
         tokio = {{ version = \"1\", features = [\"macros\", \"rt\"] }}\n\
         [patch.crates-io]\nskbdrop = {{ path = \"skbdrop-{version}\" }}\nskbdrop-ebpf = {{ path = \"skbdrop-ebpf-{version}\" }}\n"
    );
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).map_err(|e| format!("cannot write `{name}`: {e}"))
    };
    write("Cargo.toml", &manifest)?;
    write("src/main.rs", STRANGER)?;
    let target = host::workspace().join("target/stranger");
    let mut build = cargo(&["build", "--quiet"]);
    step(
        "a project that depends on the packaged crates builds",
        build.current_dir(folder).env("CARGO_TARGET_DIR", &target),
    )?;
    step(
        "… and sees a drop",
        &mut Command::new(target.join("debug/stranger")),
    )
}

/// The README's program, with a drop of its own making.
const STRANGER: &str = r#"
use futures::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> skbdrop::Result<()> {
    let mut drops = skbdrop::Monitor::builder().build()?;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.send_to(b"nobody listens", "127.0.0.1:9").expect("sent");
    while let Some(event) = drops.next().await {
        let event = event?;
        println!("{event}");
        if event.dst.is_some_and(|dst| dst.port == Some(9)) {
            break;
        }
    }
    Ok(())
}
"#;

/// Our own cargo, in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(host::workspace());
    command
}

/// Runs one step under a heading.
fn step(name: &str, mut command: impl std::borrow::BorrowMut<Command>) -> Result {
    println!("\n== {name}");
    run(command.borrow_mut())
}

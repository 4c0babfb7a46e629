//! `cargo xtask miri`: the library's tests of what touches bytes and shared memory, interpreted by Miri, which sees undefined behaviour
//! that a run of the compiled program does not.

use crate::{Result, host};
use std::process::Command;

/// Miri goes with a nightly compiler. rustup's, whichever is there: what is undefined is so in each.
const TOOLCHAIN: &str = "nightly";
/// What is interpreted: memory that is shared with the kernel, and what is read of a kernel's bytes. What calls the kernel cannot be,
/// and the search of the wake-up protocol has no memory but its own, and too many states.
const TESTS: [&str; 6] = [
    "sys::ring::",
    "sys::shared::",
    "backend::ebpf::decode::",
    "backend::netlink::decode::",
    "backend::perf::decode::",
    "backend::perf::ring::",
];

pub(crate) fn run() -> Result {
    let rustup = || {
        let mut command = Command::new("rustup");
        command.args(["run", TOOLCHAIN, "cargo", "miri"]);
        command.current_dir(host::workspace());
        command
    };
    if host::output(rustup().arg("--version")).is_none() {
        return Err(format!(
            "no Miri\nremedy: rustup toolchain install {TOOLCHAIN} --component miri,rust-src"
        ));
    }
    let target = host::workspace().join("target/miri");
    host::run(
        rustup()
            .args([
                "test",
                "-p",
                "skbdrop",
                "--lib",
                "--all-features",
                "--target-dir",
            ])
            .arg(target)
            .arg("--")
            .args(TESTS)
            // Tests read fixtures, and the clock.
            .env("MIRIFLAGS", "-Zmiri-disable-isolation")
            // That of the cargo which runs us would be used in rustup's place.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO"),
    )
}

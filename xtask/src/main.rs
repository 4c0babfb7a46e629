//! `cargo xtask COMMAND`: the project's own commands, one file each; other files are what they work
//! with.

mod api;
mod architecture;
mod bench;
mod boot;
mod cpio;
mod deb;
mod ebpf;
mod executables;
mod facts;
mod fuzz;
mod guest;
mod host;
mod kernel;
mod kernels;
mod ldd;
mod libtest;
mod machine;
mod miri;
mod modinfo;
mod modules;
mod netdevsim;
mod package;
mod packages;
mod programs;
mod qemu;
mod readelf;
mod soak;
mod test;
mod unsafety;
mod vm;

use std::process::ExitCode;

/// What went wrong, as a sentence for the person at the terminal.
type Result<T = ()> = std::result::Result<T, String>;

const HELP: &str = "\
cargo xtask COMMAND

  ebpf            build the eBPF object from skbdrop-ebpf and put it into skbdrop
  ebpf --check    build it and compare it with the committed one
  ebpf --install  install what the build needs (as root on Debian, by apt and cargo)
  test            install what the tests need (as root on Debian), run every check and test
  test --no-install   the same with what is there already
  fuzz [TARGET]… [--seconds N]
                  feed the parsers with hostile input: all targets, with a report, or those named, each for N seconds (60)
  miri            run the tests of what touches bytes and shared memory under Miri, of rustup's nightly
  kernels [NAME]…   run the live tests on other kernels, in QEMU: x86's, or those named
  kernels --list  the kernels' names, and where in the cache they are
  facts KERNEL…   record what kernels say of drop reasons, for the resolver's tests: running is this
                  machine's; others boot in QEMU, by one of the names above or as SUITE/PACKAGE of Debian
  bench [OPTION]…  measure what it costs, ours and other tools', as root: a report and a chart
  soak [--minutes N] [--kernel NAME]
                  watch drops for an hour, or N minutes, by all backends at once, as root: a report
  package         check the packages as a stranger gets them: each feature, least versions, licences
  api             write the list of what is public, after a change of it that is meant
  api --check     compare the list with what is public
  unsafe          write the list of what is unsafe in the published crates, with the reasons
  unsafe --check  compare the list with the sources
  vm --kernel VMLINUZ [OPTION]… -- COMMAND…
                  run a command in another kernel, in QEMU: its output and exit status are ours
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = |()| ExitCode::SUCCESS;
    let result = match arguments.as_slice() {
        ["ebpf"] => ebpf::build().map(done),
        ["ebpf", "--check"] => ebpf::check().map(done),
        ["ebpf", "--install"] => ebpf::install().map(done),
        ["test"] => test::run_all(true).map(done),
        ["test", "--no-install"] => test::run_all(false).map(done),
        ["fuzz", arguments @ ..] => fuzz::fuzz(arguments).map(done),
        ["miri"] => miri::run().map(done),
        ["kernels", arguments @ ..] => kernels::run(arguments).map(done),
        ["facts", kernels @ ..] => facts::run(kernels).map(done),
        ["bench", arguments @ ..] => bench::run(arguments),
        ["soak", arguments @ ..] => soak::run(arguments),
        ["package"] => package::check().map(done),
        ["api"] => api::write().map(done),
        ["api", "--check"] => api::check().map(done),
        ["unsafe"] => unsafety::write().map(done),
        ["unsafe", "--check"] => unsafety::check().map(done),
        ["vm", arguments @ ..] => vm::run(arguments),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(format!("no such command: {}\n\n{HELP}", other.join(" "))),
    };
    match result {
        Ok(status) => status,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

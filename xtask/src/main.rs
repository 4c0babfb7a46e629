//! `cargo xtask COMMAND`: the project's own commands, one file each.

mod ebpf;
mod host;
mod test;

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
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["ebpf"] => ebpf::build(),
        ["ebpf", "--check"] => ebpf::check(),
        ["ebpf", "--install"] => ebpf::install(),
        ["test"] => test::run_all(true),
        ["test", "--no-install"] => test::run_all(false),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("no such command: {}\n\n{HELP}", other.join(" "))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

//! Says which backends work here, and what the others would need.
//!
//! ```text
//! # cargo run --example doctor
//! ebpf     yes
//! perf     no: tracefs is not mounted (mount -t tracefs none /sys/kernel/tracing)
//! ```

use std::{
    io::{ErrorKind, Write as _},
    process::ExitCode,
};

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("usage: doctor (it takes no arguments)");
        return ExitCode::from(2);
    }
    let report = skbdrop::support();
    let mut out = std::io::stdout().lock();
    match write!(out, "{report}").and_then(|()| out.flush()) {
        // A reader that left early has seen enough.
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            eprintln!("doctor: cannot write to standard output: {e}");
            return ExitCode::FAILURE;
        }
        _ => {}
    }
    match report.best() {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

//! Says which backends work here, and what the others would need.
//!
//! ```text
//! # cargo run --example doctor
//! ebpf     yes
//! perf     no: tracefs is not mounted (mount -t tracefs none /sys/kernel/tracing)
//! ```

use std::{io::Write as _, process::ExitCode};

fn main() -> ExitCode {
    let report = skbdrop::support();
    // A reader that left early has seen enough.
    let _ = write!(std::io::stdout(), "{report}");
    match report.best() {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

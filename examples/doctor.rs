//! Says which backends work here, and what the others would need.
//!
//! ```text
//! # cargo run --release --example doctor
//! ebpf     yes
//! perf     no: tracefs is not mounted (mount -t tracefs none /sys/kernel/tracing)
//! ```

use skbdrop_examples::{Result, output};
use std::process::ExitCode;

const HELP: &str = "\
doctor: which backends work here, and what the others would need

It takes no arguments. Its status is 0 if at least one works.
";

fn main() -> ExitCode {
    skbdrop_examples::run("doctor", HELP, skbdrop_examples::nothing, |()| report())
}

fn report() -> Result {
    let report = skbdrop::support();
    output::print(&report.to_string())?;
    if report.best().is_none() {
        // The report has told why.
        std::process::exit(1);
    }
    Ok(())
}

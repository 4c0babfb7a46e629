//! `cargo xtask bench`: what it costs to watch drops, by floods of real ones on the loopback: ours, the floor below which no
//! program can be, and the tools that people use today, in turn on the same machine.

mod binaries;
mod chart;
mod contestant;
mod ground;
mod growth;
mod guests;
mod options;
mod process;
mod programs;
mod provenance;
mod report;
mod run;
mod single;
mod statistics;
mod tournament;

use crate::{
    Result,
    host::{self, TemporaryFolder},
};
pub(crate) use binaries::Binaries;
use ground::Ground;
use options::Options;
pub(crate) use provenance::Provenance;
use std::{
    path::Path,
    process::{Command, ExitCode},
};

/// What the runs need, wherever they are.
#[derive(Debug)]
struct Bench {
    options: Options,
    binaries: Binaries,
    ground: Ground,
    /// For what tools write.
    folder: TemporaryFolder,
}

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let options = Options::parse(arguments)?;
    if options.vm {
        return guests::run(&options, arguments);
    }
    if !host::is_root() {
        return Err(
            "to trace the kernel takes root (with the path of cargo): sudo -E cargo xtask bench"
                .to_owned(),
        );
    }
    if !Path::new(host::TRACEFS).join("events").exists() {
        return again_with_tracefs(arguments);
    }
    host::need(&[("ip", "iproute2"), ("nsenter", "util-linux")])?;
    let (contestants, absent) = contestant::present(contestant::chosen(&options.only)?);
    let bench = Bench {
        binaries: Binaries::build()?,
        ground: Ground::new()?,
        folder: TemporaryFolder::new("bench")?,
        options,
    };
    let provenance = Provenance::read("cargo xtask bench", arguments);
    // First, since it tells what the end of each takes, and who cannot be started.
    let idle = single::idle(&bench, &contestants)?;
    let report = report::Report {
        provenance,
        absent,
        tournaments: [1, 2]
            .into_iter()
            .map(|senders| tournament::hold(&bench, &idle, senders))
            .collect::<Result<_>>()?,
        idle,
        run_times: programs::measure(&bench, &contestants)?,
        latencies: single::latencies(&bench, &contestants)?,
        growth: growth::measure(&bench)?,
    };
    let out = &bench.options.out;
    let chart = out.with_extension("svg");
    let name = chart
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let text = report.markdown(&name);
    bench.options.write(&text)?;
    host::write(&chart, chart::draw(&report).as_bytes())?;
    println!(
        "{text}\nxtask: wrote {} and {}",
        out.display(),
        chart.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// The same with tracefs mounted, in a mount namespace that goes with it: where it was not mounted, it will not be.
fn again_with_tracefs(arguments: &[&str]) -> Result<ExitCode> {
    let program = std::env::current_exe().map_err(|e| format!("cannot find ourselves: {e}"))?;
    let mut command: Command = host::with_tracefs(&program);
    let status = command.arg("bench").args(arguments).status();
    let status = status.map_err(|e| format!("cannot start `unshare`: {e}"))?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

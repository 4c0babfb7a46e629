//! `cargo xtask soak`: watches drops for an hour, by all backends of this machine or of a guest at once, and writes down what was held
//! and where each drop went. The program is `soak` of the crate of benches.

mod place;
mod report;
mod said;

use crate::{
    Result,
    bench::{Binaries, Provenance},
    host,
};
use place::Place;
use said::Said;
use std::process::ExitCode;

const MINUTES: u64 = 60;
/// Where the report goes, in the workspace.
const REPORT: &str = "docs/soak.md";
const USAGE: &str = "usage: cargo xtask soak [--minutes N] [--kernel NAME]";

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let (mut minutes, mut place) = (MINUTES, Place::Here);
    for pair in arguments.chunks(2) {
        match *pair {
            ["--minutes", number] => {
                minutes = match number.parse() {
                    Ok(number) if number > 0 => number,
                    _ => return Err(format!("no number of minutes: {number}")),
                }
            }
            ["--kernel", name] => place = Place::guest(name)?,
            _ => return Err(USAGE.to_owned()),
        }
    }
    if matches!(place, Place::Here) {
        if !host::is_root() {
            return Err("to trace the kernel takes root: sudo -E cargo xtask soak".to_owned());
        }
        host::need(&[("ip", "iproute2"), ("unshare", "util-linux")])?;
    }
    let program = Binaries::build()?.path("soak");
    let provenance = Provenance::read("cargo xtask soak", arguments);
    let (output, success) = place.run(&program, minutes)?;
    let mut said = Said::parse(&output);
    if said.accounts.is_empty() {
        return Err("`soak` came to no end".to_owned());
    }
    said.faults.extend(said.grown());
    if matches!(place, Place::Guest(_)) {
        // There is all that each needs.
        let absent = said.absent.iter().map(|absent| format!("without {absent}"));
        said.faults.extend(absent);
    }
    let report = report::report(&said, minutes, &place, &provenance);
    host::write(&host::workspace().join(REPORT), report.as_bytes())?;
    println!("xtask: wrote {REPORT}");
    Ok(match success && said.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

//! `cargo xtask bench --vm`: what takes a kernel with modules and kprobes, in QEMU: the netlink backend beside dropwatch, and
//! pwru. Emulated, so that figures compare with each other alone.

use super::{
    binaries::Binaries, options::Options, process::figure, provenance::Provenance,
    statistics::Summary,
};
use crate::{
    Result,
    architecture::Architecture,
    deb::Suite,
    guest::Guest,
    host::{self, TemporaryFolder},
    kernel::{Kernel, Known},
};
use std::{fmt::Write as _, path::PathBuf, process::ExitCode, time::Duration};

const KERNEL: &str = "6.12";
const SCRIPT: &str = include_str!("guest.sh");
/// Programs of ours, in the guest's folder `/bench`.
const PROGRAMS: [&str; 3] = ["flood", "reader", "usage"];
/// Some ten seconds a watcher and round, on an emulated processor.
const TIMEOUT: Duration = Duration::from_secs(900);

/// What is measured, as the script calls it, and as the report does.
const WATCHERS: [(&str, &str); 5] = [
    ("netlink", "**skbdrop netlink**"),
    ("dropwatch", "dropwatch, packet mode"),
    ("ebpf", "**skbdrop ebpf**"),
    ("perf", "**skbdrop perf**"),
    ("pwru", "pwru"),
];

pub(super) fn run(options: &Options, arguments: &[&str]) -> Result<ExitCode> {
    let binaries = Binaries::build()?;
    let kernel = Kernel::fetch(KERNEL)?;
    let release = kernel.release();
    let programs = Guest::programs(kernel.architecture, &[])?;
    let mut guest = Guest::new(programs, kernel.image, Vec::new());
    guest.modules = Some(kernel.modules);
    guest.timeout = TIMEOUT;
    for name in PROGRAMS {
        let path = binaries.path(name).into();
        guest.files.push((path, format!("/bench/{name}")));
    }
    let mut watchers = vec!["netlink", "ebpf", "perf"];
    let mut absent = Vec::new();
    for (name, found) in [("dropwatch", dropwatch()), ("pwru", pwru())] {
        match found {
            Ok(path) => {
                guest.files.push((path, format!("/usr/bin/{name}")));
                watchers.push(name);
            }
            Err(why) => absent.push(format!("`{name}` was not found: {why}")),
        }
    }
    let folder = TemporaryFolder::new("bench")?;
    let script = folder.path().join("script");
    host::write(&script, SCRIPT.as_bytes())?;
    guest.files.push((script, "/bench/script".to_owned()));
    let settings = format!(
        "ROUNDS={} DROPS={} WATCHERS='{}'; . /bench/script",
        options.runs,
        options.count / 15,
        watchers.join(" ")
    );
    guest.command = ["sh", "-c", &settings].map(str::to_owned).to_vec();
    println!("xtask: Linux {release} in QEMU");
    let mut output = Vec::new();
    let status = guest.run(&mut output);
    let output = String::from_utf8_lossy(&output).into_owned();
    print!("{output}");
    if status? != 0 {
        return Err("the guest's script failed, see above".to_owned());
    }
    let provenance = Provenance::read("cargo xtask bench", arguments);
    let text = report(&output, &release, &provenance, &absent)?;
    options.write(&text)?;
    println!("\n{text}\nxtask: wrote {}", options.out.display());
    Ok(ExitCode::SUCCESS)
}

fn dropwatch() -> Result<PathBuf> {
    host::need(&[("dropwatch", "dropwatch")])?;
    host::program("dropwatch").ok_or_else(|| "it is not on the path".to_owned())
}

/// From the package of the kernel's suite, which this machine's own may lack. It takes a library of this machine.
fn pwru() -> Result<PathBuf> {
    let suite = Known::by_name(KERNEL)?.suite;
    host::apt_install(&["libpcap0.8"]).or_else(|_| host::apt_install(&["libpcap0.8t64"]))?;
    let folder = Suite::open(suite, Architecture::own()?)?.unpacked("pwru")?;
    Ok(folder.join("usr/bin/pwru"))
}

/// One round of a watcher.
struct Sample {
    /// Drops a second that the sender made.
    rate: f64,
    /// Drops a second that were delivered.
    delivered: f64,
    /// Parts of the drops that were made.
    seen: f64,
    accounted: f64,
    /// Seconds of processors for a million drops that were delivered.
    cpu: f64,
}

/// A line of the script's. `None` if it is none of this watcher, or not whole.
fn sample(line: &str, watcher: &str) -> Option<Sample> {
    let figures = line.strip_prefix('@')?.strip_prefix(watcher)?;
    let figure = |key| figure(figures, key).map(|number| number as f64);
    let (sent, seconds, made) = (figure("sent")?, figure("ns")? / 1e9, figure("made")?);
    // Who saw nothing at all was not watching, and has no figures.
    let seen = figure("seen").filter(|&seen| seen > 0.0)?;
    let lost = figure("lost").unwrap_or(0.0);
    Some(Sample {
        rate: sent / seconds,
        // Those of the warming up come in the same parts.
        delivered: seen / made * sent / seconds,
        seen: seen / made,
        accounted: (seen + lost) / made,
        cpu: (figure("cpu_us")? - figure("warm_ns")? / 1e3) / seen,
    })
}

fn report(
    output: &str,
    release: &str,
    provenance: &Provenance,
    absent: &[String],
) -> Result<String> {
    let Provenance {
        command,
        processors,
        commit,
        date,
        load,
        ..
    } = provenance;
    let mut text = format!(
        "# What it costs to watch drops, in a guest\n\n\
         `{command}` on {date}, commit {commit}, Linux {release} in QEMU, emulated on {processors}; load before the start: \
         {load}. Emulated figures compare with each other alone.\n\n\
         *Delivered* is thousand drops a second that the watcher had, while they were made as fast as they can be. *Seen* is \
         of the drops that were made; *accounted for* is what was seen and what the watcher says it lost. *CPU* is seconds \
         for a million drops delivered, from after the start to the end.\n\n\
         | | made, thousand/s | delivered, thousand/s | seen | accounted for | CPU |\n\
         | --- | --- | --- | --- | --- | --- |\n"
    );
    let untraced = output.lines().filter_map(|line| {
        let line = line.strip_prefix("@untraced")?;
        Some(figure(line, "sent")? as f64 * 1e6 / figure(line, "ns")? as f64)
    });
    let untraced = Summary::of(untraced).ok_or("the guest gave no results, see above")?;
    let _ = writeln!(text, "| nobody watches | {untraced:.1} | – | – | – | – |");
    for (watcher, name) in WATCHERS {
        let samples: Vec<Sample> = output
            .lines()
            .filter_map(|line| sample(line, watcher))
            .collect();
        let of = |figure: fn(&Sample) -> f64| Summary::of(samples.iter().map(figure));
        let row = (|| {
            Some(format!(
                "| {name} | {:.1} | {:.1} | {:.3} | {:.3} | {:.1} |",
                of(|sample| sample.rate / 1e3)?,
                of(|sample| sample.delivered / 1e3)?,
                of(|sample| sample.seen)?,
                of(|sample| sample.accounted)?,
                of(|sample| sample.cpu)?
            ))
        })();
        let _ = writeln!(
            text,
            "{}",
            row.unwrap_or_else(|| format!(
                "| {name} | saw none, or did not start: the guest's output says why | | | | |"
            ))
        );
    }
    for sentence in absent {
        let _ = writeln!(text, "\nNot measured: {sentence}.");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_script_are_read() {
        let line = "@netlink sent=1000 ns=500000000 made=1200 warm_ns=900000 seen=900 lost=300 cpu_us=2700 peak_kib=1 success=true";
        let sample = sample(line, "netlink").unwrap();
        assert_eq!((sample.rate, sample.delivered), (2000.0, 1500.0));
        assert_eq!((sample.seen, sample.accounted), (0.75, 1.0));
        assert_eq!(sample.cpu, 2.0);
    }

    #[test]
    fn other_lines_are_not() {
        assert!(sample("@netlink sent=1000", "netlink").is_none());
        assert!(
            sample(
                "@perf sent=1 ns=1 made=1 warm_ns=1 seen=1 cpu_us=1",
                "netlink"
            )
            .is_none()
        );
        assert!(sample("noise", "netlink").is_none());
    }
}

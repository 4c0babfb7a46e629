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
const TIMEOUT: Duration = Duration::from_secs(1800);

/// Drops a second, for who asks `drop_monitor`, which has queues of its own.
const RATES: [u32; 6] = [500, 1000, 2000, 4000, 8000, 16_000];

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
        "ROUNDS={} DROPS={} WATCHERS='{}' RATES='{}'; . /bench/script",
        options.runs,
        options.count / 15,
        watchers.join(" "),
        RATES.map(|rate| rate.to_string()).join(" ")
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
    text.push_str(without_reasons(output));
    by_rate(&mut text, output);
    for sentence in absent {
        let _ = writeln!(text, "\nNot measured: {sentence}.");
    }
    Ok(text)
}

/// What to say where pwru saw drops and told no reason.
fn without_reasons(output: &str) -> &'static str {
    let is_without = |line: &str| {
        line.starts_with("@pwru ")
            && sample(line, "pwru").is_some()
            && figure(line, "reasons") == Some(0)
    };
    if output.lines().any(is_without) {
        "\nThis pwru names no reason of these drops: it looks for one in calls of `kfree_skb_reason` alone, and since Linux 6.11 the \
         function is `sk_skb_reason_drop`. What it saw is counted by the flood's port.\n"
    } else {
        ""
    }
}

/// What is accounted for at each rate.
fn by_rate(text: &mut String, output: &str) {
    let asked = ["netlink", "dropwatch"];
    text.push_str(
        "\nBoth that ask the kernel's `drop_monitor`, with drops made at a rate, for two seconds: what they saw, and what is \
         accounted for.\n\n\
         | drops/s asked | made by | skbdrop netlink: seen | accounted for | dropwatch: seen | accounted for |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for rate in RATES {
        let prefix = format!("@{rate} ");
        let of = |watcher: &str| {
            let mut lines = output.lines().filter_map(|line| line.strip_prefix(&prefix));
            lines.find_map(|line| sample(&format!("@{line}"), watcher))
        };
        let samples = asked.map(of);
        let rates = samples.iter().flatten().map(|sample| sample.rate);
        let made = Summary::of(rates).map_or("–".to_owned(), |rate| format!("{rate:.0}"));
        let _ = write!(text, "| {rate} | {made} |");
        for sample in &samples {
            let _ = match sample {
                Some(sample) => write!(text, " {:.3} | {:.3} |", sample.seen, sample.accounted),
                None => write!(text, " – | – |"),
            };
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_at_a_rate_are_told_apart() {
        let output = "@netlink sent=10 ns=1000 made=10 warm_ns=0 seen=5 lost=5 cpu_us=1\n\
            @500 netlink sent=1000 ns=2000000000 made=1000 warm_ns=0 seen=1000 lost=0 cpu_us=9\n\
            @500 dropwatch sent=1000 ns=2000000000 made=1000 warm_ns=0 seen=900 cpu_us=9\n";
        let mut text = String::new();
        by_rate(&mut text, output);
        assert!(
            text.contains("| 500 | 500 (500–500) | 1.000 | 1.000 | 0.900 | 0.900 |"),
            "{text}"
        );
        assert!(text.contains("| 1000 | – | – | – | – | – |"), "{text}");
    }

    #[test]
    fn lines_of_the_script_are_read() {
        let line = "@netlink sent=1000 ns=500000000 made=1200 warm_ns=900000 seen=900 lost=300 cpu_us=2700 peak_kib=1 success=true";
        let sample = sample(line, "netlink").unwrap();
        assert_eq!((sample.rate, sample.delivered), (2000.0, 1500.0));
        assert_eq!((sample.seen, sample.accounted), (0.75, 1.0));
        assert_eq!(sample.cpu, 2.0);
    }

    #[test]
    fn a_pwru_without_reasons_is_told() {
        let line = |figures| format!("@pwru sent=9 ns=9 made=9 warm_ns=0 {figures} cpu_us=9\n");
        assert!(without_reasons(&line("seen=9 reasons=0")).contains("names no reason"));
        assert_eq!(without_reasons(&line("seen=9 reasons=9")), "");
        // It did not watch.
        assert_eq!(without_reasons(&line("seen=0 reasons=0")), "");
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

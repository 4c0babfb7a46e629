//! `cargo xtask soak`: watches drops for an hour, by all backends of this machine at once, and writes down what was held and where
//! each drop went. The program is `soak` of the crate of benches.

use crate::{
    Result,
    bench::{Binaries, Provenance},
    host,
};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{ExitCode, Stdio},
};

const MINUTES: u64 = 60;
/// Where the report goes, in the workspace.
const REPORT: &str = "docs/soak.md";
/// Lines of the table of samples.
const ROWS: usize = 20;
/// Seconds in which buffers are touched for the first time.
const WARM_UP: u64 = 60;
/// By so much the second half of the time may hold more than the first, in KiB of memory: readers keep room for the most that they
/// had to take at once, which a machine that gives them no turn may make come late.
const MAX_GROWTH: u64 = 8 * 1024;

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let minutes = match arguments {
        [] => MINUTES,
        ["--minutes", minutes] => match minutes.parse() {
            Ok(minutes) if minutes > 0 => minutes,
            _ => return Err(format!("no number of minutes: {minutes}")),
        },
        _ => return Err("usage: cargo xtask soak [--minutes N]".to_owned()),
    };
    if !host::is_root() {
        return Err("to trace the kernel takes root: sudo -E cargo xtask soak".to_owned());
    }
    host::need(&[("ip", "iproute2"), ("unshare", "util-linux")])?;
    let program = Binaries::build()?.path("soak");
    let provenance = Provenance::read("cargo xtask soak", arguments);
    let mut child = host::with_tracefs(program.as_ref())
        .args(["--minutes", &minutes.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start `{program}`: {e}"))?;
    let output = child.stdout.take().expect("it was asked to be piped");
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|e| format!("cannot read what `soak` says: {e}"))?;
        println!("{line}");
        lines.push(line);
    }
    let status = child.wait();
    let status = status.map_err(|e| format!("cannot wait for `soak`: {e}"))?;
    let mut said = Said::parse(&lines);
    if said.accounts.is_empty() {
        return Err(format!("`soak` came to no end: {status}"));
    }
    said.faults.extend(said.grown());
    let report = report(&said, minutes, &provenance);
    host::write(&host::workspace().join(REPORT), report.as_bytes())?;
    println!("xtask: wrote {REPORT}");
    Ok(match status.success() && said.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The words `key=value` of a line.
type Words = BTreeMap<String, String>;

/// What the program said, by the first word of each line.
#[derive(Debug, Default, PartialEq)]
struct Said {
    samples: Vec<Words>,
    made: Words,
    accounts: Vec<Words>,
    faults: Vec<String>,
    absent: Vec<String>,
}

impl Said {
    fn parse(lines: &[String]) -> Self {
        let mut said = Self::default();
        for line in lines {
            let Some((first, rest)) = line.split_once(' ') else {
                continue;
            };
            let words = || {
                let words = rest.split(' ').filter_map(|word| word.split_once('='));
                words.map(|(key, value)| (key.to_owned(), value.to_owned()))
            };
            match first {
                "sample" => said.samples.push(words().collect()),
                "made" => said.made = words().collect(),
                "account" => said.accounts.push(words().collect()),
                "fault" => said.faults.push(rest.to_owned()),
                "absent" => said
                    .absent
                    .push(rest.trim_start_matches("backend=").to_owned()),
                _ => {}
            }
        }
        said
    }

    /// The numbers of a key in all samples from this second on.
    fn numbers(&self, key: &str, from: u64) -> Vec<u64> {
        let samples = self
            .samples
            .iter()
            .filter(|it| number(it, "seconds") >= from);
        samples.map(|sample| number(sample, key)).collect()
    }

    /// What the second half held more of than the first.
    fn grown(&self) -> Vec<String> {
        let kinds = [
            ("rss_kib", "KiB of memory", MAX_GROWTH),
            ("descriptors", "descriptors", 0),
            ("threads", "threads", 0),
        ];
        let grown = kinds.into_iter().filter_map(|(key, what, allowed)| {
            let numbers = self.numbers(key, WARM_UP);
            let (first, second) = numbers.split_at(numbers.len() / 2);
            let (before, after) = (first.iter().max()?, second.iter().max()?);
            (*after > before + allowed).then(|| format!("{after} {what}, after {before}"))
        });
        grown.collect()
    }
}

fn number(words: &Words, key: &str) -> u64 {
    let number = words.get(key).and_then(|number| number.parse().ok());
    number.unwrap_or_default()
}

fn report(said: &Said, minutes: u64, provenance: &Provenance) -> String {
    let mut text = format!(
        "# A long run\n\n\
        {minutes} minutes, all backends that the machine has at once in one process, each with a filter; UDP datagrams to a closed port in a \
        network namespace of its own, 200 to 20,000 a second and back within fifty seconds, then ten of silence. Other \
        programs of the machine dropped packets meanwhile. `{}` writes this file.\n\n",
        provenance.command
    );
    let mut line = |line: String| {
        text += &line;
        text.push('\n');
    };
    line(format!(
        "* {}, {}",
        provenance.processors, provenance.memory
    ));
    line(format!(
        "* Linux {}, commit {}, {}",
        provenance.kernel, provenance.commit, provenance.date
    ));
    for absent in &said.absent {
        line(format!("* without {absent}"));
    }
    line("\n## Where each drop went\n".to_owned());
    line(format!(
        "Made: {}. Dropped by all of the machine meanwhile, by the kernel's own count: {}. With each backend the columns add up to the \
         latter, and what was received and lost by eBPF, whose filter takes the namespace and port, to the former.\n",
        number(&said.made, "drops"),
        number(&said.made, "all")
    ));
    line("| backend | received | lost | filtered | undecodable | sum |".to_owned());
    line("| --- | --- | --- | --- | --- | --- |".to_owned());
    for account in &said.accounts {
        let cells = ["received", "lost", "filtered", "undecodable", "sum"]
            .map(|key| number(account, key).to_string());
        let backend = account
            .get("backend")
            .map(String::as_str)
            .unwrap_or_default();
        line(format!("| {backend} | {} |", cells.join(" | ")));
    }
    line("\n## What was held\n".to_owned());
    line(range(said, "rss_kib", "resident memory", "KiB"));
    line(range(said, "descriptors", "descriptors", ""));
    line(range(said, "threads", "threads", ""));
    line(String::new());
    line("| minute | memory, KiB | descriptors | threads |".to_owned());
    line("| --- | --- | --- | --- |".to_owned());
    for sample in said
        .samples
        .iter()
        .step_by(said.samples.len().div_ceil(ROWS).max(1))
    {
        let cells =
            ["rss_kib", "descriptors", "threads"].map(|key| number(sample, key).to_string());
        let minute = number(sample, "seconds") as f64 / 60.0;
        line(format!("| {minute:.1} | {} |", cells.join(" | ")));
    }
    line("\n## What was wrong\n".to_owned());
    match said.faults.is_empty() {
        true => line(format!(
            "Nothing: each drop is in the account, and the second half held no more descriptors and threads than the first, nor {} MiB \
             more memory.",
            MAX_GROWTH / 1024
        )),
        false => said
            .faults
            .iter()
            .for_each(|fault| line(format!("* {fault}"))),
    }
    text
}

/// The least and the most after the first minute, in which buffers are touched for the first time.
fn range(said: &Said, key: &str, what: &str, unit: &str) -> String {
    let numbers = said.numbers(key, WARM_UP);
    let (least, most) = (numbers.iter().min(), numbers.iter().max());
    match (least, most) {
        (Some(least), Some(most)) => {
            let text = format!("* {what} after the first minute: {least} to {most} {unit}");
            text.trim_end().to_owned()
        }
        _ => format!("* {what}: not looked at after the first minute"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_run_is_read_and_told() {
        let said = Said::parse(&lines(
            "absent backend=netlink: no drop_monitor\n\
             sample seconds=10 rss_kib=9000 descriptors=20 threads=3 ebpf=10 perf=11\n\
             sample seconds=60 rss_kib=12000 descriptors=20 threads=3 ebpf=10 perf=11\n\
             sample seconds=70 rss_kib=12100 descriptors=21 threads=3 ebpf=10 perf=11\n\
             made drops=100 all=107\n\
             account backend=ebpf received=99 lost=1 filtered=7 undecodable=0 sum=107\n\
             fault ebpf: 99 and 1 lost are not the 101 that were made\n",
        ));
        assert_eq!(said.numbers("rss_kib", 60), [12000, 12100]);
        assert_eq!(said.grown(), ["21 descriptors, after 20"]);
        let text = report(&said, 2, &Provenance::read("cargo xtask soak", &[]));
        for part in [
            "* without netlink: no drop_monitor",
            "Made: 100. ",
            "count: 107.",
            "| ebpf | 99 | 1 | 7 | 0 | 107 |",
            "* resident memory after the first minute: 12000 to 12100 KiB\n",
            "* descriptors after the first minute: 20 to 21\n",
            "| 1.0 | 12000 | 20 | 3 |",
            "* ebpf: 99 and 1 lost",
        ] {
            assert!(text.contains(part), "`{part}` is not in {text}");
        }
        assert!(!text.contains("Nothing:"), "{text}");
    }
}

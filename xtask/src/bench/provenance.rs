//! What figures are worth nothing without: how, where and when they were taken.

use crate::{host, host::output};
use std::{fs, process::Command};

#[derive(Debug)]
pub(crate) struct Provenance {
    pub(crate) command: String,
    /// Model and number of the processors.
    pub(crate) processors: String,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) commit: String,
    pub(crate) date: String,
    /// Versions of the tools.
    pub(crate) tools: Vec<String>,
    /// Mean number of processes that ran in the minute before.
    pub(crate) load: String,
}

impl Provenance {
    /// Of this command with these arguments, now.
    pub(crate) fn read(command: &str, arguments: &[&str]) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let value = text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            });
            value.unwrap_or_else(|| "unknown".to_owned())
        };
        let count = cpuinfo
            .lines()
            .filter(|line| line.starts_with("processor"))
            .count();
        let said = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(host::workspace());
            output(&mut command).map(|text| text.trim().to_owned())
        };
        let commit = said("git", &["describe", "--always", "--dirty", "--abbrev=12"]);
        let tools = [("perf", "--version"), ("bpftrace", "--version")];
        Self {
            command: [command]
                .iter()
                .chain(arguments)
                .copied()
                .collect::<Vec<_>>()
                .join(" "),
            processors: format!("{count} × {}", field(&cpuinfo, "model name")),
            memory: gigabytes(&field(&read("/proc/meminfo"), "MemTotal")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: commit.unwrap_or_else(|| "unknown".to_owned()),
            date: said("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
            tools: tools
                .iter()
                .filter_map(|(program, argument)| said(program, &[argument]))
                .collect(),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

/// `16000000 kB` as `16.4 GB`, and anything else as it is.
fn gigabytes(kib: &str) -> String {
    let number = kib.trim_end_matches(" kB").parse::<u64>();
    number.map_or_else(
        |_| kib.to_owned(),
        |kib| format!("{:.1} GB of memory", kib as f64 * 1024.0 / 1e9),
    )
}

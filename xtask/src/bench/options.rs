//! What `cargo xtask bench` is asked for.

use crate::{Result, host};
use std::{fs, path::PathBuf, time::Duration};

/// How much of it.
#[derive(Debug)]
pub(super) struct Options {
    /// Rounds of each tournament.
    pub(super) runs: usize,
    /// Datagrams of a flood.
    pub(super) count: u64,
    /// How long idleness is watched.
    pub(super) idle: Duration,
    /// Single drops whose latency is measured.
    pub(super) latencies: u32,
    /// Contestants by name; all if empty.
    pub(super) only: Vec<String>,
    /// In a guest instead, what takes one.
    pub(super) vm: bool,
    /// Where the report goes; the chart beside it.
    pub(super) out: PathBuf,
}

pub(super) const USAGE: &str = "\
cargo xtask bench [OPTION]…

  --quick         fewer and shorter runs: two minutes instead of ten
  --only NAME…    these contestants, beside none at all; the report names them
  --runs N        rounds, each with every contestant (default: 5)
  --out FILE      where the report goes, the chart beside it (default: docs/bench.md)
  --vm            in QEMU, what takes a kernel with modules and kprobes: the netlink backend, dropwatch, pwru
                  (default of --out: docs/bench-vm.md)";

impl Options {
    pub(super) fn parse(arguments: &[&str]) -> Result<Self> {
        let quick = arguments.contains(&"--quick");
        let vm = arguments.contains(&"--vm");
        let mut options = Self {
            runs: if quick { 2 } else { 5 },
            count: if quick { 60_000 } else { 300_000 },
            idle: Duration::from_secs(if quick { 1 } else { 3 }),
            latencies: if quick { 100 } else { 1000 },
            only: Vec::new(),
            vm,
            out: host::workspace().join(if vm {
                "docs/bench-vm.md"
            } else {
                "docs/bench.md"
            }),
        };
        let mut words = arguments.iter().peekable();
        while let Some(&word) = words.next() {
            match word {
                "--quick" | "--vm" => {}
                "--only" => {
                    while let Some(name) = words.next_if(|word| !word.starts_with("--")) {
                        options.only.push((*name).to_owned());
                    }
                    if options.only.is_empty() {
                        return Err(format!("no name for `--only`\n\n{USAGE}"));
                    }
                }
                "--runs" => {
                    let runs = words.next().and_then(|number| number.parse().ok());
                    options.runs = runs
                        .filter(|&runs| runs > 0)
                        .ok_or(format!("no number for `--runs`\n\n{USAGE}"))?;
                }
                "--out" => {
                    let out = words
                        .next()
                        .ok_or(format!("no file for `--out`\n\n{USAGE}"))?;
                    options.out = out.into();
                }
                _ => return Err(format!("no such option: {word}\n\n{USAGE}")),
            }
        }
        Ok(options)
    }

    /// Writes the report, into a folder that need not be there.
    pub(super) fn write(&self, text: &str) -> Result {
        if let Some(folder) = self.out.parent() {
            fs::create_dir_all(folder)
                .map_err(|e| format!("cannot create `{}`: {e}", folder.display()))?;
        }
        host::write(&self.out, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_at_the_next_option() {
        let options = Options::parse(&["--only", "a", "b", "--runs", "7", "--quick"]).unwrap();
        assert_eq!(options.only, ["a", "b"]);
        assert_eq!((options.runs, options.count), (7, 60_000));
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = |arguments: &[&str]| Options::parse(arguments).unwrap_err();
        assert!(error(&["--only", "--runs", "2"]).starts_with("no name"));
        assert!(error(&["--runs", "0"]).starts_with("no number"));
        assert!(error(&["--out"]).starts_with("no file"));
        assert!(error(&["--slow"]).starts_with("no such option: --slow"));
    }
}

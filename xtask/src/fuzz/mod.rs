//! `cargo xtask fuzz`: feeds the library's parsers with what no kernel sends, by cargo-fuzz.
//!
//! The targets are the files of `skbdrop/fuzz/fuzz_targets`. Each begins with its committed corpus; what
//! it finds beyond stays in the target folder, from where it goes on the next time.

mod report;

use crate::{
    Result,
    bench::Provenance,
    host::{self, output, run},
};
use report::Report;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const CARGO_FUZZ: &str = "0.13.2";
/// How long each target runs, unless told.
const SECONDS: u64 = 60;
/// No input that matters is longer, and long ones are slow.
const MAX_LEN: usize = 4096;
/// An input that takes more has found something: memory for all and for one allocation, and time.
const LIMITS: [&str; 3] = ["-rss_limit_mb=512", "-malloc_limit_mb=64", "-timeout=5"];
/// The same for a target where few bytes are meant to become many: kernels are packed.
const PACKED: (&str, [&str; 3]) = (
    "image",
    ["-rss_limit_mb=2048", "-malloc_limit_mb=512", "-timeout=20"],
);

/// Where the report on all targets goes, in the workspace.
const REPORT: &str = "docs/fuzz.md";

/// Runs the targets named, or all, one after the other, and prints a table; of all it writes a report.
pub(crate) fn fuzz(arguments: &[&str]) -> Result {
    let (names, seconds) = parse(arguments)?;
    let folder = host::workspace().join("skbdrop/fuzz");
    let all = targets(&folder)?;
    if let Some(unknown) = names.iter().find(|name| !all.contains(*name)) {
        return Err(format!(
            "no target `{unknown}`; there are {}",
            all.join(", ")
        ));
    }
    let is_all = names.is_empty();
    let names = if is_all { all } else { names };
    let programs = build(&folder, &names)?;
    let provenance = Provenance::read("cargo xtask fuzz", arguments);
    let mut targets = Vec::new();
    for name in &names {
        let ran = run_target(&folder, &programs, name, seconds)?;
        println!("xtask: {name}: {} executions", ran.executions);
        targets.push((name.clone(), ran));
    }
    let report = Report {
        provenance,
        seconds,
        targets,
    };
    println!("\n{}", report.table());
    if is_all {
        host::write(
            &host::workspace().join(REPORT),
            report.markdown().as_bytes(),
        )?;
        println!("xtask: wrote {REPORT}");
    }
    let found = report.targets.iter().flat_map(|(_, ran)| &ran.findings);
    let found: Vec<String> = found.map(|path| path.display().to_string()).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(format!("inputs that failed: {}", found.join(", ")))
}

/// The targets that are named, and the seconds.
fn parse(arguments: &[&str]) -> Result<(Vec<String>, u64)> {
    let (mut names, mut seconds) = (Vec::new(), SECONDS);
    let mut arguments = arguments.iter();
    while let Some(&argument) = arguments.next() {
        match argument {
            "--seconds" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                seconds = number
                    .filter(|&seconds| seconds > 0)
                    .ok_or("`--seconds` needs a number above 0")?;
            }
            option if option.starts_with('-') => {
                return Err(format!("no such option of `cargo xtask fuzz`: {option}"));
            }
            name => names.push(name.to_owned()),
        }
    }
    Ok((names, seconds))
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.join("fuzz_targets");
    let entries =
        fs::read_dir(&folder).map_err(|e| format!("cannot read `{}`: {e}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Builds the targets with the address sanitizer; gives the folder that has their programs.
fn build(folder: &Path, names: &[String]) -> Result<PathBuf> {
    host::need(&[("g++", "g++")])?;
    let cargo_fuzz = host::cargo_installed("cargo-fuzz", CARGO_FUZZ, &["fuzz", "--version"])?;
    let target = target_folder();
    for name in names {
        run(Command::new(&cargo_fuzz)
            .args(["fuzz", "build", "--fuzz-dir"])
            .arg(folder)
            .arg("--target-dir")
            .arg(&target)
            .arg(name)
            // The sanitizer and the coverage are compiler flags that are not stable yet.
            .env("RUSTC_BOOTSTRAP", "1"))?;
    }
    let host = output(Command::new("rustc").arg("-vV")).unwrap_or_default();
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("`rustc -vV` names no host")?;
    Ok(target.join(host).join("release"))
}

/// What cargo builds for the fuzzer, and what the fuzzer keeps.
fn target_folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    host::workspace().join(target).join("fuzz")
}

/// What came of one target.
struct Ran {
    executions: u64,
    per_second: u64,
    findings: Vec<PathBuf>,
    inputs: usize,
    /// The slowest execution, in whole seconds.
    slowest: u64,
    /// The most memory that was in use, MiB.
    memory: u64,
}

/// Runs a target until its time is over or it has found something.
fn run_target(folder: &Path, programs: &Path, name: &str, seconds: u64) -> Result<Ran> {
    let kept = target_folder().join("corpus").join(name);
    let artifacts = target_folder().join("artifacts").join(name);
    for folder in [&kept, &artifacts] {
        fs::create_dir_all(folder)
            .map_err(|e| format!("cannot create `{}`: {e}", folder.display()))?;
    }
    let before = files(&artifacts);
    let mut command = Command::new(programs.join(name));
    command
        .arg(&kept)
        .arg(folder.join("corpus").join(name))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN}"))
        .args(if name == PACKED.0 { PACKED.1 } else { LIMITS })
        .args(["-print_final_stats=1", "-verbosity=0"])
        // Freed memory that is held back to find its use counts as well.
        .env("ASAN_OPTIONS", "quarantine_size_mb=16");
    let dictionary = folder.join("dictionaries").join(format!("{name}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    println!("xtask: {name}, {seconds} seconds");
    let output = command
        .stdout(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot start the target `{name}`: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let findings: Vec<PathBuf> = files(&artifacts)
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();
    if !output.status.success() {
        eprint!("{text}");
        if findings.is_empty() {
            return Err(format!("the target `{name}` failed: {}", output.status));
        }
    }
    Ok(Ran {
        executions: statistic(&text, "number_of_executed_units")?,
        per_second: statistic(&text, "average_exec_per_sec")?,
        findings,
        inputs: files(&kept).len(),
        slowest: statistic(&text, "slowest_unit_time_sec")?,
        memory: statistic(&text, "peak_rss_mb")?,
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// One of the numbers that the fuzzer ends with: `stat::NAME: NUMBER`.
fn statistic(text: &str, name: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| {
        let value = line.strip_prefix("stat::")?.strip_prefix(name)?;
        value.strip_prefix(':')?.trim().parse().ok()
    });
    value.ok_or_else(|| format!("the fuzzer's output has no `stat::{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let named = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(parse(&[]), Ok((named(&[]), SECONDS)));
        assert_eq!(
            parse(&["perf", "--seconds", "5", "btf"]),
            Ok((named(&["perf", "btf"]), 5))
        );
        for bad in [&["--seconds"][..], &["--seconds", "0"], &["--minutes"]] {
            parse(bad).unwrap_err();
        }
    }

    #[test]
    fn statistics_are_read() {
        let text = "Done 42 runs\nstat::number_of_executed_units: 42\nstat::peak_rss_mb:              71\n";
        assert_eq!(statistic(text, "number_of_executed_units"), Ok(42));
        assert_eq!(statistic(text, "peak_rss_mb"), Ok(71));
        statistic(text, "number").unwrap_err();
    }
}

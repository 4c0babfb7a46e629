//! A process that is measured: its start, what it takes of the processor, its end.

use super::binaries::Binaries;
use crate::{Result, host};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// How long a start, or an end, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Less of the processor than this in [`LOOK`] is a process that waits, or polls.
const QUIET: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_millis(200);
/// A reader that is slower than this after a flood is so much behind that it may be cut off.
const DRAIN: Duration = Duration::from_secs(20);

/// A running one, which ends when its standard input does.
#[derive(Debug)]
pub(super) struct Process {
    wrapper: Child,
    lines: Receiver<String>,
    pid: u32,
    files: PathBuf,
    /// From the start to being attached.
    pub(super) start: Duration,
}

/// What an ended one leaves.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it printed after it was ready.
    pub(super) output: String,
    /// What it complained of.
    pub(super) errors: String,
    /// User and system time, of its children too.
    pub(super) cpu: Duration,
    pub(super) peak_kib: u64,
}

impl Process {
    /// Starts `command` and waits until it says `ready`, or `attached`.
    pub(super) fn start(binaries: &Binaries, folder: &Path, command: &[String]) -> Result<Self> {
        let files = folder.join("process");
        let errors = File::create(files.with_extension("err"))
            .map_err(|e| format!("cannot create a file in `{}`: {e}", folder.display()))?;
        let began = Instant::now();
        let mut wrapper = Command::new(binaries.path("usage"))
            .arg(files.with_extension("usage"))
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("cannot start `usage`: {e}"))?;
        let stdout = wrapper.stdout.take().expect("it was asked to be piped");
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout)
                .lines()
                .map_while(std::result::Result::ok)
            {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut process = Self {
            wrapper,
            lines,
            pid: 0,
            files,
            start: Duration::ZERO,
        };
        match process.lines.recv_timeout(PATIENCE) {
            Ok(line) if matches!(line.as_str(), "ready" | "attached") => {}
            said => {
                let why = fs::read_to_string(process.files.with_extension("err"));
                let why = why.unwrap_or_default();
                return Err(format!(
                    "`{}` did not start; it said {said:?} and `{}`",
                    command.join(" "),
                    why.trim()
                ));
            }
        }
        process.start = began.elapsed();
        process.pid = process.number()?;
        Ok(process)
    }

    /// Of the process itself. What starts fast may be ready before `usage` has written it down.
    fn number(&self) -> Result<u32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.report();
            let pid = report.as_ref().ok().and_then(|text| figure(text, "pid"));
            if let Some(pid) = pid.and_then(|pid| u32::try_from(pid).ok()) {
                return Ok(pid);
            }
            if Instant::now() > deadline {
                return Err(match report {
                    Ok(text) => format!("`usage` wrote no process number, but {text:?}"),
                    Err(e) => format!("`usage` wrote no process number: {e}"),
                });
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Time on the processor so far, of all threads that live: what one took that has ended is not in it.
    pub(super) fn cpu(&self) -> Duration {
        let ns = self.sum("schedstat", |text| text.split(' ').next()?.parse().ok());
        Duration::from_nanos(ns)
    }

    /// How often a thread gave up the processor to wait for something.
    pub(super) fn waits(&self) -> u64 {
        self.sum("status", |text| {
            let mut lines = text.lines();
            let number = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            number.trim().parse().ok()
        })
    }

    fn sum(&self, file: &str, number: impl Fn(&str) -> Option<u64>) -> u64 {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return 0;
        };
        let texts = threads
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join(file)).ok());
        texts.filter_map(|text| number(&text)).sum()
    }

    /// Waits until it has worked off what is there, or is hopelessly behind.
    pub(super) fn settle(&self) {
        let deadline = Instant::now() + DRAIN;
        while Instant::now() < deadline {
            let before = self.cpu();
            thread::sleep(LOOK);
            if self.cpu().saturating_sub(before) < QUIET {
                return;
            }
        }
    }

    /// Ends it and reads what it leaves.
    pub(super) fn end(mut self) -> Result<Ended> {
        drop(self.wrapper.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        let mut output = String::new();
        // Its output ends with it.
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => output += &(line + "\n"),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(format!(
                        "process {} did not end within {} s",
                        self.pid,
                        PATIENCE.as_secs()
                    ));
                }
            }
        }
        let _ = self.wrapper.wait();
        let errors = fs::read(self.files.with_extension("err")).unwrap_or_default();
        let errors = String::from_utf8_lossy(&errors).into_owned();
        let report = self.report()?;
        let (cpu, peak_kib) = (figure(&report, "cpu_us"), figure(&report, "peak_kib"));
        match (cpu, peak_kib) {
            (Some(cpu), Some(peak_kib)) if report.contains("success=true") => Ok(Ended {
                output,
                errors,
                cpu: Duration::from_micros(cpu),
                peak_kib,
            }),
            _ => Err(format!("process {} failed: {}", self.pid, errors.trim())),
        }
    }

    fn report(&self) -> Result<String> {
        let bytes = host::read(&self.files.with_extension("usage"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has not ended by the end of its input, which comes first, is killed; `usage` ends with it.
        drop(self.wrapper.stdin.take());
        if self.pid != 0 && matches!(self.wrapper.try_wait(), Ok(None)) {
            let _ = Command::new("kill")
                .args(["-KILL", &self.pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
        let _ = self.wrapper.wait();
    }
}

/// Runs a command to its end, with its output in a file.
pub(super) fn finish(
    binaries: &Binaries,
    folder: &Path,
    command: &[String],
    output: &Path,
) -> Result<Duration> {
    let create = |path: &Path| {
        File::create(path).map_err(|e| format!("cannot create `{}`: {e}", path.display()))
    };
    let usage = folder.join("finish.usage");
    let status = Command::new(binaries.path("usage"))
        .arg(&usage)
        .args(command)
        .stdin(Stdio::null())
        .stdout(create(output)?)
        .stderr(create(&folder.join("finish.err"))?)
        .status()
        .map_err(|e| format!("cannot start `usage`: {e}"))?;
    let report = String::from_utf8_lossy(&host::read(&usage)?).into_owned();
    match figure(&report, "cpu_us") {
        Some(cpu) if status.success() && report.contains("success=true") => {
            Ok(Duration::from_micros(cpu))
        }
        _ => Err(format!("`{}` failed", command.join(" "))),
    }
}

/// The number of a word `key=NUMBER` in a text.
pub(super) fn figure(text: &str, key: &str) -> Option<u64> {
    text.split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        .and_then(|number| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_whole_key() {
        let text = "received=12 lost=0\nns=34";
        assert_eq!(figure(text, "received"), Some(12));
        assert_eq!(figure(text, "lost"), Some(0));
        assert_eq!(figure(text, "ns"), Some(34));
        assert_eq!(figure(text, "s"), None);
        assert_eq!(figure(text, "receive"), None);
    }
}

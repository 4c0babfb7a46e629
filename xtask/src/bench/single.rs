//! With hardly any drops: the start, what idleness costs, how soon a single drop is known.

use super::{Bench, contestant::Contestant, process::figure, run::Running};
use crate::{Result, host};
use std::{process::Command, thread, time::Duration};

/// The backends whose latency is measured: those that any kernel with tracepoints has.
const BACKENDS: [&str; 2] = ["ebpf", "perf"];
/// Between two of the drops: longer than any reader expects another one.
const INTERVAL: Duration = Duration::from_millis(20);

/// A contestant with nothing to do.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) contestant: Contestant,
    pub(super) result: Result<Quiet>,
}

#[derive(Debug)]
pub(super) struct Quiet {
    /// From the start of the process to being attached.
    pub(super) start: Duration,
    pub(super) peak_kib: u64,
    /// How often a second it woke up.
    pub(super) wake_ups: f64,
    /// Milliseconds of processors a second.
    pub(super) cpu_ms: f64,
    /// Time on processors that its end takes, with what is run afterwards.
    pub(super) end: Duration,
}

/// A backend's latency, in nanoseconds.
#[derive(Debug)]
pub(super) struct Latency {
    pub(super) backend: &'static str,
    pub(super) samples: u64,
    pub(super) median: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Idle {
    /// Time on processors that its end takes.
    pub(super) fn end(&self) -> Duration {
        self.result
            .as_ref()
            .map_or(Duration::ZERO, |quiet| quiet.end)
    }
}

pub(super) fn idle(bench: &Bench, contestants: &[Contestant]) -> Result<Vec<Idle>> {
    println!("xtask: idle");
    let idle = |contestant: &Contestant| {
        let running = Running::start(bench, *contestant)?;
        let seconds = bench.options.idle.as_secs_f64();
        let (waits, cpu) = (running.process.waits(), running.process.cpu());
        thread::sleep(bench.options.idle);
        let waits = running.process.waits() - waits;
        let cpu = running.process.cpu().saturating_sub(cpu);
        let start = running.process.start;
        let left = running.end()?;
        Ok(Quiet {
            start,
            peak_kib: left.peak_kib,
            wake_ups: waits as f64 / seconds,
            cpu_ms: cpu.as_secs_f64() * 1e3 / seconds,
            end: left.cpu.saturating_sub(cpu),
        })
    };
    let measured = contestants.iter().map(|contestant| Idle {
        contestant: *contestant,
        result: idle(contestant),
    });
    Ok(measured.collect())
}

pub(super) fn latencies(bench: &Bench, contestants: &[Contestant]) -> Result<Vec<Latency>> {
    if !contestants.iter().any(Contestant::is_ours) {
        return Ok(Vec::new());
    }
    println!("xtask: latency of single drops");
    let measure = |backend: &'static str| {
        let mut command = Command::new(bench.binaries.path("latency"));
        command
            .args(["--backend", backend])
            .args(["--count", &bench.options.latencies.to_string()])
            .args(["--interval-ms", &INTERVAL.as_millis().to_string()]);
        let text = host::output(&mut command).ok_or("`latency` failed")?;
        let figure = |key| figure(&text, key).ok_or(format!("`latency` gave no {key}"));
        Ok(Latency {
            backend,
            samples: figure("samples")?,
            median: figure("median")?,
            p99: figure("p99")?,
            max: figure("max")?,
        })
    };
    BACKENDS.into_iter().map(measure).collect()
}

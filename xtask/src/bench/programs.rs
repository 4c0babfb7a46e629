//! What the kernel says of eBPF programs: nanoseconds a run. In floods of its own, for to keep the time costs time.

use super::{Bench, contestant::Contestant, ground::Flood, run::Running, statistics::Summary};
use crate::Result;
use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
};

/// Floods of each program.
const ROUNDS: usize = 3;

/// A contestant's program.
#[derive(Debug)]
pub(super) struct RunTime {
    pub(super) contestant: Contestant,
    /// Nanoseconds a run, or why there is no number.
    pub(super) ns: Result<Summary>,
}

/// Runs and nanoseconds of each program, by its number.
type Times = HashMap<u64, (u64, u64)>;

pub(super) fn measure(bench: &Bench, contestants: &[Contestant]) -> Result<Vec<RunTime>> {
    let programs: Vec<&Contestant> = contestants.iter().filter(|c| c.is_program()).collect();
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let mut keeper = Keeper::start(bench)?;
    let mut samples: Vec<Result<Vec<f64>>> = programs.iter().map(|_| Ok(Vec::new())).collect();
    for round in 1..=ROUNDS {
        println!("xtask: nanoseconds a run, round {round} of {ROUNDS}");
        for (contestant, samples) in programs.iter().zip(&mut samples) {
            let sample = samples
                .as_ref()
                .ok()
                .map(|_| keeper.sample(bench, **contestant));
            match (&mut *samples, sample) {
                (Ok(samples), Some(Ok(ns))) => samples.push(ns),
                (_, Some(Err(why))) => *samples = Err(why),
                (Err(_), _) | (_, None) => {}
            }
        }
    }
    let run_times = programs
        .into_iter()
        .zip(samples)
        .map(|(contestant, ns)| RunTime {
            contestant: *contestant,
            ns: ns.map(|ns| Summary::of(ns).expect("there is a round")),
        });
    Ok(run_times.collect())
}

/// The process for which the kernel keeps the time.
struct Keeper {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Keeper {
    fn start(bench: &Bench) -> Result<Self> {
        let mut child = Command::new(bench.binaries.path("programs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start `programs`: {e}"))?;
        let stdout = child.stdout.take().expect("it was asked to be piped");
        let mut keeper = Self {
            child,
            lines: BufReader::new(stdout).lines(),
        };
        match keeper.line() {
            Some(line) if line == "ready" => Ok(keeper),
            _ => Err("the kernel keeps no time of eBPF programs (see above)".to_owned()),
        }
    }

    fn line(&mut self) -> Option<String> {
        self.lines.next()?.ok()
    }

    /// What all programs have run for so far.
    fn times(&mut self) -> Result<Times> {
        let ended = || "`programs` has ended".to_owned();
        let stdin = self.child.stdin.as_mut().ok_or_else(ended)?;
        stdin.write_all(b"\n").map_err(|_| ended())?;
        let mut times = Times::new();
        loop {
            let line = self.line().ok_or_else(ended)?;
            if line.is_empty() {
                return Ok(times);
            }
            times.extend(parse(&line));
        }
    }

    /// Nanoseconds a run in a flood, of the programs that the contestant brought.
    fn sample(&mut self, bench: &Bench, contestant: Contestant) -> Result<f64> {
        let others = self.times()?;
        let mut running = Running::start(bench, contestant)?;
        let before = self.times()?;
        running.flood(Flood::of(bench.options.count / 2))?;
        let after = self.times()?;
        running.end()?;
        mean(&others, &before, &after)
            .ok_or_else(|| "none of its programs ran in the flood".to_owned())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A line `ID NAME RUNS NS`.
fn parse(line: &str) -> Option<(u64, (u64, u64))> {
    let mut words = line.split(' ');
    let id = words.next()?.parse().ok()?;
    // A name may be anything; the numbers are at the end.
    let ns = words.next_back()?.parse().ok()?;
    let runs = words.next_back()?.parse().ok()?;
    Some((id, (runs, ns)))
}

/// Nanoseconds a run between two looks, of programs that are not among `others`.
fn mean(others: &Times, before: &Times, after: &Times) -> Option<f64> {
    let (mut runs, mut ns) = (0, 0);
    for (id, (runs_after, ns_after)) in after {
        if others.contains_key(id) {
            continue;
        }
        let (runs_before, ns_before) = before.get(id).copied().unwrap_or_default();
        runs += runs_after - runs_before;
        ns += ns_after - ns_before;
    }
    (runs > 0).then(|| ns as f64 / runs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_others_do_not_count() {
        let lines = ["1 a 10 1000", "7 b c 30 900", "7 x"];
        let after: Times = lines.iter().filter_map(|line| parse(line)).collect();
        let before = Times::from([(7, (10, 500))]);
        let others = Times::from([(1, (0, 0))]);
        assert_eq!(mean(&others, &before, &after), Some(20.0));
        assert_eq!(mean(&after, &before, &after), None);
    }
}

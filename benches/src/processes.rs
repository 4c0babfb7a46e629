//! Measuring in child processes: memory that one candidate touched is not the next one's.

use std::{
    fs, io,
    process::Command,
    time::{Duration, Instant},
};

/// Runs of each candidate.
pub const RUNS: usize = 11;

/// A thing to measure: its name, and the work, whose result is kept until memory was read.
pub type Candidate = (&'static str, fn() -> Box<dyn std::any::Any>);

/// Runs each candidate [`RUNS`] times, in turn, each in a process of its own, and prints the medians.
pub fn compare(candidates: &[Candidate]) {
    let chosen = std::env::args().skip(1).find_map(|argument| {
        candidates
            .iter()
            .find(|(name, _)| Some(*name) == argument.strip_prefix("run="))
    });
    if let Some((_, work)) = chosen {
        return measure(*work);
    }
    let program = std::env::current_exe().expect("we run from a file");
    let mut samples = vec![Vec::new(); candidates.len()];
    for _ in 0..RUNS {
        for ((name, _), samples) in candidates.iter().zip(&mut samples) {
            let output = Command::new(&program)
                .arg(format!("run={name}"))
                .output()
                .expect("we can run again");
            assert!(
                output.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut numbers = text
                .split_whitespace()
                .map(|word| word.parse::<u64>().expect("two numbers"));
            samples.push((
                numbers.next().expect("time"),
                numbers.next().expect("memory"),
            ));
        }
    }
    println!("{:32} {:>22} {:>16}", "", "ms (min-max)", "peak RSS, MB");
    for ((name, _), mut samples) in candidates.iter().zip(samples) {
        samples.sort_unstable();
        let ms = |n: usize| samples[n].0 as f64 / 1e6;
        let mut memory: Vec<u64> = samples.iter().map(|sample| sample.1).collect();
        memory.sort_unstable();
        println!(
            "{name:32} {:>7.2} ({:.2}-{:.2}) {:>14.1}",
            ms(RUNS / 2),
            ms(0),
            ms(RUNS - 1),
            memory[RUNS / 2] as f64 / 1024.0
        );
    }
}

fn measure(work: fn() -> Box<dyn std::any::Any>) {
    let start = Instant::now();
    let kept = work();
    let time: Duration = start.elapsed();
    println!("{} {}", time.as_nanos(), peak_kib());
    drop(kept);
}

/// Largest resident set of this process so far, in KiB.
fn peak_kib() -> u64 {
    memory_kib("VmHWM").expect("/proc tells of memory")
}

/// What `/proc/self/status` has for a kind of this process' memory, in KiB: `VmRSS` is what is resident, `VmHWM` the most that was.
///
/// # Errors
///
/// It cannot be read, or has no such line.
pub fn memory_kib(kind: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
    value
        .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {kind} in kB in /proc/self/status")))
}

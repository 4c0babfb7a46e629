//! What does a monitor cost the sender and the reader, everything resolved, and does all come?
//! `cargo bench -p skbdrop-benches --bench stream`, as root.

use skbdrop::Monitor;
use skbdrop_benches::flood;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Datagrams of each sender, each of them dropped.
const DATAGRAMS: usize = 300_000;
/// Floods of each candidate, in turn.
const ROUNDS: usize = 5;
/// Fits the default buffer.
const BACKLOG: usize = 10_000;
/// Longer than any pause within a flood.
const SILENCE: Duration = Duration::from_millis(100);

/// One flood.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Thousand datagrams a second.
    rate: f64,
    /// Seconds of CPU of the reader for a million events.
    cpu: f64,
    delivered: u64,
    lost: u64,
}

fn main() {
    let mut samples = vec![Vec::new(); 4];
    let mut backlogs = Vec::new();
    for _ in 0..ROUNDS {
        backlogs.push(backlog());
        for senders in [1, 2] {
            samples[senders - 1].push(untraced(senders));
            samples[senders + 1].push(traced(senders));
        }
    }
    println!(
        "{:22} {:>28} {:>10} {:>22} {:>12} {:>8}",
        "", "1000 drops/s (min-max)", "of none", "CPU s a million", "delivered", "lost"
    );
    backlogs.sort_by(f64::total_cmp);
    println!(
        "{:22} {:>48.3} ({:.3}-{:.3})",
        "a buffer of events",
        backlogs[ROUNDS / 2],
        backlogs[0],
        backlogs[ROUNDS - 1]
    );
    let mut untraced = [0.0; 2];
    for (n, mut samples) in samples.into_iter().enumerate() {
        samples.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let median = samples[ROUNDS / 2];
        let mut cpu: Vec<f64> = samples.iter().map(|sample| sample.cpu).collect();
        cpu.sort_by(f64::total_cmp);
        if n < 2 {
            untraced[n] = median.rate;
        }
        let senders = n % 2 + 1;
        let delivered: u64 = samples.iter().map(|sample| sample.delivered).sum();
        let lost: u64 = samples.iter().map(|sample| sample.lost).sum();
        let sent = (DATAGRAMS * senders * ROUNDS) as f64;
        println!(
            "{} of {senders}{:13} {:>10.0} ({:.0}-{:.0}) {:>10.3} {:>8.3} ({:.3}-{:.3}) {:>11.2}% {lost:>8}",
            if n < 2 { "no monitor" } else { "a monitor " },
            "",
            median.rate,
            samples[0].rate,
            samples[ROUNDS - 1].rate,
            median.rate / untraced[senders - 1],
            cpu[ROUNDS / 2],
            cpu[0],
            cpu[ROUNDS - 1],
            100.0 * delivered as f64 / sent,
        );
    }
}

fn untraced(senders: usize) -> Sample {
    Sample {
        rate: send(senders),
        ..Sample::default()
    }
}

fn traced(senders: usize) -> Sample {
    let mut monitor = Monitor::builder().snap_len(96).build().expect("root");
    // The kernel's symbols are read with the first event.
    flood(1);
    while monitor.next_timeout(SILENCE).expect("events").is_some() {}
    let before = monitor.stats().expect("counts");
    let sent = Arc::new(AtomicBool::new(false));
    let all_sent = Arc::clone(&sent);
    let reading = std::thread::spawn(move || {
        let (mut delivered, mut named, start) = (0, 0, cpu_ns());
        loop {
            // What was asked before the look: after the last datagram there is one more.
            let over = all_sent.load(Ordering::Acquire);
            match monitor.next_timeout(SILENCE).expect("events") {
                Some(event) => {
                    delivered += 1;
                    named += u64::from(event.reason.is_some_and(|reason| reason.name().is_some()));
                }
                None if over => break,
                None => {}
            }
        }
        let cpu = cpu_ns() - start;
        assert_eq!(named, delivered, "everything is resolved");
        (delivered, cpu, monitor.stats().expect("counts").lost)
    });
    let rate = send(senders);
    sent.store(true, Ordering::Release);
    let (delivered, cpu, lost) = reading.join().expect("the reader");
    Sample {
        rate,
        cpu: cpu as f64 / 1e3 / delivered as f64,
        delivered,
        lost: lost - before.lost,
    }
}

/// Seconds of CPU of the reader for a million events that wait in the buffer: no sender takes its caches.
fn backlog() -> f64 {
    let mut monitor = Monitor::builder().snap_len(96).build().expect("root");
    flood(1);
    while monitor.next_timeout(SILENCE).expect("events").is_some() {}
    flood(BACKLOG);
    let (mut events, start) = (0, cpu_ns());
    loop {
        let batch = monitor.next_batch(1024).expect("events");
        if batch.is_empty() {
            break;
        }
        events += batch.len();
    }
    let cpu = cpu_ns() - start;
    assert!(events >= BACKLOG, "{events}");
    cpu as f64 / 1e3 / events as f64
}

/// Floods, and gives the rate.
fn send(senders: usize) -> f64 {
    let start = Instant::now();
    let flooding: Vec<_> = (0..senders)
        .map(|_| std::thread::spawn(|| flood(DATAGRAMS)))
        .collect();
    for sender in flooding {
        sender.join().expect("a sender");
    }
    (senders * DATAGRAMS) as f64 / start.elapsed().as_secs_f64() / 1e3
}

/// Nanoseconds that the calling thread has run.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("CONFIG_SCHED_INFO");
    let first = text.split_whitespace().next().expect("three numbers");
    first.parse().expect("a number")
}

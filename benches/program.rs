//! What does the program cost a drop, as a multiple of the floor? `cargo bench -p skbdrop-benches --bench program`,
//! as root.

use skbdrop::{Builder, Counters, Monitor};
use skbdrop_benches::{
    flood,
    floor::{Floor, Kind},
    run_time,
};
use std::time::Duration;

/// Datagrams of a flood, each of them dropped.
const DATAGRAMS: usize = 100_000;
/// Floods of each candidate, in turn.
const ROUNDS: usize = 7;

type Measure = fn() -> f64;

fn main() {
    let candidates: [(&str, Option<&str>, Measure); 9] = [
        ("floor: empty", None, || floor(Kind::Empty)),
        ("floor: 64 bytes, no wake-up", None, || floor(Kind::Ring)),
        (
            "monitor, no byte of the packet",
            Some("floor: 64 bytes, no wake-up"),
            || lean(|builder| builder.snap_len(0)),
        ),
        (
            "monitor, 96 bytes of the packet",
            Some("floor: 64 bytes, no wake-up"),
            || lean(|builder| builder.snap_len(96)),
        ),
        (
            "the same with metadata",
            Some("floor: 64 bytes, no wake-up"),
            || lean(|builder| builder.snap_len(96).metadata(true)),
        ),
        (
            "the same with sockets",
            Some("floor: 64 bytes, no wake-up"),
            || lean(|builder| builder.snap_len(96).sockets(true)),
        ),
        (
            "with both and the call stack",
            Some("floor: 64 bytes, no wake-up"),
            || {
                let all = |builder: Builder| builder.metadata(true).sockets(true).stacks(true);
                lean(|builder| all(builder).snap_len(96))
            },
        ),
        ("floor: per-CPU hash", None, || floor(Kind::Hash)),
        (
            "counters, by reason and place",
            Some("floor: per-CPU hash"),
            counters,
        ),
    ];
    let mut samples = vec![Vec::new(); candidates.len()];
    for _ in 0..ROUNDS {
        for ((_, _, measure), samples) in candidates.iter().zip(&mut samples) {
            samples.push(measure());
        }
    }
    println!(
        "{:36} {:>24} {:>14}",
        "", "ns a drop (min-max)", "x its floor"
    );
    let mut medians = Vec::new();
    for ((name, floor, _), mut samples) in candidates.iter().zip(samples) {
        samples.sort_by(f64::total_cmp);
        let median = samples[ROUNDS / 2];
        medians.push((*name, median));
        let base = floor.and_then(|floor| medians.iter().find(|(name, _)| *name == floor));
        let ratio = base.map_or(String::new(), |base| format!("{:.2}", median / base.1));
        println!(
            "{name:36} {median:>10.0} ({:.0}-{:.0}) {ratio:>14}",
            samples[0],
            samples[ROUNDS - 1]
        );
    }
}

fn floor(kind: Kind) -> f64 {
    let mut floor = Floor::attach(kind).expect("root");
    measure(|| {
        floor.drain();
    })
}

/// A monitor that tells of a drop no more than `with` asks for.
fn lean(with: impl Fn(Builder) -> Builder) -> f64 {
    let builder = Monitor::builder()
        .metadata(false)
        .sockets(false)
        .qdiscs(false);
    let mut monitor = with(builder).build().expect("root");
    measure(|| while !monitor.next_batch(1 << 16).expect("events").is_empty() {})
}

fn counters() -> f64 {
    let _counters = Counters::builder().build().expect("root");
    measure(|| ())
}

/// Mean of a flood, from a thread of its own, while the reader empties the buffer now and then.
fn measure(mut drain: impl FnMut()) -> f64 {
    let (spent, ()) = run_time::of_own_programs(|| {
        let flooding = std::thread::spawn(|| flood(DATAGRAMS));
        while !flooding.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
            drain();
        }
    })
    .expect("statistics");
    spent.mean_ns()
}

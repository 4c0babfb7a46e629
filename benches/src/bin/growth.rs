//! `growth`: how cost grows with what there is to look at. Prints a line `alternatives=N ns=N empty=N` for filters of so many
//! alternatives that no drop passes: nanoseconds a run of the program in the kernel, and of an empty one; `ports=N ns=N empty=N`
//! for so many ports in one filter; and `places=N ns=N` for drops at so many places: nanoseconds an event of `next_batch`, from
//! records in memory. As root.

use skbdrop_benches::{filtered, synthetic};
use std::time::Instant;

const ALTERNATIVES: [u32; 4] = [1, 4, 16, 64];
const PORTS: [u16; 4] = [1, 16, 256, 1024];
const PLACES: [usize; 4] = [1, 16, 256, 4096];
/// Floods of each filter, each after one of the empty program, and batches from each number of places: the median counts.
const ROUNDS: usize = 3;
const DATAGRAMS: usize = 100_000;
const EVENTS: usize = 100_000;
/// Events of a batch.
const BATCH: usize = 256;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    for count in ALTERNATIVES {
        // Of each both must be looked at, since the datagrams are for port 9.
        let one = |n| format!("(port 9 and address 192.0.2.{n})");
        let all: Vec<String> = (0..count).map(one).collect();
        let (ns, empty) = with_filter(&all.join(" or "));
        println!("alternatives={count} ns={ns:.0} empty={empty:.0}");
    }
    for count in PORTS {
        // Every other one, so that no two are one range.
        let one = |n| format!("port {}", 1001 + 2 * n);
        let all: Vec<String> = (0..count).map(one).collect();
        let (ns, empty) = with_filter(&all.join(" or "));
        println!("ports={count} ns={ns:.0} empty={empty:.0}");
    }
    for count in PLACES {
        println!("places={count} ns={:.0}", resolved(count)?);
    }
    Ok(())
}

/// Nanoseconds a run of the program with the filter, and of an empty one.
fn with_filter(text: &str) -> (f64, f64) {
    let (mut ours, mut empty) = ([0.0; ROUNDS], [0.0; ROUNDS]);
    for (ours, empty) in ours.iter_mut().zip(&mut empty) {
        *empty = filtered::empty(DATAGRAMS);
        *ours = filtered::filtered(text, DATAGRAMS);
    }
    (median(ours), median(empty))
}

/// Nanoseconds an event of drops at so many places.
fn resolved(count: usize) -> Result<f64> {
    let mut monitor = synthetic::monitor(96, count);
    let mut take = || -> Result<f64> {
        let start = Instant::now();
        for _ in 0..EVENTS / BATCH {
            monitor.next_batch(BATCH)?;
        }
        Ok(start.elapsed().as_nanos() as f64 / EVENTS as f64)
    };
    // Each place is new once.
    take()?;
    let mut rounds = [0.0; ROUNDS];
    for round in &mut rounds {
        *round = take()?;
    }
    Ok(median(rounds))
}

fn median(mut of: [f64; ROUNDS]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[ROUNDS / 2]
}

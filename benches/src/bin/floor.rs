//! `floor empty|ring|hash`: attaches one of the programs that do the least of their kind, says `attached`, and
//! runs until its standard input ends. Then it prints `events=N runs=N ns=N`: records read, runs of the program and
//! the nanoseconds that these took.

use skbdrop_benches::{
    floor::{Floor, Kind},
    run_time,
};
use std::{
    io::{self, Read as _},
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

/// How often the ring is emptied: a poll, since the program wakes nobody.
const INTERVAL: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kind: Kind = std::env::args()
        .nth(1)
        .ok_or("usage: floor empty|ring|hash")?
        .parse()?;
    let mut floor = Floor::attach(kind)?;
    let (ended, end) = channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().by_ref(), &mut io::sink());
        drop(ended);
    });
    let (spent, events) = run_time::of_own_programs(|| {
        println!("attached");
        let mut events = 0;
        loop {
            let waited = end.recv_timeout(INTERVAL);
            events += floor.drain();
            if waited == Err(RecvTimeoutError::Disconnected) {
                return events;
            }
        }
    })?;
    println!("events={events} runs={} ns={}", spent.runs, spent.ns);
    Ok(())
}

//! `floor empty|ring|hash`: attaches one of the programs that do the least of their kind, says `ready`, and runs until its
//! standard input ends. Then it prints `received=N`: the records that it took out of the ring buffer.

use skbdrop_benches::{
    end_of_input,
    floor::{Floor, Kind},
};
use std::{sync::mpsc::RecvTimeoutError, time::Duration};

/// How often the ring is emptied: a poll, since the program wakes nobody.
const INTERVAL: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kind: Kind = std::env::args()
        .nth(1)
        .ok_or("usage: floor empty|ring|hash")?
        .parse()?;
    let mut floor = Floor::attach(kind)?;
    let end = end_of_input();
    println!("ready");
    let mut received = 0;
    loop {
        let waited = end.recv_timeout(INTERVAL);
        received += floor.drain();
        if waited == Err(RecvTimeoutError::Disconnected) {
            break;
        }
    }
    println!("received={received}");
    Ok(())
}

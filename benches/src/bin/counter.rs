//! `counter`: has the kernel count drops by reason and place. Says `ready` once it is attached, and when its standard input
//! has ended `matched=N lost=N`: matched are the drops whose reason has the name `NO_SOCKET` and whose place has a symbol,
//! lost those that were counted in no kind, or not at all.

use skbdrop::{By, Counters};
use std::io;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut counters = Counters::builder().by([By::Reason, By::Location]).build()?;
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    let counts = counters.snapshot()?;
    let matched: u64 = counts
        .kinds
        .iter()
        .filter(|count| {
            let name = count.reason.as_ref().and_then(|reason| reason.name());
            let place = count.location.as_ref();
            name == Some("NO_SOCKET") && place.is_some_and(|place| place.symbol.is_some())
        })
        .map(|count| count.tally.drops)
        .sum();
    let lost = counts.overflow.drops + counts.missed;
    println!("matched={matched} lost={lost}");
    Ok(())
}

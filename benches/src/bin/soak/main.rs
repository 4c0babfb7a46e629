//! `soak --minutes N --peak DROPS`: watches drops by all backends that this machine has, for that long, as root. Drops are made in a
//! network namespace of its own, at a rate that comes and goes, at most so many a second. Every ten seconds it says how much memory and how many descriptors it holds, and at
//! the end where each drop went. It fails if one is unaccounted for.

mod account;
mod reader;
mod resources;
mod sender;

use account::Account;
use reader::Reader;
use resources::Resources;
use sender::{PORT, Plan, Sender};
use skbdrop::{Backend, Counters, Filter};
use std::time::{Duration, Instant};

/// How often it looks at what it holds.
const INTERVAL: Duration = Duration::from_secs(10);

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> Result {
    let plan = match options()? {
        Mode::Send(plan) => return sender::send(plan),
        Mode::Watch(plan) => plan,
    };
    let mut sender = Sender::prepare(plan)?;
    let mut counters = Counters::builder().symbols(false).build()?;
    let readers = readers(sender.netns);
    let account = Account::open(readers, &mut counters)?;
    sender.start()?;
    let start = Instant::now();
    while !sender.has_ended()? {
        std::thread::sleep(INTERVAL);
        let now = Resources::now()?;
        let seconds = start.elapsed().as_secs();
        let taken = account.taken()?;
        println!(
            "sample seconds={seconds} rss_kib={} descriptors={} threads={} {taken}",
            now.rss_kib, now.descriptors, now.threads
        );
    }
    let sent = sender.sent()?;
    let faults = account.settle(&mut counters, sent)?;
    for fault in &faults {
        println!("fault {fault}");
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(format!("{} faults", faults.len()).into()),
    }
}

/// A reader for each backend that works here. Each has a filter, so that what is left out is in the account as well: what perf can tell
/// of a drop is little.
fn readers(netns: u32) -> Vec<Reader> {
    let own = || Filter::netns(netns) & Filter::port(PORT);
    let filters = [
        (Backend::Ebpf, own()),
        (Backend::Perf, Filter::reason("NO_SOCKET")),
        (Backend::Netlink, Filter::port(PORT)),
    ];
    let readers = filters.into_iter().filter_map(|(backend, filter)| {
        let opened = Reader::start(backend, filter);
        opened
            .map_err(|e| println!("absent backend={}: {e:#}", backend.name()))
            .ok()
    });
    readers.collect()
}

/// What this process is for.
enum Mode {
    /// To make drops.
    Send(Plan),
    /// To watch them, and to have the other process make them.
    Watch(Plan),
}

fn options() -> Result<Mode, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    let (mut send, mut minutes, mut peak) = (None, None, None);
    while let Some(option) = parser.next()? {
        match option {
            Long("minutes") => minutes = Some(parser.value()?.parse::<u64>()?),
            Long("send") => send = Some(parser.value()?.parse::<u64>()?),
            Long("peak") => peak = Some(parser.value()?.parse()?),
            _ => return Err(option.unexpected()),
        }
    }
    let plan = |seconds, peak| Plan {
        duration: Duration::from_secs(seconds),
        peak,
    };
    match (send, minutes, peak) {
        (Some(seconds), None, Some(peak)) => Ok(Mode::Send(plan(seconds, peak))),
        (None, Some(minutes), Some(peak)) => Ok(Mode::Watch(plan(60 * minutes, peak))),
        _ => Err("usage: soak --minutes N --peak DROPS".into()),
    }
}

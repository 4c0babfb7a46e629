//! Where every drop went, of all that the machine dropped meanwhile.

use crate::{
    Result,
    reader::{Reader, Taken},
};
use skbdrop::{BackendKind, Counters};
use std::{thread, time::Duration};

/// How often it looks for a moment in which nothing is dropped, and how long it waits between.
const LOOKS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// All readers, from one moment on.
pub(crate) struct Account {
    readers: Vec<Reader>,
    before: Moment,
}

/// What each reader had taken, and what the kernel had dropped, in a moment between two drops.
struct Moment {
    taken: Vec<Taken>,
    dropped: u64,
}

impl Account {
    pub(crate) fn open(readers: Vec<Reader>, counters: &mut Counters) -> Result<Self> {
        let before = moment(&readers, counters)?;
        Ok(Self { readers, before })
    }

    /// What the readers have taken so far, as words for a line.
    pub(crate) fn taken(&self) -> Result<String> {
        let taken = taken(&self.readers)?;
        let words = self.readers.iter().zip(&taken);
        let words = words
            .map(|(reader, taken)| format!("{}={}", reader.backend.name(), taken.stats.received));
        Ok(words.collect::<Vec<_>>().join(" "))
    }

    /// Prints where all drops went since the start, of which so many were made, and says what does not add up.
    pub(crate) fn settle(self, counters: &mut Counters, sent: u64) -> Result<Vec<String>> {
        let now = moment(&self.readers, counters)?;
        let dropped = now.dropped - self.before.dropped;
        println!("made drops={sent} all={dropped}");
        let mut faults = Vec::new();
        let before_and_now = self.before.taken.iter().zip(&now.taken);
        for (reader, (before, now)) in self.readers.iter().zip(before_and_now) {
            let name = reader.backend.name();
            let stats = now.stats;
            let sum = now.sum() - before.sum();
            let received = stats.received - before.stats.received;
            let lost = stats.lost - before.stats.lost;
            println!(
                "account backend={name} received={received} lost={lost} filtered={} undecodable={} sum={sum}",
                stats.filtered - before.stats.filtered,
                stats.undecodable - before.stats.undecodable,
            );
            let mut check = |holds: bool, what: String| {
                if !holds {
                    faults.push(format!("{name}: {what}"));
                }
            };
            check(
                now.events == stats.received,
                format!("took {} of {} events", now.events, stats.received),
            );
            check(
                now.told <= stats.lost,
                format!("events told of {} losses of {}", now.told, stats.lost),
            );
            // What a backend loses it cannot tell others' drops from.
            check(
                reader.backend == BackendKind::Perf || received <= sent && received + lost >= sent,
                format!("{received} and {lost} lost are not the {sent} that were made"),
            );
            // drop_monitor does not tell of packets that have no link-layer header.
            check(
                reader.backend == BackendKind::Netlink || sum == dropped,
                format!("{sum} are not all {dropped} drops"),
            );
        }
        Ok(faults)
    }
}

fn taken(readers: &[Reader]) -> Result<Vec<Taken>> {
    readers.iter().map(Reader::taken).collect()
}

/// Looks until nothing came between two looks of the readers, so that the kernel's count in between is theirs.
fn moment(readers: &[Reader], counters: &mut Counters) -> Result<Moment> {
    for _ in 0..LOOKS {
        let before = taken(readers)?;
        let counts = counters.snapshot()?;
        let after = taken(readers)?;
        if before == after {
            return Ok(Moment {
                taken: after,
                dropped: counts.total().drops + counts.missed,
            });
        }
        thread::sleep(PAUSE);
    }
    let waited = LOOKS * PAUSE;
    Err(format!("the machine drops packets without a pause: none in {waited:?}").into())
}

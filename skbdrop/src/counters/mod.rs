//! Counting in the kernel: [`Counters`].

mod builder;
mod counts;
mod intervals;

pub use builder::{By, CountersBuilder};
pub use counts::{Count, Counts, Tally};
pub use intervals::Intervals;

use crate::{
    EtherType, Location, NetNs, Resolver, Result,
    backend::{CountKey, EbpfCounts},
    symbols::Locations,
};
use std::{collections::HashMap, time::Duration};

/// Counts drops in the kernel, by what the caller chooses of reason, place, interface, namespace and protocol.
///
/// There is no event and no cost in user space between two readings: for agents that are always on. An eBPF
/// program counts, as the backend [`Ebpf`](crate::Backend::Ebpf) with the same needs; it reads no byte of
/// any packet, unless a [filter](CountersBuilder::filter) asks for that. It sees all drops from the return of [`CountersBuilder::build`] on, in all network namespaces.
/// Dropping it leaves nothing in the kernel.
///
/// ```no_run
/// use skbdrop::{By, Counters};
///
/// let mut counters = Counters::builder().by([By::Reason, By::Location]).build()?;
/// std::thread::sleep(std::time::Duration::from_secs(10));
/// for count in &counters.snapshot()?.kinds {
///     println!("{count}");
/// }
/// # Ok::<(), skbdrop::Error>(())
/// ```
#[derive(Debug)]
pub struct Counters {
    program: EbpfCounts,
    resolver: Resolver,
    locations: Locations,
    by: u32,
    /// What the last delta was taken from.
    last: Raw,
}

/// What the kernel has counted.
#[derive(Debug, Default)]
struct Raw {
    kinds: HashMap<CountKey, Tally>,
    overflow: Tally,
    filtered: u64,
    missed: u64,
}

impl Counters {
    /// Starts with the defaults: by reason and place, 1024 kinds.
    pub fn builder() -> CountersBuilder {
        CountersBuilder::default()
    }

    /// What was counted since the start.
    ///
    /// # Errors
    ///
    /// The kernel's counts cannot be read.
    pub fn snapshot(&mut self) -> Result<Counts> {
        let raw = self.read()?;
        Ok(self.name(&raw, &Raw::default()))
    }

    /// What was counted since the last call of this, or the start. Kinds that were not dropped since are left out.
    /// The deltas' sum is the snapshot.
    ///
    /// # Errors
    ///
    /// The kernel's counts cannot be read; then nothing is left out of the next delta.
    pub fn delta(&mut self) -> Result<Counts> {
        let raw = self.read()?;
        let last = std::mem::take(&mut self.last);
        let counts = self.name(&raw, &last);
        self.last = raw;
        Ok(counts)
    }

    /// A stream of [deltas](Self::delta), one for each `interval`. If a consumer is late, the next has more.
    ///
    /// # Errors
    ///
    /// The interval is zero, or the kernel gives no timer.
    pub fn intervals(self, interval: Duration) -> Result<Intervals> {
        Intervals::new(self, interval)
    }

    fn read(&self) -> Result<Raw> {
        let mut kinds = HashMap::new();
        for kind in self.program.kinds() {
            let (key, tally) = kind?;
            kinds.insert(key, tally.into());
        }
        Ok(Raw {
            kinds,
            overflow: self.program.overflow().into(),
            filtered: self.program.filtered(),
            missed: self.program.misses()?,
        })
    }

    /// What came between two readings, with names.
    fn name(&mut self, now: &Raw, before: &Raw) -> Counts {
        let mut kinds = Vec::new();
        for (key, tally) in &now.kinds {
            let before = before.kinds.get(key).copied().unwrap_or_default();
            let tally = tally.since(before);
            if tally.drops > 0 {
                kinds.push(self.count(key, tally));
            }
        }
        kinds.sort_by_key(|count| std::cmp::Reverse(count.tally.drops));
        Counts {
            kinds,
            overflow: now.overflow.since(before.overflow),
            filtered: now.filtered.saturating_sub(before.filtered),
            missed: now.missed.saturating_sub(before.missed),
        }
    }

    fn count(&mut self, key: &CountKey, tally: Tally) -> Count {
        let chosen = |by: By| self.by & by.bit() != 0;
        let some = |by: By, value: u32| Some(value).filter(|&value| chosen(by) && value != 0);
        let reason = some(By::Reason, key.reason);
        let location = (chosen(By::Location) && key.location != 0).then_some(key.location);
        let protocol = some(By::Protocol, key.protocol.into())
            .map(|_| EtherType(u16::from_be_bytes(key.protocol.to_ne_bytes())));
        let (ifindex, netns) = (some(By::Interface, key.ifindex), some(By::NetNs, key.netns));
        Count {
            reason: reason.map(|raw| self.resolver.resolve(raw)),
            location: location.map(|address| Location {
                address: Some(address),
                symbol: self.locations.resolve(address),
            }),
            ifindex,
            netns: netns.map(NetNs::numbered),
            protocol,
            tally,
        }
    }
}

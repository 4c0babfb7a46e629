//! [`Counts`]: what was counted, with names.

use crate::{DropReason, EtherType, Location, NetNs};
use std::fmt;

/// Drops, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tally {
    /// How many.
    pub drops: u64,
    /// Sum of their lengths in bytes, from where `skb->data` was: without the headers that the kernel had taken off.
    pub bytes: u64,
}

impl Tally {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            drops: self.drops.saturating_sub(before.drops),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }
}

impl From<skbdrop_ebpf::Tally> for Tally {
    fn from(tally: skbdrop_ebpf::Tally) -> Self {
        Self {
            drops: tally.drops,
            bytes: tally.bytes,
        }
    }
}

/// One reading of [`Counters`](super::Counters).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// By kind, the most frequent first.
    pub kinds: Vec<Count>,
    /// Drops of kinds for which there was no room: see [`CountersBuilder::max_kinds`](super::CountersBuilder::max_kinds).
    pub overflow: Tally,
    /// Drops that the [filter](super::CountersBuilder::filter) left out. They are not in the [total](Self::total).
    pub filtered: u64,
    /// Drops that the kernel did not run the program for: in an interrupt that came while it counted another. Kernels
    /// before 5.12 run it there as well, and have none.
    pub missed: u64,
}

impl Counts {
    /// All that was counted, of whatever kind.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = self.overflow;
        for count in &self.kinds {
            total.drops += count.tally.drops;
            total.bytes += count.tally.bytes;
        }
        total
    }
}

/// How many drops of one kind there were. What was not chosen by
/// [`CountersBuilder::by`](super::CountersBuilder::by) is `None`, as is what these drops have not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// Why. `None` as well on kernels without reasons (before Linux 5.17).
    pub reason: Option<DropReason>,
    /// Where in the kernel.
    pub location: Option<Location>,
    /// Index of the interface, as [`DropEvent::ifindex`](crate::DropEvent::ifindex). Counts within its namespace.
    pub ifindex: Option<u32>,
    /// Network namespace, as [`DropEvent::netns`](crate::DropEvent::netns).
    pub netns: Option<NetNs>,
    /// `skb->protocol`.
    pub protocol: Option<EtherType>,
    /// How many there were.
    pub tally: Tally,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { drops, bytes } = self.tally;
        let one = |number| if number == 1 { "" } else { "s" };
        write!(f, "{drops} drop{}, {bytes} byte{}", one(drops), one(bytes))?;
        if let Some(reason) = &self.reason {
            write!(f, ", {reason}")?;
        }
        match &self.location {
            Some(Location {
                symbol: Some(symbol),
                ..
            }) => write!(f, " at {}+{:#x}", symbol.name, symbol.offset)?,
            Some(Location {
                address: Some(address),
                ..
            }) => write!(f, " at {address:#x}")?,
            _ => {}
        }
        if let Some(protocol) = self.protocol {
            write!(f, ", {protocol}")?;
        }
        if let Some(ifindex) = self.ifindex {
            write!(f, ", interface {ifindex}")?;
        }
        if let Some(netns) = &self.netns {
            write!(f, ", netns {}", netns)?;
        }
        Ok(())
    }
}

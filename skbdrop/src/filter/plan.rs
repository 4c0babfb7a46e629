//! [`Plan`]: a filter with its names looked up, and what it says of an event. The eBPF backend makes its program
//! of the same plan.

use super::{
    Expr, Prefix,
    pattern::Pattern,
    pcap::{Packet, Program},
};
use crate::{DropEvent, DropReason, Symbol};
use std::{convert::Infallible, sync::Arc};

/// A filter, ready.
#[derive(Clone, Debug)]
pub(crate) struct Plan(pub(crate) Expr<Test>);

/// One test of a plan. It does not hold where what it is about is not known.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Reason(Reasons),
    Symbol(Sites),
    Interface {
        name: Arc<str>,
        /// The builder's own namespace, and the index that the name had there.
        here: Option<(u32, u32)>,
    },
    /// A number within one of the ranges, which have both ends in.
    Number(Field, Vec<(u32, u32)>),
    Address(End, Prefix),
    /// The mark's bits in the mask are these.
    Mark {
        value: u32,
        mask: u32,
    },
    Pcap(Arc<Program>),
}

/// What of an event is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Ifindex,
    Netns,
    Length,
    Protocol,
    Transport,
    Port(End),
}

/// An end of the packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Src,
    Dst,
}

/// Reasons, or all of some subsystems.
#[derive(Clone, Debug)]
pub(crate) struct Reasons {
    /// The kernel's numbers for them, as ranges with both ends in; `None` if it is not known how they are numbered.
    pub(crate) numbers: Option<Vec<(u32, u32)>>,
    pub(super) names: Names,
    /// The names are those of subsystems.
    pub(super) of_subsystem: bool,
}

/// Names that are wanted.
#[derive(Clone, Debug)]
pub(super) enum Names {
    /// Sorted.
    These(Vec<Arc<str>>),
    Like(Vec<Pattern>),
}

/// Functions of the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Sites {
    /// Where they are, as ranges with both ends in; `None` if that is not known.
    pub(crate) ranges: Option<Vec<(u64, u64)>>,
    pub(super) pattern: Pattern,
}

impl Plan {
    /// Whether the event is to be told.
    pub(crate) fn passes(&self, event: &DropEvent) -> bool {
        match self.0.evaluate::<Infallible>(&|test| Ok(test.holds(event))) {
            Ok(passes) => passes,
        }
    }
}

impl Test {
    fn holds(&self, event: &DropEvent) -> bool {
        match self {
            Self::Reason(reasons) => event.reason.as_ref().is_some_and(|it| reasons.contain(it)),
            Self::Symbol(sites) => {
                sites.contain(event.location.address, event.location.symbol.as_deref())
            }
            Self::Interface { name, here } => match (&event.ifname, &event.netns, event.ifindex) {
                (Some(ifname), ..) => ifname == name,
                (None, Some(netns), Some(index)) => *here == Some((netns.inode, index)),
                _ => false,
            },
            Self::Number(field, ranges) => field
                .of(event)
                .is_some_and(|number| contains(ranges, number)),
            Self::Address(end, prefix) => {
                let endpoint = match end {
                    End::Src => event.src,
                    End::Dst => event.dst,
                };
                endpoint.is_some_and(|endpoint| prefix.contains(endpoint.address))
            }
            Self::Mark { value, mask } => {
                let mark = event.metadata.as_ref().and_then(|known| known.mark);
                mark.is_some_and(|mark| mark & mask == *value)
            }
            Self::Pcap(program) => program.accepts(Packet {
                bytes: &event.packet.bytes,
                layer: event.packet.layer,
                protocol: event.protocol.map(|protocol| protocol.0),
                length: event.length.unwrap_or(0),
            }),
        }
    }
}

impl Field {
    fn of(self, event: &DropEvent) -> Option<u32> {
        match self {
            Self::Ifindex => event.ifindex,
            Self::Netns => event.netns.as_ref().map(|netns| netns.inode),
            Self::Length => event.length,
            Self::Protocol => event.protocol.map(|protocol| protocol.0.into()),
            Self::Transport => event.transport.map(|transport| transport.0.into()),
            Self::Port(End::Src) => event.src.and_then(|end| end.port).map(Into::into),
            Self::Port(End::Dst) => event.dst.and_then(|end| end.port).map(Into::into),
        }
    }
}

impl Reasons {
    fn contain(&self, reason: &DropReason) -> bool {
        if let (Some(numbers), Some(raw)) = (&self.numbers, reason.raw()) {
            return contains(numbers, raw);
        }
        let name = if self.of_subsystem {
            reason
                .subsystem()
                .and_then(|subsystem| subsystem.name.as_deref())
        } else {
            reason.name()
        };
        name.is_some_and(|name| self.names.contain(name))
    }
}

impl Names {
    fn contain(&self, name: &str) -> bool {
        match self {
            Self::These(names) => names.binary_search_by(|known| (**known).cmp(name)).is_ok(),
            Self::Like(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
        }
    }
}

impl Sites {
    fn contain(&self, address: Option<u64>, symbol: Option<&Symbol>) -> bool {
        match (&self.ranges, address) {
            (Some(ranges), Some(address)) => contains(ranges, address),
            _ => symbol.is_some_and(|symbol| self.pattern.matches(&symbol.name)),
        }
    }
}

fn contains<T: Ord>(ranges: &[(T, T)], value: T) -> bool {
    let at = ranges.partition_point(|(_, last)| *last < value);
    ranges.get(at).is_some_and(|(first, _)| *first <= value)
}

/// Sorts, and joins what overlaps or touches.
pub(super) fn joined<T: Ord + Copy>(
    mut ranges: Vec<(T, T)>,
    follows: impl Fn(T, T) -> bool,
) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut joined: Vec<(T, T)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= *end || follows(*end, first) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_searched() {
        let next = |end: u32, first: u32| end.checked_add(1) == Some(first);
        let ranges = joined(
            vec![(9, 9), (1, 3), (4, 4), (2, 2), (u32::MAX, u32::MAX)],
            next,
        );
        assert_eq!(ranges, [(1, 4), (9, 9), (u32::MAX, u32::MAX)]);
        for (value, within) in [
            (0, false),
            (1, true),
            (4, true),
            (5, false),
            (9, true),
            (10, false),
        ] {
            assert_eq!(contains(&ranges, value), within, "{value}");
        }
        assert!(!contains::<u32>(&[], 1));
    }
}

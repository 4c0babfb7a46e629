//! [`Gate`]: which events get to the user, where the backend does not decide it by itself.

use crate::{DropEvent, DropReason, backend::LeftOut, filter::Plan};
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    mem,
};

const NANOSECONDS: u64 = 1_000_000_000;
/// Reasons and places that are counted apart in one second, as many as the eBPF program does; what is
/// beyond passes.
pub(crate) const MAX_SITES: usize = 4096;

/// How many of the drops that pass the filter are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// One in so many, by chance; all if `None`.
    pub(crate) sample: Option<u32>,
    /// So many of each reason and place in a second.
    pub(crate) per_second: Option<u32>,
}

impl Limits {
    /// A random number of 32 bits passes the sampling if it is at most this.
    pub(crate) fn threshold(self) -> Option<u32> {
        let one_in = self.sample.filter(|&one_in| one_in > 1)?;
        // One of so many equal parts of the numbers, which are 2^32.
        u32::try_from((1u64 << 32) / u64::from(one_in) - 1).ok()
    }
}

/// Lets events pass, and counts those that it does not.
#[derive(Debug)]
pub(crate) struct Gate {
    plan: Option<Plan>,
    limits: Limits,
    chance: Chance,
    /// The second that is counted, and the drops of each reason and place in it.
    second: u64,
    sites: HashMap<(Option<DropReason>, Option<u64>), u64>,
    left_out: LeftOut,
    /// Losses that events told which did not pass.
    untold: u64,
}

impl Gate {
    pub(crate) fn new(plan: Option<Plan>, limits: Limits) -> Self {
        Self {
            plan,
            limits,
            chance: Chance::new(),
            second: 0,
            sites: HashMap::new(),
            left_out: LeftOut::default(),
            untold: 0,
        }
    }

    pub(crate) fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Whether the event passes. Losses that were told with one that does not are told with the next that does.
    pub(crate) fn admits(&mut self, event: &mut DropEvent) -> bool {
        let wanted = self.plan.as_ref().is_none_or(|plan| plan.passes(event));
        if !wanted {
            self.left_out.filtered = self.left_out.filtered.saturating_add(event.count);
        } else if self.is_beyond(event) {
            self.left_out.limited = self.left_out.limited.saturating_add(event.count);
        } else {
            event.lost_before = event
                .lost_before
                .saturating_add(mem::take(&mut self.untold));
            return true;
        }
        self.untold = self.untold.saturating_add(event.lost_before);
        false
    }

    fn is_beyond(&mut self, event: &DropEvent) -> bool {
        if self
            .limits
            .threshold()
            .is_some_and(|most| self.chance.next() > most)
        {
            return true;
        }
        let Some(limit) = self.limits.per_second else {
            return false;
        };
        let second = event.timestamp_ns / NANOSECONDS;
        // Events of several CPUs may come out of order: those of a second that is over count in the one that is.
        if second > self.second {
            self.second = second;
            self.sites.clear();
        }
        let site = (event.reason.clone(), event.location.address);
        if self.sites.len() >= MAX_SITES && !self.sites.contains_key(&site) {
            return false;
        }
        let drops = self.sites.entry(site).or_default();
        *drops = drops.saturating_add(event.count);
        *drops > u64::from(limit)
    }
}

/// Random numbers, good enough to sample by (xorshift64*).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        // What the standard library seeds its hash tables with is random.
        Self(RandomState::new().hash_one(0) | 1)
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

//! The account of a flood: what was delivered and what was lost is what was generated.

use crate::{drain, is_flood};
use skbdrop::{DropEvent, Monitor};

/// The drops of a flood, and the losses that events told.
#[derive(Debug, Default)]
pub struct Count {
    delivered: u64,
    told: u64,
    taken: u64,
}

impl Count {
    /// Takes note of an event.
    pub fn add(&mut self, event: &DropEvent, netns: u32) {
        self.delivered += u64::from(is_flood(event, netns));
        self.told += event.lost_before;
        self.taken += 1;
    }

    /// Every drop of the flood was delivered or counted; gives how many were lost. `None` if the machine dropped
    /// other packets meanwhile, whose losses cannot be told from the flood's.
    pub fn settle(mut self, mut monitor: Monitor, netns: u32, generated: usize) -> Option<u64> {
        for event in drain(&mut monitor) {
            self.add(&event, netns);
        }
        let stats = monitor.stats().unwrap();
        println!("{}: {self:?}, {stats:?}", monitor.backend().name());
        assert_eq!(stats.received, self.taken);
        assert_eq!(stats.undecodable, 0);
        assert!(self.told <= stats.lost);
        let accounted = self.delivered + stats.lost;
        // What was lost may be others'; and a backend that cannot tell namespaces takes others' drops for the flood's.
        let disturbed = stats.lost > 0 && self.taken != self.delivered;
        if disturbed || accounted > generated as u64 {
            return None;
        }
        assert_eq!(accounted, generated as u64);
        Some(stats.lost)
    }
}

/// Runs `flood` until the machine was quiet beside it.
#[track_caller]
pub fn undisturbed<T>(mut flood: impl FnMut() -> Option<T>) -> T {
    let settled = (0..5).find_map(|_| flood());
    settled.expect("five times the machine dropped other packets meanwhile")
}

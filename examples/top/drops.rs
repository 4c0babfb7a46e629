//! What was dropped, by reason and place, in memory that does not grow with it.

use skbdrop::{DropEvent, DropReason, Location};
use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
};

/// Seconds that are remembered.
const HISTORY: usize = 120;
/// Reasons that are told apart; no kernel has as many.
const MAX_REASONS: usize = 512;
/// Places that are told apart for each.
const MAX_PLACES: usize = 64;
/// Packets that are kept of each.
const LAST: usize = 32;

/// A reason, or `None` on a kernel that gives none.
pub(crate) type Key = Option<DropReason>;

/// In what order reasons and places are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Rate,
    Sum,
    Name,
}

#[derive(Debug, Default)]
pub(crate) struct Drops {
    pub(crate) all: Count,
    /// Those that the monitor lost.
    pub(crate) lost: u64,
    /// Of more reasons or places than are told apart.
    pub(crate) others: u64,
    reasons: HashMap<Key, Reason>,
}

/// What is known of a reason.
#[derive(Debug, Default)]
pub(crate) struct Reason {
    pub(crate) count: Count,
    places: HashMap<Location, Count>,
    /// The newest first.
    pub(crate) last: VecDeque<DropEvent>,
}

/// How many, and how many each second.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) sum: u64,
    /// In the second that is not over.
    now: u64,
    /// The newest first.
    seconds: VecDeque<u64>,
}

impl Drops {
    pub(crate) fn add(&mut self, event: DropEvent) {
        let count = event.count;
        self.all.add(count);
        if self.reasons.len() >= MAX_REASONS && !self.reasons.contains_key(&event.reason) {
            self.others += count;
            return;
        }
        let reason = self.reasons.entry(event.reason.clone()).or_default();
        reason.count.add(count);
        if reason.places.len() < MAX_PLACES || reason.places.contains_key(&event.location) {
            let place = reason.places.entry(event.location.clone());
            place.or_default().add(count);
        } else {
            self.others += count;
        }
        reason.last.truncate(LAST - 1);
        reason.last.push_front(event);
    }

    /// A second is over.
    pub(crate) fn second(&mut self) {
        self.all.second();
        for reason in self.reasons.values_mut() {
            reason.count.second();
            reason.places.values_mut().for_each(Count::second);
        }
    }

    /// All reasons.
    pub(crate) fn reasons(&self, order: Order) -> Vec<(&Key, &Reason)> {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        sort(
            &mut reasons,
            order,
            |(_, reason)| &reason.count,
            |(key, _)| name(key),
        );
        reasons
    }

    pub(crate) fn reason(&self, key: &Key) -> Option<&Reason> {
        self.reasons.get(key)
    }

    /// All places, each with its reason.
    pub(crate) fn places(&self, order: Order) -> Vec<Place<'_>> {
        let of_all = |(key, reason)| Reason::places_of(reason, key);
        let mut places = self.reasons.iter().flat_map(of_all).collect();
        sort_places(&mut places, order);
        places
    }
}

/// A place, the reason for which packets are dropped there, and how many.
pub(crate) type Place<'a> = (&'a Location, &'a Key, &'a Count);

impl Reason {
    /// Its places.
    pub(crate) fn places<'a>(&'a self, key: &'a Key, order: Order) -> Vec<Place<'a>> {
        let mut places = self.places_of(key).collect();
        sort_places(&mut places, order);
        places
    }

    fn places_of<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = Place<'a>> {
        let places = self.places.iter();
        places.map(move |(place, count)| (place, key, count))
    }
}

fn sort_places(places: &mut Vec<Place<'_>>, order: Order) {
    sort(
        places,
        order,
        |(_, _, count)| count,
        |(place, _, _)| place.to_string(),
    );
}

/// A reason as it is shown.
pub(crate) fn name(key: &Key) -> String {
    let reason = key.as_ref();
    reason.map_or_else(|| "dropped".to_owned(), ToString::to_string)
}

fn sort<T>(
    rows: &mut [T],
    order: Order,
    count: impl Fn(&T) -> &Count,
    name: impl Fn(&T) -> String,
) {
    rows.sort_by_cached_key(|row| {
        let count = count(row);
        let (rate, sum) = match order {
            Order::Rate => (count.rate(), count.sum),
            Order::Sum => (count.sum, 0),
            Order::Name => (0, 0),
        };
        (Reverse(rate), Reverse(sum), name(row))
    });
}

impl Count {
    fn add(&mut self, count: u64) {
        self.sum += count;
        self.now += count;
    }

    fn second(&mut self) {
        self.seconds.truncate(HISTORY - 1);
        self.seconds.push_front(std::mem::take(&mut self.now));
    }

    /// In the last second that is over; before there is one, in this.
    pub(crate) fn rate(&self) -> u64 {
        self.seconds.front().copied().unwrap_or(self.now)
    }

    /// Each of the last seconds, the newest last.
    pub(crate) fn history(&self, seconds: usize) -> Vec<u64> {
        let known = self.seconds.iter().take(seconds).rev().copied();
        let missing = seconds.saturating_sub(self.seconds.len());
        std::iter::repeat_n(0, missing).chain(known).collect()
    }
}

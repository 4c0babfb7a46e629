//! The agent's own numbers, of all the monitors that it has had.

use skbdrop::{DropEvent, Stats};
use skbdrop_examples::number_of;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// Shared by the task that reads and whoever tells.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Numbers>);

#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    /// Of monitors that are gone: each counts from its own start.
    before: [u64; 3],
    /// Of the one that is open.
    now: [u64; 3],
    opened: u64,
}

impl Health {
    /// A monitor was opened.
    pub(crate) fn opened(&self) {
        self.change(|numbers| numbers.opened += 1);
    }

    /// What the monitor that is open has counted.
    pub(crate) fn update(&self, stats: &Stats) {
        self.change(|numbers| numbers.now = [stats.received, stats.lost, stats.undecodable]);
    }

    /// The monitor has failed. What the kernel drops until the next is open is in no number, but that this happened is.
    pub(crate) fn closed(&self) {
        self.change(|numbers| {
            numbers.before = numbers.sum();
            numbers.now = [0; 3];
        });
    }

    /// One line.
    pub(crate) fn line(&self, waiting: usize, room: usize) -> String {
        let numbers = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [received, lost, undecodable] = numbers.sum();
        let opened = number_of(numbers.opened, "time");
        format!(
            "received {received}, lost {lost}, undecodable {undecodable}, waiting {waiting} of {room}, opened {opened}\n"
        )
    }

    fn change(&self, change: impl FnOnce(&mut Numbers)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Numbers {
    fn sum(&self) -> [u64; 3] {
        std::array::from_fn(|n| self.before[n] + self.now[n])
    }
}

/// How many events are between the reader and the worker. One place is the reader's, for the event that it waits for.
pub(crate) fn waiting(queue: &mpsc::Sender<DropEvent>) -> usize {
    (queue.max_capacity() - queue.capacity()).saturating_sub(1)
}

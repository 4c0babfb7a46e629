//! How many drops were lost: exactly, as in packet mode each takes a place in a queue and a message.

use super::control::Control;
use crate::{
    Error, Result,
    sys::socket::{self, MemInfo},
};
use netlink_sys::Socket;
use std::{cell::Cell, os::fd::AsFd as _};

/// What was lost: in the CPUs' queues, by the kernel's counters, and at the socket, by its.
#[derive(Debug)]
pub(super) struct Losses {
    hardware: bool,
    /// What the queues had lost before; nobody resets it.
    base: u64,
    /// The socket's counter when last read, which has 32 bits, and the sum.
    socket: Cell<(u32, u64)>,
    /// What the queues had lost at the last look.
    queues: Cell<u64>,
    /// The queues' counters go on for others.
    ended: bool,
    /// The sum at the last look.
    seen: u64,
    /// Of it, what no record has told yet.
    pub(super) untold: u64,
}

impl Losses {
    /// Counts from now on.
    pub(super) fn from_now_on(events: &Socket, control: &Control, hardware: bool) -> Result<Self> {
        let drops = mem_info(events)?.drops;
        let mut losses = Self {
            hardware,
            base: 0,
            socket: Cell::new((drops, 0)),
            queues: Cell::new(0),
            ended: false,
            seen: 0,
            untold: 0,
        };
        losses.base = losses.queues_now(control)?;
        Ok(losses)
    }

    /// All that is lost so far.
    pub(super) fn total(&self, events: &Socket, control: &Control) -> Result<u64> {
        let drops = mem_info(events)?.drops;
        let (last, sum) = self.socket.get();
        let sum = sum + u64::from(drops.wrapping_sub(last));
        self.socket.set((drops, sum));
        if !self.ended {
            self.queues.set(self.queues_now(control)?);
        }
        Ok(sum + self.queues.get())
    }

    /// Notes what is new. What cannot be read now is told later.
    pub(super) fn look(&mut self, events: &Socket, control: &Control) {
        if let Ok(total) = self.total(events, control) {
            self.untold += total.saturating_sub(self.seen);
            self.seen = total;
        }
    }

    /// The last look at the queues.
    pub(super) fn end(&mut self, control: &Control) {
        if let Ok(queues) = self.queues_now(control) {
            self.queues.set(queues);
        }
        self.ended = true;
    }

    fn queues_now(&self, control: &Control) -> Result<u64> {
        let drops = control.queue_drops()?;
        let hardware = if self.hardware { drops.hardware } else { 0 };
        Ok((drops.software + hardware).saturating_sub(self.base))
    }
}

fn mem_info(events: &Socket) -> Result<MemInfo> {
    socket::mem_info(events.as_fd())
        .map_err(|e| Error::io("cannot read the netlink socket's counter of losses", e))
}

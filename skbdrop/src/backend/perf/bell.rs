//! The perf events that wake a reader: one per CPU, on the same tracepoint as the one that records drops.
//!
//! To wake the reader for each record would cost more than the record. So the event that records only wakes at the
//! fill mark, and a second one wakes for the first drop after the reader has fallen asleep, and then no more: its
//! period is beyond what anybody counts, and to set a period makes the very next event a sample
//! (`perf_event_period` in `kernel/events/core.c`). From that sample on it only counts.
//!
//! The record has to be in its ring when the bell rings. The kernel hands a drop to the events of a CPU from the last
//! that was added to the first, and adds those of a group together, the leader first; so the bell leads.
//!
//! To arm a bell runs on its CPU, by an interrupt if that is another one. A drop there has either come so far that its
//! record is to be seen when that is done, or is still to look at the bell, and rings. That holds as well for a record
//! that is written in an interrupt of another's writing and that the other makes readable: it looks after that.

use super::{event, format::Format};
use crate::{
    Error, Result,
    backend::wake::{Bell, Sleep},
    sys::perf,
};
use perf_event::Sampler;
use std::{fmt, mem, os::fd::BorrowedFd};

/// So many drops later it would ring again by itself. The kernel takes less than 2^63, and adds two of them up.
const NEVER: u64 = 1 << 62;

/// Those of all CPUs.
pub(super) struct PerfBell(Vec<CpuBell>);

/// That of one CPU.
pub(super) struct CpuBell {
    /// It leads the group of the event that records.
    pub(super) event: Sampler,
    /// The next drop rings it, or one has since it was last silenced.
    is_armed: bool,
}

impl PerfBell {
    pub(super) fn new(bells: Vec<CpuBell>) -> Self {
        Self(bells)
    }

    /// Lets each bell and its group see drops.
    pub(super) fn enable(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(CpuBell::enable)
    }

    /// A bell in the place of one whose CPU was offline meanwhile, or of a CPU that is new.
    pub(super) fn put(&mut self, at: usize, mut bell: CpuBell) -> Result<()> {
        bell.enable()?;
        match self.0.get_mut(at) {
            Some(old) => *old = bell,
            None => self.0.push(bell),
        }
        Ok(())
    }

    /// The bells and their groups see no more drops.
    pub(super) fn disable(&mut self) {
        for bell in &mut self.0 {
            // An event that cannot be disabled ends with its descriptor.
            let _ = bell.event.disable();
        }
    }
}

impl Bell for PerfBell {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(|bell| perf::fd(&bell.event)).collect()
    }

    fn is_ringing(&mut self) -> bool {
        self.0.iter_mut().any(CpuBell::is_ringing)
    }

    /// Whoever asks the kernel whether a perf event is readable spends that.
    fn stays_readable(&mut self) -> bool {
        false
    }

    /// A bell that was armed and has not rung does so once at most.
    fn awake(&mut self) {}

    fn fall_asleep(&mut self, sleep: Sleep, has_record: &mut dyn FnMut() -> bool) -> Result<bool> {
        for bell in &mut self.0 {
            bell.silence();
        }
        // The mark is woken for without being asked.
        if let Sleep::For(_) = sleep {
            return Ok(true);
        }
        for bell in &mut self.0 {
            bell.arm()?;
        }
        Ok(!has_record())
    }
}

impl CpuBell {
    /// Silent, and not armed.
    pub(super) fn open(format: &Format, cpu: usize) -> Result<Self> {
        let mut builder = event::builder(format, cpu);
        // A sample is but a header, and wakes.
        builder.sample_period(NEVER).wakeup_events(1);
        let event = builder.build().map_err(|e| event::open_error(cpu, e))?;
        let page = rustix::param::page_size();
        let event = event.sampled(page).map_err(|e| event::map_error(cpu, e))?;
        Ok(Self {
            event,
            is_armed: false,
        })
    }

    fn enable(&mut self) -> Result<()> {
        let enabled = self.event.enable();
        enabled.map_err(|e| Error::io("cannot enable the perf event skb:kfree_skb", e))
    }

    fn is_ringing(&mut self) -> bool {
        // A record is given back to the kernel when it is dropped.
        self.is_armed && self.event.next_record().map(mem::forget).is_some()
    }

    fn silence(&mut self) {
        while self.event.next_record().is_some() {
            self.is_armed = false;
        }
    }

    fn arm(&mut self) -> Result<()> {
        if !self.is_armed {
            perf::set_period(&self.event, NEVER).map_err(|e| {
                Error::io(
                    "cannot have the perf event skb:kfree_skb wake for the next drop",
                    e,
                )
            })?;
            self.is_armed = true;
        }
        Ok(())
    }
}

impl fmt::Debug for PerfBell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerfBell").field(&self.0.len()).finish()
    }
}

//! When a backend's reader sleeps, and what wakes it.
//!
//! One descriptor to wait on: an epoll with what the [`Bell`] rings by, and a timer, which bounds a sleep under
//! load. It is readable from the moment that there may be something until the reader has looked, found
//! nothing and fallen asleep again; so it suits event loops of either kind, by level and by edge.

mod pace;
mod timer;

use crate::{Error, Result};
use pace::Pace;
pub(super) use pace::Sleep;
use rustix::event::epoll;
use std::{
    fmt,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};
use timer::Timer;

/// How the kernel's side wakes the reader.
pub(super) trait Bell: fmt::Debug {
    /// What becomes readable when it rings.
    fn fds(&self) -> Vec<BorrowedFd<'_>>;

    /// Whether it has rung since the reader fell asleep.
    fn is_ringing(&mut self) -> bool;

    /// Whether its descriptors are readable, and stay so until the reader falls asleep, whoever asks them.
    fn stays_readable(&mut self) -> bool;

    /// The reader is awake: nobody needs to ring from here on.
    fn awake(&mut self);

    /// From here on it rings as this way to sleep asks for: at the first record, or not before the fill mark. If a
    /// record may have come too early to ring for it, and `has_record` finds it, the reader stays awake: false.
    fn fall_asleep(&mut self, sleep: Sleep, has_record: &mut dyn FnMut() -> bool) -> Result<bool>;
}

/// Puts the reader to sleep and wakes it.
#[derive(Debug)]
pub(super) struct Wake<B> {
    // Declared first: closed before what it watches.
    epoll: OwnedFd,
    bell: B,
    timer: Timer,
    pace: Pace,
    /// When it was made, which its times count from.
    start: Instant,
    /// How the reader sleeps, or slept last.
    sleep: Sleep,
    /// Since when; `None` while it is awake.
    asleep: Option<Instant>,
}

impl<B: Bell> Wake<B> {
    /// For a reader that is awake.
    pub(super) fn new(bell: B, max_latency: Duration) -> Result<Self> {
        let failed = |e| Error::io("cannot create the descriptor to wait for events on", e);
        let timer = Timer::new().map_err(failed)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        let wake = Self {
            epoll,
            bell,
            timer,
            pace: Pace::new(max_latency),
            start: Instant::now(),
            sleep: Sleep::UntilRecord,
            asleep: None,
        };
        for fd in wake.bell.fds().into_iter().chain([wake.timer.as_fd()]) {
            wake.watch(fd)?;
        }
        Ok(wake)
    }

    /// The reader wakes up for this one as well.
    pub(super) fn watch(&self, fd: BorrowedFd<'_>) -> Result<()> {
        let data = epoll::EventData::new_u64(0);
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)
            .map_err(|e| Error::io("cannot wait for the descriptor of a buffer", e))
    }

    #[cfg(feature = "perf")]
    pub(super) fn bell(&mut self) -> &mut B {
        &mut self.bell
    }

    /// Readable while the reader is awake, and when it is to wake up.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// There are records: from here on nobody needs to wake us.
    pub(super) fn for_records(&mut self) -> Result<()> {
        if self.asleep.is_none() {
            return Ok(());
        }
        self.awake()?;
        self.pace.worked(self.sleep);
        Ok(())
    }

    fn awake(&mut self) -> Result<()> {
        let Some(since) = self.asleep.take() else {
            return Ok(());
        };
        self.bell.awake();
        self.pace.woke(self.start.elapsed());
        // Who looked without having been woken may wait next, with records still to take.
        if self.sleep.is_over(since) || self.bell.stays_readable() {
            return Ok(());
        }
        self.timer.fire()
    }

    /// There are no records: falls asleep, unless `has_record` finds one when it is too late to be woken for it.
    /// Says whether it sleeps.
    pub(super) fn fall_asleep(&mut self, mut has_record: impl FnMut() -> bool) -> Result<bool> {
        if self.sleeps_on() {
            return Ok(true);
        }
        // Woken, or its time is over, and there was no record after all.
        self.awake()?;
        let sleep = self.pace.sleep();
        self.sleep = sleep;
        // Before the timer is set: when it has fired, this long ago must be its time at the least.
        let since = Instant::now();
        match sleep {
            Sleep::For(time) => self.timer.set(time)?,
            Sleep::UntilRecord => self.timer.stop()?,
        }
        if !self.bell.fall_asleep(sleep, &mut has_record)? {
            self.timer.fire()?;
            return Ok(false);
        }
        self.asleep = Some(since);
        Ok(true)
    }

    /// Whether it sleeps, nobody has rung, and its time is not over.
    fn sleeps_on(&mut self) -> bool {
        self.asleep
            .is_some_and(|since| !self.bell.is_ringing() && !self.sleep.is_over(since))
    }
}

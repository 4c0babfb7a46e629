//! The reader's half of the wake-ups. The program's half, `wake.rs` of `skbdrop-ebpf`, says how they meet.
//!
//! One descriptor to wait on: an epoll with the bell, which the program rings, and a timer, which bounds a sleep under
//! load. It is readable from the moment that there may be something until the reader has looked, found
//! nothing and fallen asleep again; so it suits event loops of either kind, by level and by edge.

mod pace;
mod protocol;

use super::{
    load::Loaded,
    object::{BELL, READER},
};
use crate::{Error, Result, sys::shared::SharedWords};
use aya::maps::{MapData, RingBuf};
use pace::{Pace, Sleep};
use protocol::{FALL_ASLEEP, Step};
use rustix::{
    event::epoll,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use skbdrop_ebpf::reader;
use std::{
    mem,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::atomic::{Ordering, fence},
    time::{Duration, Instant},
};

/// The least that a timer takes: 0 would switch it off.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// Puts the reader to sleep and wakes it.
#[derive(Debug)]
pub(super) struct Wake {
    // Declared first: closed before what it watches.
    epoll: OwnedFd,
    word: SharedWords,
    bell: Bell,
    timer: OwnedFd,
    timer_is_set: bool,
    pace: Pace,
    /// When it was made, which its times count from.
    start: Instant,
    /// How the reader sleeps, or slept last.
    sleep: Sleep,
    /// Since when; `None` while it is awake.
    asleep: Option<Instant>,
}

impl Wake {
    /// With the maps of a program that was loaded. The reader is asleep: the first record wakes it.
    pub(super) fn new(loaded: &mut Loaded, max_latency: Duration) -> Result<Self> {
        let failed = |e| Error::io("cannot create the descriptor to wait for events on", e);
        let bell = Bell(loaded.ring(BELL)?);
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(failed)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        for fd in [bell.0.as_fd(), timer.as_fd()] {
            let data = epoll::EventData::new_u64(0);
            epoll::add(&epoll, fd, data, epoll::EventFlags::IN).map_err(failed)?;
        }
        Ok(Self {
            epoll,
            word: loaded.words(READER)?,
            bell,
            timer,
            timer_is_set: false,
            pace: Pace::new(max_latency),
            start: Instant::now(),
            sleep: Sleep::UntilRecord,
            asleep: None,
        })
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
        if self.asleep.take().is_none() {
            return Ok(());
        }
        self.say(reader::AWAKE);
        self.pace.woke(self.start.elapsed());
        // Who looked without having been woken may wait next, with records still to take.
        match self.sleep {
            Sleep::UntilRecord if !self.bell.is_ringing() => self.set_timer(Some(AT_ONCE)),
            // The timer ends it, or has.
            _ => Ok(()),
        }
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
            Sleep::For(time) => self.set_timer(Some(time))?,
            Sleep::UntilRecord if self.timer_is_set => self.set_timer(None)?,
            Sleep::UntilRecord => {}
        }
        for step in FALL_ASLEEP {
            match step {
                Step::SilenceBell => self.bell.silence(),
                Step::SayAsleep => self.say(match sleep {
                    Sleep::UntilRecord => reader::ASLEEP,
                    Sleep::For(_) => reader::ASLEEP_UNTIL_MARK,
                }),
                Step::Fence => fence(Ordering::SeqCst),
                // What came before a sleep of bounded time is found when it ends.
                Step::LookAgain if sleep == Sleep::UntilRecord && has_record() => {
                    self.say(reader::AWAKE);
                    self.set_timer(Some(AT_ONCE))?;
                    return Ok(false);
                }
                Step::LookAgain => {}
            }
        }
        self.asleep = Some(since);
        Ok(true)
    }

    /// Whether it sleeps, nobody has rung, and its time is not over.
    fn sleeps_on(&mut self) -> bool {
        let Some(since) = self.asleep else {
            return false;
        };
        !self.bell.is_ringing()
            && match self.sleep {
                Sleep::UntilRecord => true,
                Sleep::For(time) => since.elapsed() < time,
            }
    }

    fn say(&self, state: u64) {
        if let Some(word) = self.word.word(0) {
            word.store(state, Ordering::Relaxed);
        }
    }

    /// Makes the descriptor readable after this time, and not before; `None` switches the timer off.
    fn set_timer(&mut self, after: Option<Duration>) -> Result<()> {
        self.timer_is_set = after.is_some();
        let set = Timespec::try_from(after.unwrap_or_default()).ok();
        let never = Timespec::default();
        let value = Itimerspec {
            it_interval: never,
            // So far that it does not fit is as good as never.
            it_value: set.unwrap_or(never),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value)
            .map(drop)
            .map_err(|e| Error::io("cannot set the timer that bounds the latency of events", e))
    }
}

/// The ring buffer that the program only writes to to wake the reader.
struct Bell(RingBuf<MapData>);

impl Bell {
    fn is_ringing(&mut self) -> bool {
        has_record(&mut self.0)
    }

    fn silence(&mut self) {
        while self.0.next().is_some() {}
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

/// Whether a ring buffer has a record, which stays there.
pub(super) fn has_record(ring: &mut RingBuf<MapData>) -> bool {
    // An item is given back to the kernel when it is dropped.
    ring.next().map(mem::forget).is_some()
}

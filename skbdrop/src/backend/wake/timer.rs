//! A timer as a descriptor.

use crate::{Error, Result};
use rustix::{
    io,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// The least that a timer takes: 0 would switch it off.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// Its descriptor is readable from when its time has come until it is set anew.
#[derive(Debug)]
pub(super) struct Timer {
    fd: OwnedFd,
    is_set: bool,
}

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { fd, is_set: false })
    }

    /// Its time comes after so long.
    pub(super) fn set(&mut self, after: Duration) -> Result<()> {
        self.is_set = true;
        self.change(Some(after))
    }

    /// Its time comes now.
    pub(super) fn fire(&mut self) -> Result<()> {
        self.set(AT_ONCE)
    }

    /// Its time does not come.
    pub(super) fn stop(&mut self) -> Result<()> {
        match std::mem::take(&mut self.is_set) {
            true => self.change(None),
            false => Ok(()),
        }
    }

    fn change(&self, after: Option<Duration>) -> Result<()> {
        let never = Timespec::default();
        // So far that it does not fit is as good as never.
        let after = after.and_then(|after| Timespec::try_from(after).ok());
        let value = Itimerspec {
            it_interval: never,
            it_value: after.unwrap_or(never),
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &value)
            .map(drop)
            .map_err(|e| Error::io("cannot set the timer that bounds the latency of events", e))
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

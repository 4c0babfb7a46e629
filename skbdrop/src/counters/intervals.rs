//! [`Intervals`]: counts as a stream.

use super::{Counters, Counts};
use crate::{Error, ErrorKind, Result, reactor::Readiness};
use futures_core::Stream;
use rustix::{
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use std::{
    os::fd::{AsFd as _, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// A stream of what was counted in each interval; see the [crate's documentation](crate#runtimes) for the runtimes.
/// It does not end.
///
/// ```no_run
/// use futures::StreamExt as _;
/// use std::time::Duration;
///
/// # async fn each_second() -> skbdrop::Result<()> {
/// let mut intervals = skbdrop::Counters::builder().build()?.intervals(Duration::from_secs(1))?;
/// while let Some(counts) = intervals.next().await {
///     for count in &counts?.kinds {
///         println!("{count}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Intervals {
    // Declared first: its copy of the timer goes first.
    readiness: Readiness,
    timer: OwnedFd,
    counters: Counters,
}

impl Intervals {
    pub(super) fn new(counters: Counters, interval: Duration) -> Result<Self> {
        let time = Timespec::try_from(interval)
            .ok()
            .filter(|_| !interval.is_zero())
            .ok_or_else(|| {
                let what = format!("there is no interval of {interval:?}");
                Error::new(ErrorKind::InvalidInput, what)
            })?;
        let failed = |e| Error::io("cannot create the timer of the intervals", e);
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(failed)?;
        let value = Itimerspec {
            it_interval: time,
            it_value: time,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &value).map_err(failed)?;
        Ok(Self {
            readiness: Readiness::default(),
            timer,
            counters,
        })
    }

    /// The counters, for a reading between two intervals. A [delta](Counters::delta) is left out of the stream's next.
    pub fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }
}

impl Stream for Intervals {
    type Item = Result<Counts>;

    /// # Panics
    ///
    /// Inside a tokio runtime that was built without its I/O driver, as tokio's own types do.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            // How often it has expired since the last time. It does not matter: the delta has all.
            let mut expirations = [0; size_of::<u64>()];
            match rustix::io::read(&this.timer, &mut expirations) {
                Ok(_) => return Poll::Ready(Some(this.counters.delta())),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => {
                    let e = Error::io("cannot read the timer of the intervals", e);
                    return Poll::Ready(Some(Err(e)));
                }
            }
            match this.readiness.poll(this.timer.as_fd(), cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Some(Err(e))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

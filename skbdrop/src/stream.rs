//! [`Monitor`] as a stream.

use crate::{DropEvent, Monitor, Result};
use futures_core::{Stream, stream::FusedStream};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// Events that one task takes before others get a turn: some milliseconds' worth of a flood.
const YIELD_AFTER: u32 = 1024;

impl Monitor {
    /// Asks to be woken when the backend has something.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let (readiness, source) = self.waiting();
        readiness.poll(source.fd(), cx)
    }
}

impl Stream for Monitor {
    type Item = Result<DropEvent>;

    /// Ends after [`Monitor::stop`], once all events are taken, and after an error.
    ///
    /// # Panics
    ///
    /// Inside a tokio runtime that was built without its I/O driver, as tokio's own types do.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Under a flood there is always a next event. Timers, signals and other tasks of the
        // thread get their turn all the same.
        if self.in_a_row >= YIELD_AFTER {
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Each turn reads a bounded batch at most and consumes one readiness.
        let mut is_asked_for = false;
        loop {
            if let Err(e) = self.look() {
                return Poll::Ready(Some(Err(e)));
            }
            if let Some(event) = self.take() {
                self.in_a_row += 1;
                return Poll::Ready(Some(Ok(event)));
            }
            if self.has_ended() {
                return Poll::Ready(None);
            }
            self.in_a_row = 0;
            if self.has_more {
                // What was read was left out by the filter. The next turn reads on.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if is_asked_for {
                return Poll::Pending;
            }
            match self.poll_readable(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => {
                    self.end();
                    return Poll::Ready(Some(Err(e)));
                }
                // Now that a wake-up is asked for, look once more. A perf event tells of its
                // readiness once (`perf_poll` in `kernel/events/core.c`), and to ask for the
                // wake-up may have been that once.
                Poll::Pending => is_asked_for = true,
            }
        }
    }
}

impl FusedStream for Monitor {
    fn is_terminated(&self) -> bool {
        self.has_ended()
    }
}

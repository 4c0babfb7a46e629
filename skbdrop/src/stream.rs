//! [`Monitor`] as a stream. The only place that knows a runtime.

use crate::{DropEvent, Error, Monitor, Result};
use futures_core::{Stream, stream::FusedStream};
use std::{
    os::fd::{AsFd as _, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
};

/// Events that one task takes before others get a turn: some milliseconds' worth of a flood.
const YIELD_AFTER: u32 = 1024;

/// Wakes the task when the backend's descriptor is readable. Owns a copy of the descriptor.
#[derive(Debug)]
pub(crate) enum Reactor {
    #[cfg(feature = "tokio")]
    Tokio(tokio::io::unix::AsyncFd<OwnedFd>),
    #[cfg(feature = "async-io")]
    AsyncIo(async_io::Async<OwnedFd>),
}

impl Reactor {
    /// tokio's reactor inside a tokio runtime, else async-io's, which runs anywhere.
    fn new(fd: OwnedFd) -> Result<Self> {
        #[cfg(feature = "tokio")]
        if tokio::runtime::Handle::try_current().is_ok() {
            // Its successor is `unsafe`, for types that hand out a descriptor which they do not
            // own, and asks for a very new tokio. An `OwnedFd` keeps its promise by itself.
            #[allow(deprecated)]
            let registered =
                tokio::io::unix::AsyncFd::with_interest(fd, tokio::io::Interest::READABLE);
            return match registered {
                Ok(fd) => Ok(Self::Tokio(fd)),
                Err(e) => Err(Error::io(
                    "cannot register the backend's descriptor with tokio",
                    e,
                )),
            };
        }
        #[cfg(feature = "async-io")]
        {
            let registered = async_io::Async::new_nonblocking(fd);
            registered
                .map(Self::AsyncIo)
                .map_err(|e| Error::io("cannot register the backend's descriptor with async-io", e))
        }
        #[cfg(not(feature = "async-io"))]
        {
            drop(fd);
            Err(Error::not_supported(
                "cannot wait for events: no reactor here (poll the stream inside a tokio runtime with the feature \
                 `tokio`, or enable the feature `async-io` for any other executor)",
            ))
        }
    }

    /// Ready once the descriptor may be readable again since `clear` was last called.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        #[cfg(any(feature = "tokio", feature = "async-io"))]
        {
            let result = match self {
                #[cfg(feature = "tokio")]
                Self::Tokio(fd) => {
                    std::task::ready!(fd.poll_read_ready(cx)).map(|mut guard| guard.clear_ready())
                }
                #[cfg(feature = "async-io")]
                Self::AsyncIo(fd) => std::task::ready!(fd.poll_readable(cx)),
            };
            Poll::Ready(
                result.map_err(|e| Error::io("cannot wait for the backend's descriptor", e)),
            )
        }
        #[cfg(not(any(feature = "tokio", feature = "async-io")))]
        {
            let _ = cx;
            match *self {}
        }
    }
}

impl Monitor {
    /// Asks to be woken when the backend has something.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(reactor) = &self.reactor {
            match reactor.poll_readable(cx) {
                // The runtime that it was registered with is gone, and this may be another one.
                Poll::Ready(Err(_)) => {}
                polled => return polled,
            }
        }
        let fd = self.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|e| Error::io("cannot copy the backend's descriptor", e))?;
        self.reactor.insert(Reactor::new(fd)?).poll_readable(cx)
    }

    /// What is there, or the end.
    fn poll_now(&mut self) -> Poll<Option<Result<DropEvent>>> {
        match self.try_next() {
            Ok(Some(event)) => {
                self.in_a_row += 1;
                Poll::Ready(Some(Ok(event)))
            }
            Ok(None) if self.has_ended() => Poll::Ready(None),
            Ok(None) => Poll::Pending,
            Err(e) => Poll::Ready(Some(Err(e))),
        }
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
        loop {
            if let ready @ Poll::Ready(_) = self.poll_now() {
                return ready;
            }
            self.in_a_row = 0;
            match self.poll_readable(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => {
                    self.end();
                    return Poll::Ready(Some(Err(e)));
                }
                // Now that a wake-up is asked for, look once more. A perf event tells of its
                // readiness once (`perf_poll` in `kernel/events/core.c`), and to ask for the
                // wake-up may have been that once.
                Poll::Pending => return self.poll_now(),
            }
        }
    }
}

impl FusedStream for Monitor {
    fn is_terminated(&self) -> bool {
        self.has_ended()
    }
}

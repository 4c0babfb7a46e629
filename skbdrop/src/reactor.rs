//! Waiting for a descriptor inside a runtime. The only place that knows one.

use crate::{Error, Result, process::Maker};
use std::{
    mem::ManuallyDrop,
    os::fd::{BorrowedFd, OwnedFd},
    task::{Context, Poll},
};

/// Wakes the task that polls it when a descriptor is readable.
#[derive(Debug, Default)]
pub(crate) struct Readiness(Option<(Maker, Reactor)>);

impl Readiness {
    /// Ready once `fd` may be readable again since it last was. It is always the same descriptor.
    pub(crate) fn poll(&mut self, fd: BorrowedFd<'_>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some((_, reactor)) = &self.0 {
            match reactor.poll_readable(cx) {
                // The runtime that it was registered with is gone, and this may be another one.
                Poll::Ready(Err(_)) => {}
                polled => return polled,
            }
        }
        let fd = fd.try_clone_to_owned();
        let fd = fd.map_err(|e| Error::io("cannot copy the backend's descriptor", e))?;
        let reactor = Reactor::new(fd)?;
        let (_, reactor) = self.0.insert((Maker::now(), reactor));
        reactor.poll_readable(cx)
    }
}

impl Drop for Readiness {
    /// A fork shares the reactor's epoll with its parent, which must not lose its registration. The copy of the
    /// descriptor, of an epoll, is left open there.
    fn drop(&mut self) {
        if let Some((maker, reactor)) = self.0.take()
            && !maker.is_here()
        {
            let _kept = ManuallyDrop::new(reactor);
        }
    }
}

/// A descriptor's registration with the runtime. Owns a copy of the descriptor.
#[derive(Debug)]
enum Reactor {
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

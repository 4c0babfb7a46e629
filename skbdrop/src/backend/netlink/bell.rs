//! The socket of the events as what wakes the reader: for each alert, or not at all while alerts gather.

use crate::{
    Error, Result,
    backend::wake::{Bell, Sleep},
};
use netlink_sys::Socket;
use rustix::event::epoll;
use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

/// A socket cannot wake for a fill mark. So alerts gather for so long at most, and in no buffer that a flood of them
/// fills in that time.
const MAX_GATHERING: Duration = Duration::from_millis(10);
const MIN_BUFFER: usize = 2 << 20;

/// How long alerts may gather in a receive buffer of this size.
pub(super) fn gathering(max_latency: Duration, receive_buffer: usize) -> Duration {
    match receive_buffer < MIN_BUFFER {
        true => Duration::ZERO,
        false => max_latency.min(MAX_GATHERING),
    }
}

/// Wakes by the socket, when it is to.
#[derive(Debug)]
pub(super) struct SocketBell {
    // Declared first: closed before what it watches.
    epoll: OwnedFd,
    /// The same socket by another number, which is in the epoll.
    socket: OwnedFd,
    is_listening: bool,
}

impl SocketBell {
    pub(super) fn new(events: &Socket) -> Result<Self> {
        let failed = |e| Error::io("cannot make a descriptor to wait for `drop_monitor` on", e);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        let socket = rustix::io::fcntl_dupfd_cloexec(events.as_fd(), 0).map_err(failed)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&epoll, &socket, data, epoll::EventFlags::IN).map_err(failed)?;
        Ok(Self {
            epoll,
            socket,
            is_listening: true,
        })
    }
}

impl Bell for SocketBell {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.epoll.as_fd()]
    }

    /// Whoever asks has found nothing in the socket.
    fn is_ringing(&mut self) -> bool {
        false
    }

    /// The socket is not any more once it is empty, with records that are still to be taken.
    fn stays_readable(&mut self) -> bool {
        false
    }

    fn awake(&mut self) {}

    fn fall_asleep(&mut self, sleep: Sleep, _: &mut dyn FnMut() -> bool) -> Result<bool> {
        let listen = sleep == Sleep::UntilRecord;
        if listen != self.is_listening {
            let flags = match listen {
                true => epoll::EventFlags::IN,
                false => epoll::EventFlags::empty(),
            };
            // What is in the socket by now makes it readable at once.
            epoll::modify(
                &self.epoll,
                &self.socket,
                epoll::EventData::new_u64(0),
                flags,
            )
            .map_err(|e| Error::io("cannot wait for `drop_monitor` by its socket", e))?;
            self.is_listening = listen;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_gather_where_there_is_room() {
        let ms = Duration::from_millis;
        assert_eq!(gathering(ms(5), 4 << 20), ms(5));
        assert_eq!(gathering(ms(3_600_000), 4 << 20), MAX_GATHERING);
        assert_eq!(gathering(ms(5), 4096), Duration::ZERO);
        assert_eq!(gathering(Duration::ZERO, 4 << 20), Duration::ZERO);
    }
}

//! The socket of the events, and what a monitor waits on.

use super::refusal;
use crate::{Error, Result};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use rustix::{
    net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use std::{os::fd::OwnedFd, time::Duration};

/// How often an idle monitor looks whether drop_monitor is still on. It takes some microseconds; what is
/// dropped until then is not seen.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// A netlink socket that the kernel has given a number.
pub(super) fn open() -> Result<Socket> {
    let bound = Socket::new(NETLINK_GENERIC).and_then(|mut socket| {
        socket.bind(&SocketAddr::new(0, 0))?;
        Ok(socket)
    });
    bound.map_err(|e| Error::io("cannot open a generic netlink socket", e))
}

/// Joins the group, which takes the privilege to.
pub(super) fn join(events: &Socket, group: u32) -> Result<()> {
    events.add_membership(group).map_err(refusal::no_membership)
}

/// As much as asked for, with the privilege; else as much as the system allows.
pub(super) fn set_receive_buffer(events: &Socket, bytes: usize) -> Result<()> {
    set_socket_recv_buffer_size_force(events, bytes)
        .or_else(|_| set_socket_recv_buffer_size(events, bytes))
        .map_err(|e| {
            Error::io(
                "cannot set the size of the netlink socket's receive buffer",
                e,
            )
        })
}

/// A descriptor that is readable now and then.
pub(super) fn watch_timer() -> rustix::io::Result<OwnedFd> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    set_timer(&timer, WATCH_INTERVAL, WATCH_INTERVAL)?;
    Ok(timer)
}

pub(super) fn set_timer(
    timer: &OwnedFd,
    first: Duration,
    interval: Duration,
) -> rustix::io::Result<()> {
    let spec = |duration: Duration| Timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: duration.subsec_nanos().into(),
    };
    let times = Itimerspec {
        it_interval: spec(interval),
        it_value: spec(first),
    };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &times).map(drop)
}

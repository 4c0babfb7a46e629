//! CPUs that come online while the backend runs.
//!
//! The kernel takes the perf events off a CPU that goes offline (`perf_event_exit_cpu_context` in
//! `kernel/events/core.c`), and does not put them back when it comes again. It tells of that by uevents.

use crate::{Error, Result};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink,
        netlink::SocketAddrNetlink, recv, socket_with,
    },
};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// The group of what the kernel itself tells, as a bit.
const KERNEL: u32 = 1;
/// Longer than a uevent is (`UEVENT_BUFFER_SIZE` and what names its action and device).
const MAX_MESSAGE: usize = 8192;

/// Where the kernel tells of CPUs.
#[derive(Debug)]
pub(super) struct Hotplug(OwnedFd);

/// A change that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// This CPU is online.
    Online(usize),
    /// More was told than there was room for.
    Unknown,
}

impl Hotplug {
    pub(super) fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::KOBJECT_UEVENT);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol);
        let joined = socket.and_then(|socket| {
            bind(&socket, &SocketAddrNetlink::new(0, KERNEL))?;
            Ok(socket)
        });
        joined
            .map(Self)
            .map_err(|e| Error::io("cannot listen for CPUs that come online", e))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next that was told, without waiting.
    pub(super) fn next(&self) -> Result<Option<Change>> {
        let mut message = [0; MAX_MESSAGE];
        loop {
            let length = match recv(&self.0, &mut message[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => return Ok(Some(Change::Unknown)),
                Err(e) => return Err(Error::io("cannot read of CPUs that come online", e)),
            };
            if let Some(cpu) = came_online(&message[..length]) {
                return Ok(Some(Change::Online(cpu)));
            }
        }
    }
}

/// The CPU that a uevent says has come online. It begins with `action@device`, which a zero ends.
fn came_online(message: &[u8]) -> Option<usize> {
    let head = message.split(|&byte| byte == 0).next()?;
    let cpu = head.strip_prefix(b"online@/devices/system/cpu/cpu")?;
    std::str::from_utf8(cpu).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_uevents_only_a_cpu_that_came_online_counts() {
        let online = b"online@/devices/system/cpu/cpu12\0ACTION=online\0";
        assert_eq!(came_online(online), Some(12));
        for other in [
            &b"offline@/devices/system/cpu/cpu12\0"[..],
            b"online@/devices/system/cpu/cpu\0",
            b"online@/devices/system/cpu/cpu-1\0",
            b"online@/devices/system/memory/memory3\0",
            b"libudev\0online@/devices/system/cpu/cpu1\0",
            b"",
        ] {
            assert_eq!(came_online(other), None);
        }
    }
}

//! getsockopt(2), for the two options that rustix has not.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// What a socket holds and what it had no room for, by `SO_MEMINFO` (since Linux 4.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemInfo {
    /// Bytes that wait to be received, by the kernel's count.
    pub(crate) queued: u32,
    /// Messages that were dropped for want of room, modulo 2^32.
    pub(crate) drops: u32,
}

pub(crate) fn mem_info(socket: BorrowedFd<'_>) -> io::Result<MemInfo> {
    let info: [u32; libc::SK_MEMINFO_DROPS as usize + 1] = option(socket, libc::SO_MEMINFO)?;
    Ok(MemInfo {
        queued: info[libc::SK_MEMINFO_RMEM_ALLOC as usize],
        drops: info[libc::SK_MEMINFO_DROPS as usize],
    })
}

/// The number of the socket's network namespace, by `SO_NETNS_COOKIE` (since Linux 5.14). They are
/// given out from 1 on.
pub(crate) fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let [low, high]: [u32; 2] = option(socket, libc::SO_NETNS_COOKIE)?;
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&low.to_ne_bytes());
    bytes[4..].copy_from_slice(&high.to_ne_bytes());
    Ok(u64::from_ne_bytes(bytes))
}

/// An option of level `SOL_SOCKET` whose value is so many integers.
fn option<const N: usize>(socket: BorrowedFd<'_>, name: i32) -> io::Result<[u32; N]> {
    let mut value = [0u32; N];
    let mut len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel writes no more than `len` bytes into `value`, which outlives the call
    // and has no invalid bit patterns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if len as usize != size_of_val(&value) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(value)
}

//! Why drop_monitor cannot be had, and what would help.

use crate::{Error, ErrorKind, sys::socket};
use std::{fs, io, os::fd::BorrowedFd, os::unix::fs::MetadataExt as _};

/// Inode number of the namespace that is there from the start, where the kernel has fixed it
/// (`NET_NS_INIT_INO` in `include/uapi/linux/nsfs.h`). Others never had numbers below 0xf0000000.
const INITIAL_INODE: u64 = 0xefff_fff9;
/// What `SO_NETNS_COOKIE` says of it on the kernels before, which number namespaces from 1 on. Since it is
/// fixed it has another, but none has this.
const INITIAL_COOKIE: u64 = 1;

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The kernel's error, if it was the kernel that refused.
    pub(super) number: Option<i32>,
    /// What the kernel says besides.
    pub(super) text: Option<String>,
    pub(super) cause: Error,
}

impl Refusal {
    /// The error of one who tried to do this.
    pub(super) fn when(self, act: &str) -> Error {
        let Some(number) = self.number else {
            return Error::new(self.cause.kind(), act).caused_by(self.cause);
        };
        let cause = io::Error::from_raw_os_error(number);
        let remedy = match number {
            libc::EPERM => " (needs CAP_NET_ADMIN in the initial user namespace)",
            libc::EOPNOTSUPP => " (for hardware needs CONFIG_NET_DEVLINK)",
            _ => "",
        };
        let says = self.text.map(|text| format!("; the kernel says: {text}"));
        Error::io(format!("{act}{remedy}{}", says.unwrap_or_default()), cause)
    }
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Self {
        Error::io("cannot talk to generic netlink", e).into()
    }
}

impl From<Error> for Refusal {
    fn from(cause: Error) -> Self {
        Self {
            number: None,
            text: None,
            cause,
        }
    }
}

/// The family is not listed: the kernel has it not, or shows it in the initial network namespace
/// only.
pub(super) fn no_family(socket: BorrowedFd<'_>) -> Error {
    let absent = "not in this kernel, or its module is not loaded (needs CONFIG_NET_DROP_MONITOR; \
                  as a module: modprobe drop_monitor)";
    let elsewhere = "to be had in the initial network namespace only, and this is another (run there, \
                     for example by nsenter --net=/proc/1/ns/net)";
    match is_initial(socket) {
        Some(true) => Error::not_supported(format!("`drop_monitor` is {absent}")),
        Some(false) => Error::new(
            ErrorKind::NotFound,
            format!("`drop_monitor` is {elsewhere}"),
        ),
        None => Error::not_supported(format!(
            "`drop_monitor` is {absent}; or it is {elsewhere}: which of the two, this kernel does not tell \
             (needs Linux 5.14, or leave to read /proc/1/ns/net)"
        )),
    }
}

/// The group could not be joined.
pub(super) fn no_membership(e: io::Error) -> Error {
    let remedy = match e.kind() {
        io::ErrorKind::PermissionDenied => {
            " (needs CAP_SYS_ADMIN since Linux 6.7 and in earlier kernels with the same change, and \
             CAP_NET_ADMIN to start it)"
        }
        _ => "",
    };
    Error::io(
        format!("cannot listen to `drop_monitor`: its netlink group cannot be joined{remedy}"),
        e,
    )
}

/// Whether the socket, made by this thread, is in the initial network namespace; `None` if that
/// cannot be told.
fn is_initial(in_question: BorrowedFd<'_>) -> Option<bool> {
    let inode = |path| Some(fs::metadata(path).ok()?.ino());
    let own = inode("/proc/thread-self/ns/net");
    if own == Some(INITIAL_INODE) {
        return Some(true);
    }
    if let Ok(cookie) = socket::netns_cookie(in_question) {
        return Some(cookie == INITIAL_COOKIE);
    }
    // Process 1 may itself be in another, in a container of its own.
    (own? != inode("/proc/1/ns/net")?).then_some(false)
}

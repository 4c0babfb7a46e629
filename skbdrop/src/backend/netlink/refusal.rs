//! Why drop_monitor cannot be had, and what would help.

use super::module::{self, Module};
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
    absence(is_initial(socket), &module::of_running_kernel())
}

fn absence(is_initial: Option<bool>, module: &Module) -> Error {
    let elsewhere = "to be had in the initial network namespace only, and this is another (run there, \
                     if this kernel has it, for example by nsenter --net=/proc/1/ns/net)";
    let absent = match module {
        Module::Absent | Module::Unloadable => {
            "not in this kernel (needs CONFIG_NET_DROP_MONITOR)".to_owned()
        }
        Module::Loadable => {
            "not there: its module is not loaded (modprobe drop_monitor)".to_owned()
        }
        Module::BuiltIn => {
            "built into this kernel, and yet not in generic netlink's list".to_owned()
        }
        Module::Unknown(why) => format!(
            "not in this kernel, or its module is not loaded: which of the two cannot be told, for {why} (needs \
             CONFIG_NET_DROP_MONITOR; as a module: modprobe drop_monitor)"
        ),
    };
    match is_initial {
        Some(false) if *module != Module::Absent => Error::new(
            ErrorKind::NotFound,
            format!("`drop_monitor` is {elsewhere}"),
        ),
        None if *module != Module::Absent => Error::not_supported(format!(
            "`drop_monitor` is {absent}; or it is {elsewhere}: which namespace this is cannot be told (needs /proc, and \
             Linux 5.14 or leave to read /proc/1/ns/net)"
        )),
        _ => Error::not_supported(format!("`drop_monitor` is {absent}")),
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
    initial(
        inode("/proc/thread-self/ns/net"),
        socket::netns_cookie(in_question).ok(),
        inode("/proc/1/ns/net"),
    )
}

/// The same, from the inode and cookie of the namespace in question and the inode of process 1's.
fn initial(own: Option<u64>, cookie: Option<u64>, of_first: Option<u64>) -> Option<bool> {
    if own == Some(INITIAL_INODE) || cookie == Some(INITIAL_COOKIE) {
        return Some(true);
    }
    // By the cookie alone the initial one is not known where its inode is fixed.
    let own = own?;
    if cookie.is_some() {
        return Some(false);
    }
    // Process 1 may itself be in another, in a container of its own.
    (own != of_first?).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_told_apart_by_what_the_kernel_shows() {
        let other = Some(0xf000_0001);
        let fixed = Some(INITIAL_INODE);
        // Where the inode is fixed.
        assert_eq!(initial(fixed, Some(7), None), Some(true));
        assert_eq!(initial(other, Some(9), fixed), Some(false));
        // Without /proc the cookie may be that of the initial one on such a kernel.
        assert_eq!(initial(None, Some(9), None), None);
        // Where the initial one has the cookie 1.
        assert_eq!(initial(other, Some(1), None), Some(true));
        assert_eq!(initial(None, Some(1), None), Some(true));
        // Without cookies: the namespace of process 1 need not be the initial one.
        assert_eq!(initial(other, None, other), None);
        assert_eq!(initial(other, None, Some(0xf000_0002)), Some(false));
        assert_eq!(initial(None, None, other), None);
        assert_eq!(initial(other, None, None), None);
    }

    #[test]
    fn an_absence_claims_no_more_than_is_known() {
        let unknown = || Module::Unknown("a reason".to_owned());
        let text = |initial, module: Module| {
            let error = absence(initial, &module);
            (error.kind(), error.to_string())
        };
        for initial in [Some(true), Some(false), None] {
            let (kind, text) = text(initial, Module::Absent);
            assert_eq!(kind, ErrorKind::NotSupported);
            assert!(text.starts_with("`drop_monitor` is not in this kernel (needs CONFIG"));
            assert!(
                !text.contains("modprobe") && !text.contains("nsenter"),
                "{text}"
            );
        }
        let (kind, not_loaded) = text(Some(true), Module::Loadable);
        assert_eq!(kind, ErrorKind::NotSupported);
        assert!(not_loaded.contains("its module is not loaded (modprobe drop_monitor)"));
        let (_, either) = text(Some(true), unknown());
        assert!(either.contains("not in this kernel, or its module is not loaded"));
        assert!(
            either.contains("for a reason") && !either.contains("nsenter"),
            "{either}"
        );
        let (_, unloadable) = text(Some(true), Module::Unloadable);
        assert_eq!(unloadable, text(Some(true), Module::Absent).1);
        for module in [
            Module::Loadable,
            Module::BuiltIn,
            Module::Unloadable,
            unknown(),
        ] {
            let (kind, elsewhere) = text(Some(false), module);
            assert_eq!(kind, ErrorKind::NotFound);
            assert!(elsewhere.contains("if this kernel has it"), "{elsewhere}");
            assert!(!elsewhere.contains("modprobe"), "{elsewhere}");
        }
        let (_, any) = text(None, unknown());
        assert!(any.contains("modprobe") && any.contains("nsenter"), "{any}");
    }
}

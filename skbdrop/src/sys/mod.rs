//! The only place with `unsafe`: system calls and mappings that no dependency wraps.
//!
//! # Safety
//!
//! Everything that leaves this module is safe to call with any argument: file descriptors are
//! owned or borrowed types, lengths come from slices, and what is mapped cannot change or go
//! away while it is borrowed.
#![allow(unsafe_code)]

#[cfg(feature = "ebpf")]
pub(crate) mod bpf;
#[cfg(feature = "perf")]
pub(crate) mod perf;
#[cfg(feature = "ebpf")]
pub(crate) mod ring;
#[cfg(feature = "ebpf")]
pub(crate) mod shared;
#[cfg(feature = "netlink")]
pub(crate) mod socket;

/// `SYSFS_MAGIC` in `include/uapi/linux/magic.h`.
const SYSFS_MAGIC: rustix::fs::FsWord = 0x6265_6572;

use std::{fs::File, ops::Deref, path::Path};

/// Maps the kernel's BTF file; `None` where the kernel cannot (before 6.16), or the file is not
/// there. Not for any other file: what a user names may change under the mapping.
pub(crate) fn map_kernel_btf(path: &Path) -> Option<impl Deref<Target = [u8]>> {
    debug_assert!(path.starts_with("/sys/kernel/btf"));
    let file = File::open(path).ok()?;
    if rustix::fs::fstatfs(&file).ok()?.f_type != SYSFS_MAGIC {
        return None;
    }
    // SAFETY: the file is the kernel's own read-only data, which nothing can change or
    // truncate while the kernel runs (`btf_sysfs_vmlinux_mmap` in `kernel/bpf/sysfs_btf.c`);
    // that it is on sysfs was just checked.
    unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file) }.ok()
}

//! The backends: each turns what the kernel shows of drops into [`RawRecord`]s.
//!
//! A folder each, with the same files: `source.rs` has the file descriptors and yields bytes,
//! `decode.rs` is a pure function from bytes to a record.

#[cfg(feature = "ebpf")]
pub(crate) mod ebpf;

use crate::{BackendKind, Error, ErrorKind, Result, btf::DropTypes, record::RawRecord};
use std::{fmt, os::fd::BorrowedFd, str::FromStr};

/// Which backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The best that this kernel and these privileges allow.
    #[default]
    Auto,
    /// The eBPF program on the tracepoint `skb:kfree_skb`: all fields, lowest cost.
    ///
    /// # Minimum kernel version
    ///
    /// 5.10. Reasons since 5.17, the receiving socket since 6.11.
    ///
    /// # Kernel configuration
    ///
    /// `CONFIG_BPF_SYSCALL`, `CONFIG_DEBUG_INFO_BTF`.
    ///
    /// # Capabilities
    ///
    /// CAP_BPF and CAP_PERFMON; CAP_SYSLOG as well for symbols, unless `kernel.kptr_restrict` is 0
    /// and `kernel.perf_event_paranoid` at most 1.
    ///
    /// # What it reports
    ///
    /// Every field of [`DropEvent`](crate::DropEvent). Software drops only.
    ///
    /// # Cost
    ///
    /// Some hundred nanoseconds a drop in the kernel.
    Ebpf,
    /// perf events on the same tracepoint. Not in this version yet.
    Perf,
    /// Generic netlink's `drop_monitor`. Not in this version yet.
    Netlink,
}

impl Backend {
    /// `auto`, `ebpf`, `perf` or `netlink`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ebpf => BackendKind::Ebpf.name(),
            Self::Perf => BackendKind::Perf.name(),
            Self::Netlink => BackendKind::Netlink.name(),
        }
    }
}

impl FromStr for Backend {
    type Err = Error;

    /// Takes what [`name`](Self::name) gives.
    fn from_str(name: &str) -> Result<Self> {
        let all = [Self::Auto, Self::Ebpf, Self::Perf, Self::Netlink];
        all.into_iter()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("no backend `{name}` (there are auto, ebpf, perf and netlink)"),
                )
            })
    }
}

/// What a backend is to the monitor: a descriptor to wait on, and records when it is readable.
pub(crate) trait Source: Send + fmt::Debug {
    /// Which backend it is.
    fn kind(&self) -> BackendKind;

    /// Readable when there are records.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Hands at most `max` records to `sink`, and never blocks. Says how many it took that could
    /// not be decoded.
    fn read(&mut self, max: usize, sink: &mut dyn FnMut(RawRecord<'_>)) -> Result<u64>;

    /// How many drops were lost since the start, whether or not an event has told it.
    fn lost(&self) -> Result<u64>;

    /// Detaches from the kernel. What is queued can still be read.
    fn stop(&mut self);
}

/// What a backend is opened with.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "ebpf"), allow(dead_code))] // without a backend nobody reads them
pub(crate) struct Settings<'a> {
    pub(crate) types: &'a DropTypes,
    /// `types` come from the running kernel's own BTF, so their numbers are the kernel's.
    pub(crate) kernel_btf: bool,
    /// Bytes of each packet.
    pub(crate) snap_len: u32,
    /// Bytes of buffer; a power of two of at least a page.
    pub(crate) buffer_size: u32,
}

impl Backend {
    /// Opens it.
    pub(crate) fn open(self, settings: Settings<'_>) -> Result<Box<dyn Source>> {
        match self {
            Self::Auto | Self::Ebpf => open_ebpf(settings),
            Self::Perf | Self::Netlink => Err(Error::not_supported(format!(
                "the backend `{}` is not in this version of skbdrop (use `ebpf`)",
                self.name()
            ))),
        }
    }
}

#[cfg(feature = "ebpf")]
fn open_ebpf(settings: Settings<'_>) -> Result<Box<dyn Source>> {
    Ok(Box::new(ebpf::EbpfSource::open(settings)?))
}

#[cfg(not(feature = "ebpf"))]
fn open_ebpf(_: Settings<'_>) -> Result<Box<dyn Source>> {
    Err(Error::not_supported(
        "no backend is in this build of skbdrop (enable the feature `ebpf`)",
    ))
}

//! The backends: each turns what the kernel shows of drops into [`RawRecord`]s.
//!
//! A folder each, with the same files: `source.rs` has the file descriptors and yields bytes,
//! `decode.rs` is a pure function from bytes to a record.

#[cfg(feature = "ebpf")]
pub(crate) mod ebpf;

use crate::{BackendKind, Error, ErrorKind, Result, record::RawRecord};
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

    /// Hands at most `max` records to `sink`, never blocks, and says how many there were;
    /// less than `max` means that there are no more now.
    fn read(&mut self, max: usize, sink: &mut dyn FnMut(RawRecord<'_>)) -> Result<Batch>;

    /// How many drops were lost since the start, whether or not an event has told it.
    fn lost(&self) -> Result<u64>;

    /// Detaches from the kernel. What is queued can still be read.
    fn stop(&mut self);
}

/// What one [`Source::read`] did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batch {
    /// Records taken from the queue, decodable or not.
    pub(crate) taken: usize,
    /// Those of them that could not be decoded.
    pub(crate) undecodable: u64,
}

//! The backends, and what it takes to bring one of your own.
//!
//! A backend turns what the kernel shows of drops into [`Record`]s. Those of this crate are a
//! folder each, with the same files: `source.rs` has the descriptors and yields bytes, `decode.rs`
//! is a pure function from bytes to a record.
//!
//! # A backend of your own
//!
//! Implement [`Source`] and hand it to [`Builder::source`](crate::Builder::source). The monitor waits on
//! its descriptor, looks up names and symbols, and does the rest.
//!
//! ```
//! use skbdrop::backend::{Reason, Record, Read, Source, Time};
//! use std::os::fd::{AsFd, BorrowedFd};
//!
//! /// Says "nothing was dropped" by never saying anything: a pipe that nobody writes to.
//! #[derive(Debug)]
//! struct Quiet(std::io::PipeReader, std::io::PipeWriter);
//!
//! impl Source for Quiet {
//!     fn kind(&self) -> skbdrop::BackendKind {
//!         skbdrop::BackendKind::Other("quiet")
//!     }
//!     fn fd(&self) -> BorrowedFd<'_> {
//!         self.0.as_fd()
//!     }
//!     fn read(&mut self, _: usize, _: &mut dyn FnMut(Record<'_>)) -> skbdrop::Result<Read> {
//!         Ok(Read::default())
//!     }
//!     fn lost(&self) -> skbdrop::Result<u64> {
//!         Ok(0)
//!     }
//!     fn stop(&mut self) {}
//! }
//!
//! let (reader, writer) = std::io::pipe().expect("a pipe");
//! let mut monitor = skbdrop::Monitor::builder().source(Quiet(reader, writer)).build()?;
//! assert!(monitor.next_batch(1)?.is_empty());
//! # Ok::<(), skbdrop::Error>(())
//! ```

#[cfg(feature = "ebpf")]
mod ebpf;
#[cfg(any(feature = "ebpf", feature = "netlink"))]
mod link;
#[cfg(feature = "netlink")]
mod netlink;
mod record;
mod settings;

#[cfg(feature = "netlink")]
pub use netlink::{NetlinkOptions, WhenRunning};
pub use record::{Reason, Record, SymbolText, Time, Trap};
pub(crate) use settings::Settings;

use crate::{BackendKind, Error, ErrorKind, Resolver, Result};
use std::{fmt, os::fd::BorrowedFd, str::FromStr};

/// What a backend is to the monitor: a descriptor to wait on, and records when it is readable.
///
/// It is object safe. All calls come from whoever uses the monitor, one at a time.
pub trait Source: Send + fmt::Debug {
    /// Which backend it is.
    fn kind(&self) -> BackendKind;

    /// Becomes readable when there are records, or the end. It stays the same for the source's life.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Hands at most `max` records to `sink`, in order of time, without waiting. To hand out none means
    /// that there are none until the descriptor is readable again.
    ///
    /// # Errors
    ///
    /// An error ends the monitor's stream. Records that cannot be decoded are not errors: they are
    /// counted in what this returns.
    fn read(&mut self, max: usize, sink: &mut dyn FnMut(Record<'_>)) -> Result<Read>;

    /// How many drops were lost since the start, whether or not a record has told it.
    ///
    /// # Errors
    ///
    /// The count cannot be had.
    fn lost(&self) -> Result<u64>;

    /// Detaches from the kernel. What is queued can still be read, and then `read` says that it has
    /// ended.
    fn stop(&mut self);
}

/// What one [`Source::read`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Records that were taken from the queue, decodable or not.
    pub taken: usize,
    /// Those of them that could not be decoded.
    pub undecodable: u64,
    /// No more will come.
    pub ended: bool,
}

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
    /// Every field of [`DropEvent`](crate::DropEvent) that is about software drops.
    ///
    /// # Cost
    ///
    /// Some hundred nanoseconds a drop in the kernel.
    Ebpf,
    /// perf events on the same tracepoint. Not in this version yet.
    Perf,
    /// Generic netlink's `NET_DM`, the kernel's `drop_monitor`: the only one that sees drops in
    /// hardware, and one that lockdown does not touch. Its settings are `NetlinkOptions`.
    ///
    /// The kernel has one `drop_monitor` for all, with one configuration and without an owner. Monitors of
    /// this crate share it, also between processes: whoever leaves last stops it and puts back the
    /// configuration that was before. What another program runs is listened to, and not stopped. Where
    /// a monitor was killed it stays on until the next one, of any process, ends. `NetlinkOptions`
    /// says what cannot be had, `WhenRunning` what can be chosen.
    ///
    /// # Minimum kernel version
    ///
    /// 5.4. Reasons since 5.18.
    ///
    /// # Kernel configuration
    ///
    /// `CONFIG_NET_DROP_MONITOR`, with the module `drop_monitor` loaded, which this crate does not do;
    /// `CONFIG_NET_DEVLINK` for drops in hardware. It is there in the initial network namespace alone, from
    /// which all namespaces' drops are seen.
    ///
    /// # Capabilities
    ///
    /// CAP_NET_ADMIN in the initial user namespace, kept until the monitor's end; CAP_SYS_ADMIN as well
    /// since 6.7 and in stable kernels of 2023-12 and later. Symbols need no more.
    ///
    /// # What it reports
    ///
    /// Reason, location and symbol, time, protocol, length, packet and the index of the interface that it
    /// came in by; for hardware also the trap, its group, the interface's name and the cookie of the rule.
    /// Not the namespace, the context, the socket, nor packets that have no link-layer header yet, which
    /// are those that were to be sent. In summary mode no more than location and count.
    ///
    /// # Cost
    ///
    /// Some microseconds a drop, in the kernel's worker and in two copies of the packet's first bytes.
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

    /// Opens it, with the resolver that suits it.
    pub(crate) fn open(self, settings: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
        match self {
            Self::Auto | Self::Ebpf => open_ebpf(settings),
            Self::Netlink => open_netlink(settings),
            Self::Perf => Err(Error::not_supported(format!(
                "the backend `{}` is not in this version of skbdrop (use `ebpf`)",
                self.name()
            ))),
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

#[cfg(feature = "ebpf")]
fn open_ebpf(settings: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
    let source = ebpf::EbpfSource::open(settings)?;
    Ok((Box::new(source), settings.resolver()?))
}

#[cfg(not(feature = "ebpf"))]
fn open_ebpf(_: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
    Err(absent("ebpf"))
}

#[cfg(feature = "netlink")]
fn open_netlink(settings: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
    let source = netlink::NetlinkSource::open(settings)?;
    // The reasons come by name. The kernel's types only add their subsystems.
    let resolver = settings.resolver().unwrap_or_else(|_| Resolver::empty());
    Ok((Box::new(source), resolver))
}

#[cfg(not(feature = "netlink"))]
fn open_netlink(_: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
    Err(absent("netlink"))
}

/// A backend that was left out of the build.
#[cfg_attr(all(feature = "ebpf", feature = "netlink"), expect(dead_code))]
fn absent(feature: &str) -> Error {
    Error::not_supported(format!(
        "the backend `{feature}` is not in this build of skbdrop (enable the feature `{feature}`)"
    ))
}

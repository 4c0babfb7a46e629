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
//!     fn read(&mut self, _: usize, _: &mut dyn FnMut(&Record<'_>)) -> skbdrop::Result<Read> {
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
#[cfg(feature = "perf")]
mod perf;
mod record;
#[cfg(feature = "replay")]
pub mod replay;
mod settings;
#[cfg(any(feature = "ebpf", feature = "perf", feature = "netlink"))]
mod wake;

#[cfg(feature = "ebpf")]
pub(crate) use ebpf::{CountKey, EbpfCounts, by};
#[cfg(feature = "netlink")]
pub use netlink::{NetlinkOptions, WhenRunning};
pub use record::{Endpoints, QdiscTold, Reason, Record, SymbolText, Time, Trap};
pub(crate) use settings::Settings;

#[cfg(feature = "perf")]
use crate::tracefs;
use crate::{BackendKind, Error, ErrorKind, Report, Resolver, Result, diagnostics::tell};
use std::{fmt, os::fd::BorrowedFd, str::FromStr};

/// What feeds the backends' decoders when they are fuzzed, which are private to each.
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz {
    #[cfg(all(feature = "ebpf", feature = "replay"))]
    pub(crate) use super::ebpf::fuzz::filter;
    #[cfg(feature = "ebpf")]
    pub use super::ebpf::fuzz::record;
    #[cfg(feature = "netlink")]
    pub use super::netlink::fuzz::netlink;
    #[cfg(feature = "netlink")]
    pub(crate) use super::netlink::fuzz::sockets;
    #[cfg(feature = "perf")]
    pub use super::perf::fuzz::perf;
}

/// What a backend is to the monitor: a descriptor to wait on, and records when it is readable.
///
/// It is object safe. All calls come from whoever uses the monitor, one at a time.
pub trait Source: Send + fmt::Debug {
    /// Which backend it is.
    fn kind(&self) -> BackendKind;

    /// Becomes readable when there are records, or the end. It stays the same for the source's life.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Hands at most `max` records to `sink`, those of each CPU in order of time, without waiting. To hand out none means
    /// that there are none until the descriptor is readable again.
    ///
    /// # Errors
    ///
    /// An error ends the monitor's stream. Records that cannot be decoded are not errors: they are
    /// counted in what this returns.
    fn read(&mut self, max: usize, sink: &mut dyn FnMut(&Record<'_>)) -> Result<Read>;

    /// How many drops were lost since the start, whether or not a record has told it.
    ///
    /// # Errors
    ///
    /// The count cannot be had.
    fn lost(&self) -> Result<u64>;

    /// Detaches from the kernel. What is queued can still be read, and then `read` says that it has
    /// ended.
    fn stop(&mut self);

    /// Whether its numbers and addresses are the running kernel's, to be looked up there. Those of a recording are
    /// not: the names of another kernel would be wrong.
    fn is_of_this_kernel(&self) -> bool {
        true
    }

    /// What it has left out itself, if it was made with the monitor's filter and limits; the monitor then looks at
    /// neither again. With `None`, as by default, the monitor leaves out what it has to.
    ///
    /// # Errors
    ///
    /// The counts cannot be had.
    fn left_out(&self) -> Result<Option<LeftOut>> {
        Ok(None)
    }

    /// What it was asked for and cannot do here, each as an error with the reason. Asked once, after it was opened.
    fn take_limitations(&mut self) -> Vec<Error> {
        Vec::new()
    }
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

/// Drops that a source did not hand out by intent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Those that the filter left out.
    pub filtered: u64,
    /// Those that passed it and were left out by sampling or the limit of drops in a second.
    pub limited: u64,
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
    /// 5.10. Reasons since 5.17, the receiving socket since 6.11, the queueing discipline since 7.1.
    ///
    /// # Kernel configuration
    ///
    /// `CONFIG_BPF_SYSCALL`, `CONFIG_DEBUG_INFO_BTF`.
    ///
    /// # Capabilities
    ///
    /// CAP_BPF and CAP_PERFMON; before Linux 5.11 also CAP_SYS_RESOURCE, or room for the buffer in
    /// RLIMIT_MEMLOCK; CAP_SYSLOG as well for symbols, unless `kernel.kptr_restrict` is 0 and
    /// `kernel.perf_event_paranoid` at most 1.
    ///
    /// # What it reports
    ///
    /// Every field of [`DropEvent`](crate::DropEvent) that is about software drops.
    ///
    /// # Cost
    ///
    /// The least of the three: the program reads the skb in place, and the reader takes records from
    /// memory that it shares with the kernel.
    Ebpf,
    /// perf events on the same tracepoint, described by tracefs: works without BTF.
    ///
    /// # Minimum kernel version
    ///
    /// 5.10. Reasons since 5.17, the receiving socket since 6.11.
    ///
    /// # Kernel configuration
    ///
    /// `CONFIG_PERF_EVENTS`, `CONFIG_EVENT_TRACING`; tracefs mounted. Not under
    /// lockdown=confidentiality, which empties tracefs.
    ///
    /// # Capabilities
    ///
    /// CAP_PERFMON, and the right to read tracefs: CAP_DAC_READ_SEARCH, or a mount with `gid=`. On kernels
    /// with Debian's or Ubuntu's patch and `kernel.perf_event_paranoid` above 2, CAP_SYS_ADMIN instead of
    /// CAP_PERFMON.
    ///
    /// # What it reports
    ///
    /// Time, reason, location, protocol, addresses of skb and receiving socket, CPU, process and thread.
    /// No bytes of the packet and so no length and no addresses; no interface, no namespace, no `comm`.
    /// Records are in order of time over all CPUs, but for one that is still being written when a later one
    /// of another CPU is read. A CPU that comes online is watched once the monitor is read after that, not from its
    /// first moment.
    ///
    /// # Cost
    ///
    /// A ring per CPU, which share the buffer, and two events per CPU: one records, the other wakes the reader. The
    /// kernel's part, most of a microsecond a drop, is some more than with eBPF.
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
    /// Works since 5.4, tested from 5.10. Reasons since 5.18.
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

    /// All but automatic, the best first.
    pub(crate) const ALL: [Self; 3] = [Self::Ebpf, Self::Perf, Self::Netlink];

    /// What it is once it is open. Automatic is none of them; it counts as the best.
    pub(crate) fn kind(self) -> BackendKind {
        match self {
            Self::Auto | Self::Ebpf => BackendKind::Ebpf,
            Self::Perf => BackendKind::Perf,
            Self::Netlink => BackendKind::Netlink,
        }
    }

    /// Opens it, with the resolver that suits it.
    pub(crate) fn open(self, settings: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
        match self {
            Self::Auto => open_best(settings),
            Self::Ebpf => open_ebpf(settings),
            Self::Perf => open_perf(settings),
            Self::Netlink => open_netlink(settings),
        }
    }

    /// Whether it can be opened; with what it cannot do here. Opens it for a moment, but not what others of the
    /// system would notice.
    pub(crate) fn probe(self, settings: &Settings) -> Result<Vec<Error>> {
        #[cfg(feature = "netlink")]
        if self == Self::Netlink {
            return netlink::probe().map(|()| Vec::new());
        }
        let (mut source, _) = self.open(settings)?;
        Ok(source.take_limitations())
    }
}

/// The first that opens; else an error that has the report with the refusal of each.
fn open_best(settings: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
    let mut refusals = Vec::new();
    for backend in Backend::ALL {
        match backend.open(settings) {
            Ok(opened) => return Ok(opened),
            // What was asked for is wrong with every backend.
            Err(e) if e.kind() == ErrorKind::InvalidInput => return Err(e),
            Err(e) => {
                tell!(debug, backend = backend.name(), "refused: {e:#}");
                refusals.push((backend.kind(), e));
            }
        }
    }
    Err(Error::no_backend(Report::of_refusals(refusals)))
}

impl FromStr for Backend {
    type Err = Error;

    /// Takes what [`name`](Self::name) gives.
    fn from_str(name: &str) -> Result<Self> {
        let mut all = [Self::Auto].into_iter().chain(Self::ALL);
        all.find(|backend| backend.name() == name).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("no backend `{name}` (there are auto, ebpf, perf and netlink)"),
            )
        })
    }
}

#[cfg(feature = "ebpf")]
fn open_ebpf(settings: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
    let resolver = settings.prepared_resolver()?;
    let source = ebpf::EbpfSource::open(settings, settings.plan(&resolver)?.as_ref())?;
    Ok((Box::new(source), resolver))
}

#[cfg(not(feature = "ebpf"))]
fn open_ebpf(_: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
    Err(absent("ebpf"))
}

#[cfg(feature = "perf")]
fn open_perf(settings: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
    let (format, path) = tracefs::kfree_skb_format()?;
    let source = perf::PerfSource::open(settings, &format)?;
    // Without BTF the tracepoint's own list has the names of the core's reasons.
    let resolver = settings
        .resolver()
        .or_else(|_| Resolver::from_print_fmt(&format, Some(&path)))?;
    Ok((Box::new(source), resolver))
}

#[cfg(not(feature = "perf"))]
fn open_perf(_: &Settings) -> Result<(Box<dyn Source>, Resolver)> {
    Err(absent("perf"))
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
#[cfg_attr(
    all(feature = "ebpf", feature = "perf", feature = "netlink"),
    expect(dead_code)
)]
fn absent(feature: &str) -> Error {
    Error::not_supported(format!(
        "the backend `{feature}` is not in this build of skbdrop (enable the feature `{feature}`)"
    ))
}

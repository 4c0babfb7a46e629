//! Drop reasons: from the number that a kernel passes to its name, and back.
//!
//! A number means nothing by itself: `NO_SOCKET` is 2 on Linux 6.1 and 3 on 6.12. [`Resolver`] reads
//! the names where the kernel in question keeps them, and works without a monitor, for people who only
//! have a number:
//!
//! ```no_run
//! use skbdrop::reason::Resolver;
//!
//! let mut resolver = Resolver::from_kernel()?;
//! let reason = resolver.resolve(3);
//! println!("{reason}"); // NO_SOCKET on Linux 6.12, PKT_TOO_SMALL on 6.1
//! if let Some(source) = reason.source() {
//!     println!("says {source}"); // the BTF in `/sys/kernel/btf/vmlinux`
//! }
//! # Ok::<(), skbdrop::Error>(())
//! ```

pub use crate::explain::{Explanation, explain};
pub use crate::resolve::{Disagreement, Resolver, ResolverBuilder};

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::Path,
    sync::Arc,
};

/// Why the kernel dropped a packet: an `enum skb_drop_reason` or a subsystem's own.
///
/// The number, the subsystem and the name are kept apart. A number has no meaning without the
/// kernel that it came from: `NO_SOCKET` is 2 on one and 3 on the next, so compare and store
/// reasons by name.
///
/// `Display` gives the name, or the number where no name is known. Two reasons are equal if
/// number and name are; a reason may be a key of a map. A clone allocates nothing.
#[derive(Clone, Debug)]
#[doc(alias("skb_drop_reason", "SKB_DROP_REASON"))]
pub struct DropReason {
    raw: Option<u32>,
    meaning: Meaning,
}

#[derive(Clone, Debug)]
enum Meaning {
    Named(Arc<Named>),
    /// All that is known is what the number's bits say.
    Unnamed(Option<Subsystem>),
}

/// All that is known of a reason, shared by the events that have it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    pub(crate) subsystem: Option<Subsystem>,
    pub(crate) source: NameSource,
}

/// The part of the kernel that a reason belongs to: `enum skb_drop_reason_subsys`, since
/// Linux 6.4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "skb_drop_reason_subsys")]
#[non_exhaustive]
pub struct Subsystem {
    /// The number, which moves between kernels as the reasons' do. `None` where only the name is
    /// known: in recorded events.
    pub number: Option<u32>,
    /// The name as in the kernel without its prefix: `CORE`, `OPENVSWITCH`; `None` if the
    /// kernel names none of this number.
    pub name: Option<Arc<str>>,
}

/// Where the name of a reason was read. `Display` says it in words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NameSource {
    /// What it was read from.
    pub kind: NameSourceKind,
    /// The file; `None` for what was given as bytes or text, or came from a backend.
    pub file: Option<Arc<Path>>,
}

/// What a name was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameSourceKind {
    /// An enum in the BTF of vmlinux, or of another file that stands alone.
    Btf,
    /// An enum in a module's BTF.
    ModuleBtf,
    /// The list in the tracepoint's `print fmt`, in tracefs.
    PrintFmt,
    /// The backend gave the name itself: `drop_monitor`'s text, a recording, a source from outside of this
    /// crate.
    Backend,
}

impl DropReason {
    /// A number without a name.
    pub(crate) fn unnamed(raw: Option<u32>, subsystem: Option<Subsystem>) -> Self {
        Self {
            raw,
            meaning: Meaning::Unnamed(subsystem),
        }
    }

    pub(crate) fn named(raw: Option<u32>, named: Arc<Named>) -> Self {
        Self {
            raw,
            meaning: Meaning::Named(named),
        }
    }

    /// The number that the kernel passed. `None` from backends that give the name alone.
    #[must_use]
    pub fn raw(&self) -> Option<u32> {
        self.raw
    }

    /// The kernel's name without its prefix: `NO_SOCKET`, `NETFILTER_DROP`,
    /// `OVS_DROP_LAST_ACTION`. `None` if no source of names knows the number.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.meaning {
            Meaning::Named(named) => Some(&named.name),
            Meaning::Unnamed(_) => None,
        }
    }

    /// The subsystem that the number belongs to. `None` if the kernel has no subsystems
    /// (before Linux 6.4), or the names come from tracefs, which has none.
    #[must_use]
    pub fn subsystem(&self) -> Option<&Subsystem> {
        match &self.meaning {
            Meaning::Named(named) => named.subsystem.as_ref(),
            Meaning::Unnamed(subsystem) => subsystem.as_ref(),
        }
    }

    /// What the reason means, what usually causes it and what to look at next, as
    /// [`explain`](crate::explain()) tells by its name. `None` if it has no name, or there is no text for it.
    #[must_use]
    pub fn explain(&self) -> Option<&'static crate::Explanation> {
        crate::explain(self.name()?)
    }

    /// Where the name was read; `None` if there is no name.
    #[must_use]
    pub fn source(&self) -> Option<&NameSource> {
        match &self.meaning {
            Meaning::Named(named) => Some(&named.source),
            Meaning::Unnamed(_) => None,
        }
    }
}

impl PartialEq for DropReason {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw && self.name() == other.name()
    }
}

impl Eq for DropReason {}

impl Hash for DropReason {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
        self.name().hash(state);
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.raw) {
            (Some(name), _) => f.pad(name),
            (None, Some(raw)) => f.pad(&raw.to_string()),
            (None, None) => f.pad("?"),
        }
    }
}

impl NameSource {
    /// The backend's own text.
    pub(crate) const BACKEND: Self = Self {
        kind: NameSourceKind::Backend,
        file: None,
    };

    pub(crate) fn new(kind: NameSourceKind, file: Option<&Path>) -> Self {
        Self {
            kind,
            file: file.map(Into::into),
        }
    }
}

impl fmt::Display for NameSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            NameSourceKind::Btf => "the BTF",
            NameSourceKind::ModuleBtf => "the BTF of a module",
            NameSourceKind::PrintFmt => "the tracepoint's print fmt",
            NameSourceKind::Backend => "the backend",
        })?;
        match &self.file {
            Some(file) => write!(f, " in `{}`", file.display()),
            None => Ok(()),
        }
    }
}

//! [`DropReason`]: why a packet was dropped, as the running kernel numbers and names it.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Why the kernel dropped a packet: an `enum skb_drop_reason` or a subsystem's own.
///
/// The number, the subsystem and the name are kept apart. A number has no meaning without the
/// kernel that it came from: `NO_SOCKET` is 2 on one and 3 on the next, so compare and store
/// reasons by name.
///
/// `Display` gives the name, or the number where no name is known. Two reasons are equal if
/// number and name are; a reason may be a key of a map.
#[derive(Clone, Debug)]
#[doc(alias("skb_drop_reason", "SKB_DROP_REASON"))]
pub struct DropReason {
    raw: Option<u32>,
    name: Option<Arc<str>>,
    subsystem: Option<Subsystem>,
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

impl DropReason {
    pub(crate) fn new(
        raw: Option<u32>,
        name: Option<Arc<str>>,
        subsystem: Option<Subsystem>,
    ) -> Self {
        Self {
            raw,
            name,
            subsystem,
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
        self.name.as_deref()
    }

    /// The subsystem that the number belongs to. `None` if the kernel has no subsystems
    /// (before Linux 6.4), or the names come from tracefs, which has none.
    #[must_use]
    pub fn subsystem(&self) -> Option<&Subsystem> {
        self.subsystem.as_ref()
    }
}

impl PartialEq for DropReason {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw && self.name == other.name
    }
}

impl Eq for DropReason {}

impl Hash for DropReason {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
        self.name.hash(state);
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.raw) {
            (Some(name), _) => f.pad(name),
            (None, Some(raw)) => f.pad(&raw.to_string()),
            (None, None) => f.pad("?"),
        }
    }
}

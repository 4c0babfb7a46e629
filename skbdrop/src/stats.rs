//! [`Stats`]: where every drop went.

/// Counts since a monitor was built. Every drop that the backend saw is in exactly one of them,
/// or still in the kernel's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Events handed out, or decoded and waiting to be.
    pub received: u64,
    /// Drops that found no room in the buffer, or that the kernel could not run the backend for.
    pub lost: u64,
    /// Drops that the [filter](crate::Builder::filter) left out. The eBPF backend leaves them out in the kernel.
    pub filtered: u64,
    /// Drops that passed the filter and were left out by [sampling](crate::Builder::sample) or by the
    /// [limit](crate::Builder::limit_rate) of drops in a second.
    pub limited: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
}

//! [`RawRecord`]: what every backend's decoder yields, before anything is looked up.

use crate::{Layer, Origin};

/// One drop as a backend saw it. Borrows from the backend's buffer; what the backend or the
/// kernel does not tell is `None`.
#[derive(Clone, Debug)]
pub(crate) struct RawRecord<'a> {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub(crate) monotonic_ns: u64,
    pub(crate) reason: Option<u32>,
    /// Address that freed the packet.
    pub(crate) location: Option<u64>,
    pub(crate) skb_address: Option<u64>,
    pub(crate) rx_sk_address: Option<u64>,
    /// EtherType, host byte order.
    pub(crate) protocol: Option<u16>,
    /// The packet's bytes from its outermost header on.
    pub(crate) packet: &'a [u8],
    pub(crate) layer: Layer,
    /// Offset in `packet` of the network header, where it is known.
    pub(crate) network_offset: Option<usize>,
    /// The packet's whole length from where `packet` begins, in bytes.
    pub(crate) original_length: Option<u32>,
    pub(crate) ifindex: Option<u32>,
    /// Name of interface `ifindex` as the kernel gave it, NUL-padded.
    pub(crate) ifname: Option<[u8; 16]>,
    /// Inode number of the network namespace.
    pub(crate) netns: Option<u32>,
    pub(crate) cpu: Option<u32>,
    pub(crate) pid: Option<u32>,
    pub(crate) tid: Option<u32>,
    /// NUL-padded.
    pub(crate) comm: Option<[u8; 16]>,
    pub(crate) origin: Origin,
    /// Drops that were lost since the record before.
    pub(crate) lost_before: u64,
}

/// The text in a NUL-padded array of the kernel; bytes that are no UTF-8 are replaced.
pub(crate) fn text(padded: &[u8]) -> String {
    let len = padded
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(padded.len());
    String::from_utf8_lossy(&padded[..len]).into_owned()
}

//! [`Record`]: what every backend yields, before anything is looked up.

use crate::{BackendKind, Layer, Metadata, Socket};
use std::net::IpAddr;

/// One drop as a backend saw it. It borrows from the backend's buffer; what the backend or the
/// kernel does not tell stays `None`.
///
/// ```
/// use skbdrop::backend::{Reason, Record, Time};
///
/// let mut record = Record::new(Time::Monotonic(1_000_000));
/// record.reason = Some(Reason::Number(3));
/// record.location = Some(0xffff_ffff_8100_0042);
/// assert_eq!(record.count, 1);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record<'a> {
    /// When.
    pub time: Time,
    /// Why. `None` if the kernel gives no reasons.
    pub reason: Option<Reason<'a>>,
    /// Address that freed the packet.
    pub location: Option<u64>,
    /// The function at `location`, if the backend has it already; else it is looked up.
    pub symbol: Option<SymbolText<'a>>,
    /// Address of the skb.
    pub skb_address: Option<u64>,
    /// Address of the receiving socket.
    pub rx_sk_address: Option<u64>,
    /// EtherType, host byte order.
    pub protocol: Option<u16>,
    /// The packet's bytes from its outermost header on.
    pub packet: &'a [u8],
    /// What `packet` begins with.
    pub layer: Layer,
    /// Offset in `packet` of the network header, where it is known.
    pub network_offset: Option<usize>,
    /// Sender, receiver and transport protocol, if the backend has them already; else they are
    /// parsed from `packet`.
    pub endpoints: Option<Endpoints>,
    /// The packet's whole length from where `packet` begins, in bytes.
    pub original_length: Option<u32>,
    /// Index of the interface.
    pub ifindex: Option<u32>,
    /// Name of the interface.
    pub ifname: Option<&'a [u8]>,
    /// Index of the interface that the packet came in by.
    pub iif: Option<u32>,
    /// The device that the packet is at: its index, its name, the inode number of its namespace.
    pub device: Option<(u32, &'a [u8], u32)>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// Cookie of the network namespace.
    pub netns_cookie: Option<u64>,
    /// Name of the network namespace, if the backend has it already; else it is looked up where the backend is one of
    /// this kernel's.
    pub netns_name: Option<&'a [u8]>,
    /// The socket that received the packet or is attached to it.
    pub socket: Option<Socket>,
    /// What the kernel notes of the packet besides its bytes.
    pub metadata: Option<Metadata>,
    /// The queueing discipline that dropped the packet.
    pub qdisc: Option<QdiscTold<'a>>,
    /// The kernel's call stack, the innermost address first; empty if it was not asked for.
    pub stack: Vec<u64>,
    /// Number of the CPU.
    pub cpu: Option<u32>,
    /// Process (thread group) of the context.
    pub pid: Option<u32>,
    /// Thread of the context.
    pub tid: Option<u32>,
    /// Name of the thread of the context.
    pub comm: Option<&'a [u8]>,
    /// For drops in hardware, the trap.
    pub trap: Option<Trap<'a>>,
    /// For drops in hardware, what the rule that dropped it was given by whoever made it.
    pub flow_action_cookie: Option<&'a [u8]>,
    /// How many drops this record stands for.
    pub count: u64,
    /// Drops that were lost since the record before.
    pub lost_before: u64,
    /// The backend that saw it, if it is not the one that hands it out: it was recorded.
    pub seen_by: Option<BackendKind>,
}

/// Sender, receiver and transport protocol.
pub type Endpoints = (
    Option<(IpAddr, Option<u16>)>,
    Option<(IpAddr, Option<u16>)>,
    Option<u8>,
);

/// What a queueing discipline's drop is told with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QdiscTold<'a> {
    /// Its kind.
    pub kind: &'a [u8],
    /// Its handle.
    pub handle: u32,
    /// The handle of what it is attached to.
    pub parent: u32,
    /// Why it dropped the packet.
    pub reason: Reason<'a>,
}

/// The devlink trap by which a device told of a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trap<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The name of its group. Counts of drops come without it.
    pub group: Option<&'a [u8]>,
}

/// When a drop was seen, by the clock that the backend has. The monitor knows their difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Time {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    Monotonic(u64),
    /// `CLOCK_REALTIME`, nanoseconds since the epoch.
    Wall(u64),
    /// Both, as they were then: for what was recorded.
    Both {
        /// `CLOCK_MONOTONIC`, nanoseconds.
        monotonic: u64,
        /// `CLOCK_REALTIME`, nanoseconds since the epoch.
        wall: u64,
    },
}

/// A reason as the backend has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason<'a> {
    /// The kernel's number, which is looked up.
    Number(u32),
    /// The kernel's name.
    Name(&'a str),
    /// As it was once looked up, maybe on another kernel: for what was recorded.
    Known {
        /// Number on that kernel.
        raw: Option<u32>,
        /// Name on that kernel.
        name: Option<&'a str>,
        /// Name of the subsystem.
        subsystem: Option<&'a str>,
    },
}

/// A function, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SymbolText<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes from its start to the location.
    pub offset: u64,
    /// The module that it is in.
    pub module: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// A drop at this time of which nothing else is known.
    #[must_use]
    pub fn new(time: Time) -> Self {
        Self {
            time,
            reason: None,
            location: None,
            symbol: None,
            skb_address: None,
            rx_sk_address: None,
            protocol: None,
            packet: &[],
            layer: Layer::Data,
            network_offset: None,
            endpoints: None,
            original_length: None,
            ifindex: None,
            ifname: None,
            iif: None,
            device: None,
            netns: None,
            netns_cookie: None,
            netns_name: None,
            socket: None,
            metadata: None,
            qdisc: None,
            stack: Vec::new(),
            cpu: None,
            pid: None,
            tid: None,
            comm: None,
            trap: None,
            flow_action_cookie: None,
            count: 1,
            lost_before: 0,
            seen_by: None,
        }
    }
}

impl<'a> QdiscTold<'a> {
    /// From its parts.
    #[must_use]
    pub fn new(kind: &'a [u8], handle: u32, parent: u32, reason: Reason<'a>) -> Self {
        Self {
            kind,
            handle,
            parent,
            reason,
        }
    }
}

impl<'a> Trap<'a> {
    /// From its parts.
    #[must_use]
    pub fn new(name: &'a [u8], group: Option<&'a [u8]>) -> Self {
        Self { name, group }
    }
}

impl<'a> SymbolText<'a> {
    /// From its parts.
    #[must_use]
    pub fn new(name: &'a str, offset: u64, module: Option<&'a str>) -> Self {
        Self {
            name,
            offset,
            module,
        }
    }

    /// From text as the kernel writes it by `%pS`: `symbol+0x4bc/0xdd0 [module]`, the length and the
    /// module being optional. `None` if it is no such text, for example an address alone.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (symbol, rest) = text.split_once("+0x")?;
        let end = rest
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(rest.len());
        let offset = u64::from_str_radix(&rest[..end], 16).ok()?;
        let module = rest[end..]
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        (!symbol.is_empty()).then_some(Self {
            name: symbol,
            offset,
            // A module may carry its build ID behind a blank.
            module: module.and_then(|(module, _)| module.split_whitespace().next()),
        })
    }
}

/// What is before the first NUL in an array of the kernel's.
#[cfg(any(feature = "ebpf", feature = "netlink"))]
pub(crate) fn until_nul(padded: &[u8]) -> &[u8] {
    let len = padded.iter().position(|&byte| byte == 0);
    &padded[..len.unwrap_or(padded.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_as_the_kernel_writes_them() {
        let parse = SymbolText::parse;
        assert_eq!(
            parse("udp_rcv+0x4bc/0xdd0"),
            Some(SymbolText::new("udp_rcv", 0x4bc, None))
        );
        assert_eq!(parse("a.b+0x0"), Some(SymbolText::new("a.b", 0, None)));
        let module = SymbolText::new("nft_do_chain", 0x1f, Some("nf_tables"));
        assert_eq!(parse("nft_do_chain+0x1f/0x20 [nf_tables]"), Some(module));
        assert_eq!(
            parse("nft_do_chain+0x1f/0x20 [nf_tables 0123abcd]"),
            Some(module)
        );
        for bad in [
            "",
            "0xffffffff81000000",
            "+0x1/0x2",
            "a+0x",
            "a+0xfffffffffffffffff",
            "a+1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

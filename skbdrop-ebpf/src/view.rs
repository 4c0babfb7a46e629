//! What the filter's code in the program looks at, and where it goes.

use crate::WINDOW;

/// What the program is built to load into the register `r0` where it needs the filter's verdict: a number that nothing else
/// loads. User space puts jumps there, to the filter's code and back, or the verdict itself.
///
/// The code finds the address of the [`View`] in `r1`. It leaves 0 in `r0` for a drop that is not wanted, and may overwrite
/// `r1` to `r7`.
pub const FILTER: u64 = (super::PLACEHOLDER as u64) << 32 | 0xffff_ffff;

/// The same for the verdict by what the [needs](needs::AT_HAND) say is at hand, before the rest of the view is filled. The code may
/// overwrite `r1`, `r2` and `r6`.
pub const AT_HAND: u64 = (super::PLACEHOLDER as u64) << 32 | 0xffff_fffd;

/// A drop as a filter sees it, on the program's stack. User space writes code that reads it, so only what the
/// [needs] ask for is filled. Numbers are in the machine's byte order, addresses in that of the network.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct View {
    /// The filter's own, which nobody else writes. At the front, which is the stack's far end: without use it takes
    /// nothing of what the verifier looks at.
    pub scratch: [u64; SCRATCH],
    /// Address that freed the packet.
    pub location: u64,
    /// Kernel address of the packet's first byte.
    pub packet: u64,
    /// Where the program can see [`WINDOW`] bytes from there on.
    pub window: u64,
    /// Source address, at the front.
    pub src: [u8; 16],
    /// Destination address, at the front.
    pub dst: [u8; 16],
    /// Name of the interface, with zeros behind.
    pub ifname: [u8; 16],
    /// Bits of [`known`]: which fields hold something.
    pub known: u32,
    /// The drop reason.
    pub reason: u32,
    /// Index of the interface.
    pub ifindex: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The packet's whole length from its first byte on.
    pub length: u32,
    /// How many bytes there are at `packet`.
    pub caplen: u32,
    /// EtherType; 0 if there is none.
    pub protocol: u32,
    /// What the first byte begins: one of [`layer`].
    pub layer: u32,
    /// Transport protocol.
    pub transport: u32,
    /// Source port.
    pub src_port: u32,
    /// Destination port.
    pub dst_port: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// The first bytes, or zeros. Where there is a window nothing, and the filter's own.
    pub head: [u8; WINDOW as usize],
}

/// Words in [`View::scratch`].
pub const SCRATCH: usize = 17;

/// Bits of [`View::known`].
pub mod known {
    /// `reason`.
    pub const REASON: u32 = 1 << 0;
    /// `ifindex`.
    pub const IFINDEX: u32 = 1 << 1;
    /// `ifname`.
    pub const IFNAME: u32 = 1 << 2;
    /// `netns`.
    pub const NETNS: u32 = 1 << 3;
    /// `length`.
    pub const LENGTH: u32 = 1 << 4;
    /// `protocol`.
    pub const PROTOCOL: u32 = 1 << 5;
    /// `src` and `dst`, and that they are of IPv4.
    pub const IPV4: u32 = 1 << 6;
    /// `src` and `dst`, and that they are of IPv6.
    pub const IPV6: u32 = 1 << 7;
    /// `transport`.
    pub const TRANSPORT: u32 = 1 << 8;
    /// `src_port` and `dst_port`.
    pub const PORTS: u32 = 1 << 9;
    /// `mark`.
    pub const MARK: u32 = 1 << 10;
}

/// Values of [`View::layer`].
pub mod layer {
    /// Nothing known.
    pub const DATA: u32 = 0;
    /// An Ethernet header.
    pub const ETHERNET: u32 = 1;
    /// A link-layer header of another kind.
    pub const LINK: u32 = 2;
    /// The network header.
    pub const NETWORK: u32 = 3;
}

/// Bits of [`Config::filter`](crate::Config::filter): what a filter asks for. None of them is no filter.
pub mod needs {
    /// The filter's code is to be run. It has `location`, `reason` and `known`.
    pub const FILTER: u32 = 1 << 0;
    /// `mark`.
    pub const MARK: u32 = 1 << 1;
    /// `protocol`.
    pub const PROTOCOL: u32 = 1 << 2;
    /// What costs next to nothing.
    pub const AT_HAND: u32 = FILTER | MARK | PROTOCOL;
    /// `ifindex`, `ifname` and `netns`.
    pub const INTERFACE: u32 = 1 << 3;
    /// `length`.
    pub const LENGTH: u32 = 1 << 4;
    /// `transport`.
    pub const TRANSPORT: u32 = 1 << 5;
    /// `src_port` and `dst_port`.
    pub const PORTS: u32 = 1 << 6;
    /// `src` and `dst`.
    pub const ADDRESSES: u32 = 1 << 7;
    /// `layer`, `caplen`, `packet` and what can be seen there: `window` or `head`.
    pub const PACKET: u32 = 1 << 8;
}

const _: () = {
    assert!(size_of::<View>() == 304);
    assert!(core::mem::offset_of!(View, known) == 208);
    assert!(core::mem::offset_of!(View, head) == 256);
};

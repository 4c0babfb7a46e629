//! What is read of a dropped packet, each as far as the kernel has it.

use crate::program::{
    config,
    memory::{Memory, argument},
};
use core::{arch::asm, ptr};
use skbdrop_ebpf::{ABSENT, HEADER_NOT_SET};

/// `$structure.$field` where the kernel has it, else `$otherwise`; by [`Memory::load`], or by the method that is named.
macro_rules! load {
    ($memory:ident, $base:expr, $offset:ident, $otherwise:expr) => {
        $crate::program::skb::load!($memory::load, $base, $offset, $otherwise)
    };
    ($memory:ident::$how:ident, $base:expr, $offset:ident, $otherwise:expr) => {
        match $crate::program::config!($offset) {
            skbdrop_ebpf::ABSENT => $otherwise,
            offset => $memory::$how($base, offset),
        }
    };
}
pub(crate) use load;

/// The tracepoint's first argument.
#[inline(always)]
pub(crate) fn skb(ctx: *const u8) -> *const u8 {
    argument(ctx, 0) as *const u8
}

/// The drop reason; `None` on kernels without.
#[inline(always)]
pub(crate) fn reason(ctx: *const u8) -> Option<u32> {
    match config!(arg_reason) {
        ABSENT => None,
        n => Some(argument(ctx, n) as u32),
    }
}

/// The receiving socket, or null.
#[inline(always)]
pub(crate) fn rx_sk(ctx: *const u8) -> *const u8 {
    match config!(arg_rx_sk) {
        ABSENT => ptr::null(),
        n => argument(ctx, n) as *const u8,
    }
}

/// The receiving socket, else the packet's own; or null.
#[inline(always)]
pub(crate) fn sk<M: Memory>(skb: *const u8, rx_sk: *const u8) -> *const u8 {
    if rx_sk.is_null() {
        load!(M::far, skb, skb_sk, ptr::null())
    } else {
        rx_sk
    }
}

/// The namespace (`struct net`) of a socket or a device, whose pointer to it is at `offset`; null if there is none. The socket
/// knows its namespace even where the device pointer is gone or overlaid.
#[inline(always)]
pub(crate) fn net<M: Memory>(base: *const u8, offset: u32) -> *const u8 {
    if offset == ABSENT || base.is_null() {
        return ptr::null();
    }
    M::far(base, offset)
}

/// Inode number of a namespace; 0 of none.
#[inline(always)]
pub(crate) fn inum<M: Memory>(net: *const u8) -> u32 {
    if net.is_null() {
        return 0;
    }
    load!(M::far, net, net_inum, 0u32)
}

/// Cookie of a namespace; 0 of none.
#[inline(always)]
pub(crate) fn cookie<M: Memory>(net: *const u8) -> u64 {
    if net.is_null() {
        return 0;
    }
    load!(M::far, net, net_cookie, 0u64)
}

/// Whether the kernel has all that says where a packet's bytes are.
#[inline(always)]
pub(crate) fn has_packet() -> bool {
    config!(has_packet) != ABSENT
}

/// Where the outermost header is that is there, as an offset from `head` like the rest. Without one `data` says where the packet
/// begins.
#[inline(always)]
pub(crate) fn outermost(mac: u16, network: u16, tail: u32, data: impl FnOnce() -> u32) -> u32 {
    let (mac_at, network_at) = (u32::from(mac), u32::from(network));
    if mac != HEADER_NOT_SET && mac_at < tail {
        apart();
        // On its way into a tunnel a packet has the inner frame's link header still, behind the outer network header.
        return if network >= mac || network == 0 {
            mac_at
        } else {
            network_at
        };
    }
    if network != 0 && network_at < tail {
        network_at
    } else {
        data()
    }
}

/// Keeps what was asked apart from what is asked next. The compiler would ask both, write down the answers and put them together,
/// which costs more than a jump.
#[inline(always)]
pub(crate) fn apart() {
    // SAFETY: it is empty. Without `pure` the compiler leaves it where it stands.
    unsafe { asm!("", options(nomem, nostack)) }
}

//! Which interface and namespace a drop belongs to, as user space tells them of a record.

use crate::program::{
    config,
    memory::Memory,
    skb::{self, inum, load, net, sk},
};
use skbdrop_ebpf::{ABSENT, Device, Interface};

/// The interface and the namespace; writes the interface's name, or leaves what was there.
#[inline(always)]
pub(crate) fn interface<M: Memory>(
    ctx: *const u8,
    skb: *const u8,
    name: &mut [u64; 2],
) -> Interface {
    let iif: u32 = load!(M, skb, skb_iif, 0);
    let rx_sk = skb::rx_sk(ctx);
    let sk_netns = || inum::<M>(net::<M>(sk::<M>(skb, rx_sk), config!(sk_net)));
    let mut device = None;
    if config!(has_device) != ABSENT {
        let dev: *const u8 = M::far(skb, config!(skb_dev));
        if !dev.is_null() {
            let read = Device {
                index: M::far::<u32>(dev, config!(dev_ifindex)),
                netns: inum::<M>(net::<M>(dev, config!(dev_net))),
            };
            let half = |at: u32| M::far::<u64>(dev, config!(dev_name) + at);
            if read.index != 0 && read.netns != 0 && is_name(half, name) {
                device = Some(read);
            }
        }
    }
    Interface::tell(iif, device, sk_netns, !rx_sk.is_null())
}

/// What no name of an interface has in it: marks, and space.
const MARKS: [u8; 2] = *b"/:";
const SPACES: [u8; 5] = *b" \t\n\x0c\r";

/// Whether the kernel would take these bytes for an interface's name: not empty, with an end, without slash, colon
/// and space; `half` reads the eight from there on. Writes it without what may stand behind its end.
#[inline(always)]
fn is_name(half: impl Fn(u32) -> u64, name: &mut [u64; 2]) -> bool {
    // The first byte is a word's lowest.
    let front = u64::from_le(half(0));
    let front_end = zero_bytes(front);
    let used = before_first(front_end);
    if front & 0xff == 0 || has_forbidden(front, used) {
        return false;
    }
    name[0] = (front & used).to_le();
    if front_end != 0 {
        return true;
    }
    let back = u64::from_le(half(8));
    let back_end = zero_bytes(back);
    let used = before_first(back_end);
    name[1] = (back & used).to_le();
    back_end != 0 && !has_forbidden(back, used)
}

/// Whether one of the bytes is forbidden that have ones in `used`.
#[inline(always)]
fn has_forbidden(bytes: u64, used: u64) -> bool {
    let mut found = 0;
    for_each(&MARKS, |mark| {
        found |= zero_bytes((bytes & used) ^ EACH * mark)
    });
    // Few names have anything below what can be seen, so that one question does for all kinds of space.
    if below_visible(bytes | !used) != 0 {
        for_each(&SPACES, |space| {
            found |= zero_bytes((bytes & used) ^ EACH * space)
        });
    }
    found != 0
}

/// Not an iterator, of which the compiler may make a loop.
#[inline(always)]
fn for_each<const N: usize>(bytes: &[u8; N], mut act: impl FnMut(u64)) {
    let mut n = 0;
    while n < N {
        act(bytes[n] as u64);
        n += 1;
    }
}

/// The highest bit of each byte that is below the first that can be seen, and maybe of some above such a one; 0 if none is.
#[inline(always)]
fn below_visible(bytes: u64) -> u64 {
    bytes.wrapping_sub(EACH * b'!' as u64) & !bytes & (EACH << 7)
}

/// A one in each byte.
const EACH: u64 = u64::MAX / 0xff;

/// The highest bit of each byte that is zero, and maybe of some above the first one; 0 if none is.
#[inline(always)]
fn zero_bytes(bytes: u64) -> u64 {
    bytes.wrapping_sub(EACH) & !bytes & (EACH << 7)
}

/// All bits below the lowest that is set.
#[inline(always)]
fn before_first(bits: u64) -> u64 {
    (bits & bits.wrapping_neg()).wrapping_sub(1)
}

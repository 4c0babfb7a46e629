//! Which interface and namespace a drop belongs to, as user space tells them of a record.

use crate::program::{
    config,
    memory::Memory,
    skb::{self, load, netns, sk_netns},
};
use core::ptr;
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
    let sk_netns = sk_netns::<M>(skb, rx_sk);
    let mut device = None;
    if config!(skb_dev) != ABSENT
        && config!(dev_ifindex) != ABSENT
        && config!(dev_name) != ABSENT
        && config!(dev_net) != ABSENT
        && config!(net_inum) != ABSENT
    {
        let dev: *const u8 = load!(M, skb, skb_dev, ptr::null());
        if !dev.is_null() {
            let read = Device {
                index: M::load::<u32>(dev, config!(dev_ifindex)),
                netns: netns::<M>(dev, config!(dev_net)),
            };
            let front = M::load::<u64>(dev, config!(dev_name));
            let back = M::load::<u64>(dev, config!(dev_name) + 8);
            if read.index != 0 && read.netns != 0 && is_name(front, back, name) {
                device = Some(read);
            }
        }
    }
    Interface::tell(iif, device, sk_netns, !rx_sk.is_null())
}

/// Whether the kernel would take these bytes for an interface's name: not empty, with an end, without slash, colon
/// and space. Writes it without what may stand behind its end.
#[inline(always)]
fn is_name(front: u64, back: u64, name: &mut [u64; 2]) -> bool {
    let (mut rest, mut front_mask, mut back_mask) = (front, 0u64, 0u64);
    let mut ended = false;
    for n in 0..16u32 {
        if n == 8 {
            rest = back;
        }
        let byte = (rest & 0xff) as u8;
        rest >>= 8;
        if byte == 0 {
            ended = n > 0;
            break;
        }
        if matches!(byte, b'/' | b':' | b' ' | b'\t' | b'\n' | 0x0c | b'\r') {
            return false;
        }
        if n < 8 {
            front_mask = front_mask << 8 | 0xff;
        } else {
            back_mask = back_mask << 8 | 0xff;
        }
    }
    *name = [front & front_mask, back & back_mask];
    ended
}

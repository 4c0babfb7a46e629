//! Which drops are recorded: by the filter, by chance, by how many there were.

use crate::program::{
    CPUS, config, headers,
    interface::interface,
    memory::{Memory, add, argument, obey_lockdown, window},
    packet::{self, Linear, Packet},
    plain,
    skb::{self, load},
};
use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, generated},
    macros::map,
    maps::LruHashMap,
};
use core::{arch::asm, mem::MaybeUninit, ptr};
use skbdrop_ebpf::{
    ABSENT, Cpu, Site, WINDOW,
    view::{AT_HAND, FILTER, View, known, needs},
};

/// Drops of each reason and place in each second, for the limit. User space sets the size.
#[map]
static RATES: LruHashMap<Site, u64> = LruHashMap::with_max_entries(1, 0);

const NANOSECONDS: u64 = 1_000_000_000;

/// What is asked for that takes the packet's bytes.
const OF_HEADERS: u32 = needs::TRANSPORT | needs::PORTS | needs::ADDRESSES;
const OF_BYTES: u32 = OF_HEADERS | needs::PACKET;

/// A verdict of the filter's, [`FILTER`] or [`AT_HAND`]; 0 for a drop that is not wanted. User space puts jumps to the filter's code
/// and back in place of the instruction.
///
/// That code is no function, for the same reason as [`clear`](crate::program::memory::clear) calls none.
#[inline(always)]
fn verdict<const WHICH: u64>(view: *const View) -> u64 {
    let wanted: u64;
    // SAFETY: as it stands it only sets the register. The filter's code reads and writes the view and overwrites these
    // registers, no others.
    unsafe {
        asm!(
            "r0 = {} ll",
            const WHICH,
            out("r0") wanted,
            inout("r1") view => _,
            out("r2") _,
            out("r3") _,
            out("r4") _,
            out("r5") _,
            out("r6") _,
            out("r7") _,
            options(nostack),
        );
    }
    wanted
}

/// Whether the filter wants the drop. Counts it if not.
#[inline(always)]
pub(crate) fn is_wanted<M: Memory>(ctx: *const u8) -> bool {
    let asked = config!(filter);
    if asked & needs::FILTER == 0 || holds::<M>(ctx, asked) {
        return true;
    }
    if let Some(cpu) = this_cpu() {
        // SAFETY: the pointer is to this CPU's element.
        unsafe { add(&raw mut (*cpu).filtered, 1) };
    }
    false
}

/// Whether chance or the limit of drops in a second leaves the drop out. Counts it if so.
#[inline(always)]
pub(crate) fn is_beyond_limits(ctx: *const u8) -> bool {
    if !is_beyond_sample() && !is_beyond_rate(ctx) {
        return false;
    }
    if let Some(cpu) = this_cpu() {
        // SAFETY: the pointer is to this CPU's element.
        unsafe { add(&raw mut (*cpu).limited, 1) };
    }
    true
}

#[inline(always)]
fn this_cpu() -> Option<*mut Cpu> {
    // SAFETY: it only returns a number.
    CPUS.get_ptr_mut(unsafe { bpf_get_smp_processor_id() })
}

#[inline(always)]
fn is_beyond_sample() -> bool {
    let sample = config!(sample);
    if sample == ABSENT {
        return false;
    }
    // SAFETY: it only returns a number.
    let chance = unsafe { generated::bpf_get_prandom_u32() };
    chance > sample
}

/// Whether there were `limit` drops for this reason at this place in this second already. Where that cannot be counted
/// the drop passes.
#[inline(always)]
fn is_beyond_rate(ctx: *const u8) -> bool {
    let limit = config!(rate_limit);
    if limit == ABSENT {
        return false;
    }
    // SAFETY: it only returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    let site = Site {
        location: argument(ctx, config!(arg_location)),
        reason: skb::reason(ctx).unwrap_or(0),
        second: (now / NANOSECONDS) as u32,
    };
    let mut count = RATES.get_ptr_mut(site);
    if count.is_none() {
        // Not in place of what another CPU has put there meanwhile.
        let _ = RATES.insert(site, 0, u64::from(BPF_NOEXIST));
        count = RATES.get_ptr_mut(site);
    }
    let Some(count) = count else {
        return false;
    };
    // SAFETY: the pointer is to a map's value. What other CPUs have added meanwhile counts as well, so no more than
    // the limit pass.
    let drops = unsafe {
        add(count, 1);
        ptr::read_volatile(count)
    };
    drops > u64::from(limit)
}

/// Fills the view, as far as the filter asks for, and asks the filter: what costs little first.
#[inline(always)]
fn holds<M: Memory>(ctx: *const u8, asked: u32) -> bool {
    let mut view = MaybeUninit::<View>::uninit();
    let out = view.as_mut_ptr();
    macro_rules! set {
        ($field:ident, $value:expr) => {{
            let value = $value;
            // SAFETY: `out` is a whole view on our stack.
            unsafe { (&raw mut (*out).$field).write(value) }
        }};
    }
    let skb = skb::skb(ctx);
    let mut zero = 0;
    if asked & !needs::FILTER != 0 {
        zero = opaque_zero::<M>(ctx, skb);
    }
    // Added to, and not one bit put to the other, as that would tell the verifier which are set.
    let mut known = zero;
    set!(location, argument(ctx, config!(arg_location)));
    let reason = skb::reason(ctx);
    if reason.is_some() {
        known = known.wrapping_add(known::REASON);
    }
    set!(reason, reason.unwrap_or(0));
    if asked & needs::MARK != 0 {
        let mut mark = zero;
        if config!(skb_mark) != ABSENT {
            known = known.wrapping_add(known::MARK);
            mark = M::load(skb, config!(skb_mark));
        }
        set!(mark, mark);
    }
    let mut protocol = zero;
    if asked & (needs::PROTOCOL | OF_BYTES) != 0 {
        protocol = packet::protocol::<M>(skb);
        if protocol != 0 {
            known = known.wrapping_add(known::PROTOCOL);
        }
        set!(protocol, protocol);
    }
    set!(known, known);
    if verdict::<AT_HAND>(out) == 0 {
        return false;
    }
    if asked & needs::INTERFACE != 0 {
        let mut ifname = [0; 2];
        let interface = interface::<M>(ctx, skb, &mut ifname);
        if interface.index != 0 {
            known = known.wrapping_add(known::IFINDEX);
        }
        if interface.is_device {
            known = known.wrapping_add(known::IFNAME);
        }
        if interface.netns != 0 {
            known = known.wrapping_add(known::NETNS);
        }
        set!(ifindex, interface.index.wrapping_add(zero));
        set!(netns, interface.netns.wrapping_add(zero));
        // SAFETY: the field is as long as the array, and aligned to eight.
        unsafe { (&raw mut (*out).ifname).cast::<[u64; 2]>().write(ifname) };
    }
    if asked & (needs::LENGTH | OF_BYTES) != 0 {
        let linear = Linear::of::<M>(skb);
        if asked & needs::LENGTH != 0 {
            let length = linear.length::<M>(skb);
            if length.is_some() {
                known = known.wrapping_add(known::LENGTH);
            }
            set!(length, length.unwrap_or(0).wrapping_add(zero));
        }
        if asked & OF_BYTES != 0 {
            obey_lockdown(ctx);
            let mut told = 0;
            if asked & OF_HEADERS != 0 {
                // SAFETY: `out` is a whole view on our stack.
                told = unsafe {
                    headers::clear(zero, asked, out);
                    plain::parse(&linear, protocol, asked, out)
                };
            }
            if told == 0 || asked & needs::PACKET != 0 {
                let packet = Packet::of(&linear, protocol, zero);
                if asked & OF_HEADERS != 0 && told == 0 {
                    // SAFETY: `out` is a whole view on our stack.
                    told = unsafe { headers::parse(&packet, zero, asked, out) };
                }
                if asked & needs::PACKET != 0 {
                    set!(layer, packet.layer);
                    set!(packet, packet.start);
                    set!(caplen, packet.caplen);
                    match window(packet.start) {
                        Some(window) => set!(window, window as u64),
                        // SAFETY: `out` is a whole view on our stack.
                        None => unsafe { copy_head(packet.start, &raw mut (*out).head) },
                    }
                }
            }
            known = known.wrapping_add(told);
        }
    }
    set!(known, known);
    verdict::<FILTER>(out) != 0
}

/// Copies a packet's first bytes, or zeros where they cannot be read. What is behind the packet's end is the buffer's.
///
/// # Safety
///
/// `head` is valid for writes.
#[inline(always)]
unsafe fn copy_head(start: u64, head: *mut [u8; WINDOW as usize]) {
    // SAFETY: the destination is as long as said, the helper checks the source.
    unsafe { generated::bpf_probe_read_kernel(head.cast(), WINDOW, start as *const _) };
}

/// Zero, which the verifier takes for any number: no packet is as long as 2 GiB.
///
/// What is added to it is no constant any more. The verifier follows each way through the program until it has seen
/// one that was in as general a state; with constants, which say by which branch they came, no way is like
/// another, and there are more than it has patience for.
#[inline(always)]
fn opaque_zero<M: Memory>(ctx: *const u8, skb: *const u8) -> u32 {
    let never = u64::from(load!(M, skb, skb_len, 0u32) >> 31);
    never.wrapping_mul(argument(ctx, config!(arg_location))) as u32
}

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
    view::{AT_HAND, FILTER, View, known, layer, needs},
};

/// Drops of each reason and place in each second, for the limit. User space sets the size.
#[map]
static RATES: LruHashMap<Site, u64> = LruHashMap::with_max_entries(1, 0);

const NANOSECONDS: u64 = 1_000_000_000;

/// What is asked for that takes the packet's bytes.
const OF_HEADERS: u32 = needs::TRANSPORT | needs::PORTS | needs::ADDRESSES;
const OF_BYTES: u32 = OF_HEADERS | needs::PACKET;

/// Whether the filter asks for one of these [`needs`].
#[inline(always)]
pub(crate) fn asks(needs: u32) -> bool {
    config!(filter) & needs != 0
}

/// A verdict of the filter's, by its placeholder, on a view; 0 for a drop that is not wanted. User space puts jumps to the filter's
/// code and back in place of the instruction. The code may overwrite the registers that are named.
///
/// That code is no function, for the same reason as the [programs](crate::program) are one each.
macro_rules! verdict {
    ($placeholder:ident, $view:expr, $($overwritten:tt)*) => {{
        let wanted: u64;
        // SAFETY: as it stands it only sets the register. The filter's code reads and writes the view and overwrites
        // these registers, no others.
        unsafe {
            asm!(
                "r0 = {} ll",
                const $placeholder,
                out("r0") wanted,
                inout("r1") $view => _,
                $(out($overwritten) _,)*
                options(nostack),
            );
        }
        wanted
    }};
}

/// Whether the filter wants the drop. Counts it if not.
#[inline(always)]
pub(crate) fn is_wanted<M: Memory>(ctx: *const u8) -> bool {
    if !asks(needs::FILTER) || holds::<M>(ctx) {
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
fn holds<M: Memory>(ctx: *const u8) -> bool {
    let mut view = MaybeUninit::<View>::uninit();
    let out = view.as_mut_ptr();
    macro_rules! set {
        ($field:ident, $value:expr) => {{
            let value = $value;
            // SAFETY: `out` is a whole view on our stack.
            unsafe { (&raw mut (*out).$field).write(value) }
        }};
    }
    if asks(OF_BYTES) {
        obey_lockdown(ctx);
    }
    // Added to, and not one bit put to the other, as that would tell the verifier which are set.
    let zero = opaque_zero::<M>(ctx, skb::skb(ctx));
    let mut known = zero;
    set!(location, argument(ctx, config!(arg_location)));
    let reason = skb::reason(ctx);
    if reason.is_some() {
        known = known.wrapping_add(known::REASON);
    }
    set!(reason, reason.unwrap_or(0));
    if asks(needs::MARK) {
        let mut mark = 0;
        if config!(skb_mark) != ABSENT {
            known = known.wrapping_add(known::MARK);
            mark = M::load(skb::skb(ctx), config!(skb_mark));
        }
        set!(mark, mark);
    }
    let mut protocol = 0;
    if asks(needs::PROTOCOL | OF_BYTES) {
        protocol = packet::protocol::<M>(skb::skb(ctx));
    }
    if asks(needs::PROTOCOL | needs::PACKET) {
        if protocol != 0 {
            known = known.wrapping_add(known::PROTOCOL);
        }
        set!(protocol, protocol.wrapping_add(zero));
    }
    set!(known, known);
    if verdict!(AT_HAND, out, "r2" "r6") == 0 {
        return false;
    }
    if asks(OF_HEADERS) {
        // SAFETY: `out` is a whole view on our stack.
        let told = unsafe { plain::parse::<M>(skb::skb(ctx), protocol, zero, out) };
        known = known.wrapping_add(told);
        if told == 0 {
            let linear = Linear::of::<M>(skb::skb(ctx));
            let packet = Packet::of(&linear, packet::protocol::<M>(skb::skb(ctx)), zero);
            // SAFETY: `out` is a whole view on our stack.
            known = known.wrapping_add(unsafe {
                headers::clear(zero, out);
                headers::parse(&packet, zero, out)
            });
        }
    }
    if asks(needs::INTERFACE) {
        let mut ifname = [0; 2];
        let interface = interface::<M>(ctx, skb::skb(ctx), &mut ifname);
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
    if asks(needs::LENGTH) {
        let skb = skb::skb(ctx);
        let length = Linear::of::<M>(skb).length::<M>(skb);
        if length.is_some() {
            known = known.wrapping_add(known::LENGTH);
        }
        set!(length, length.unwrap_or(0).wrapping_add(zero));
    }
    if asks(needs::PACKET) {
        if let Some(frame) = plain::frame::<M>(skb::skb(ctx), protocol) {
            set!(layer, layer::ETHERNET.wrapping_add(zero));
            set!(packet, frame.start);
            set!(caplen, frame.caplen.wrapping_add(zero));
            set!(window, frame.bytes as u64);
        } else {
            let linear = Linear::of::<M>(skb::skb(ctx));
            let packet = Packet::of(&linear, packet::protocol::<M>(skb::skb(ctx)), zero);
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
    set!(known, known);
    verdict!(FILTER, out, "r2" "r3" "r4" "r5" "r6" "r7") != 0
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
/// another, and there are more than it has patience for. Worse, before Linux 6.8 it takes two ways for alike that differ in
/// a constant on the stack, where the filter's code reads it by another register than its own for the stack, and removes what only the
/// other way does.
#[inline(always)]
fn opaque_zero<M: Memory>(ctx: *const u8, skb: *const u8) -> u32 {
    let never = u64::from(load!(M, skb, skb_len, 0u32) >> 31);
    never.wrapping_mul(argument(ctx, config!(arg_location))) as u32
}

//! Counts drops by what user space has chosen, and writes no record.

use crate::program::{
    CPUS, config, filter,
    interface::interface,
    memory::{Memory, add, argument},
    skb::{self, load, reason},
};
use aya_ebpf::{
    bindings::BPF_NOEXIST, helpers::bpf_get_smp_processor_id, macros::map, maps::PerCpuHashMap,
};
use skbdrop_ebpf::{CountKey, Interface, Tally, by};

/// Per CPU, how many drops there were of each kind. User space sets the number of kinds.
#[map]
static COUNTS: PerCpuHashMap<CountKey, Tally> = PerCpuHashMap::with_max_entries(1, 0);

/// Counts one drop that the filter wants.
#[inline(always)]
pub(crate) fn count<M: Memory>(ctx: *const u8) -> i32 {
    if !filter::is_wanted::<M>(ctx) {
        return 0;
    }
    let skb = skb::skb(ctx);
    let len: u32 = load!(M, skb, skb_len, 0);
    let key = key::<M>(ctx, skb);
    if let Some(tally) = COUNTS.get_ptr_mut(key) {
        add_drop(tally, len);
        return 0;
    }
    let first = Tally {
        drops: 1,
        bytes: u64::from(len),
    };
    if COUNTS.insert(key, first, u64::from(BPF_NOEXIST)).is_ok() {
        return 0;
    }
    // Another CPU was first, or there is no room.
    if let Some(tally) = COUNTS.get_ptr_mut(key) {
        add_drop(tally, len);
        return 0;
    }
    // SAFETY: it only returns a number.
    let number = unsafe { bpf_get_smp_processor_id() };
    if let Some(cpu) = CPUS.get_ptr_mut(number) {
        // SAFETY: the pointer is to this CPU's element.
        add_drop(unsafe { &raw mut (*cpu).overflow }, len);
    }
    0
}

/// Adds one drop.
#[inline(always)]
fn add_drop(tally: *mut Tally, len: u32) {
    // SAFETY: the pointer is to this CPU's value.
    unsafe {
        add(&raw mut (*tally).drops, 1);
        add(&raw mut (*tally).bytes, u64::from(len));
    }
}

/// What is counted together. What was not chosen is zero, and not read.
#[inline(always)]
fn key<M: Memory>(ctx: *const u8, skb: *const u8) -> CountKey {
    let count_by = config!(count_by);
    let chosen = |by: u32| count_by & by != 0;
    let told = if chosen(by::INTERFACE | by::NETNS) {
        interface::<M>(ctx, skb, &mut [0; 2])
    } else {
        Interface::default()
    };
    CountKey {
        location: if chosen(by::LOCATION) {
            argument(ctx, config!(arg_location))
        } else {
            0
        },
        reason: if chosen(by::REASON) {
            reason(ctx).unwrap_or(0)
        } else {
            0
        },
        ifindex: if chosen(by::INTERFACE) { told.index } else { 0 },
        netns: if chosen(by::NETNS) { told.netns } else { 0 },
        protocol: if chosen(by::PROTOCOL) {
            load!(M, skb, skb_protocol, 0u16)
        } else {
            0
        },
        reserved: 0,
    }
}

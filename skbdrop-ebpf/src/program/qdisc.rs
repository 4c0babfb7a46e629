//! The queueing discipline that drops a packet. The kernel tells of it by a tracepoint of its own and then frees the packet,
//! on the same CPU and with nothing of the kind between (`__tcf_kfree_skb_list` in `net/sched/sch_generic.c`): one
//! program notes what is told, the one that records the drop takes the note.

use crate::program::{
    config,
    memory::{Memory, argument},
};
use aya_ebpf::{macros::map, maps::PerCpuArray};
use core::ptr;
use skbdrop_ebpf::{ABSENT, Qdisc, QdiscNote};

/// The last note of each CPU.
#[map]
static QDISC_NOTE: PerCpuArray<QdiscNote> = PerCpuArray::with_max_entries(1, 0);

/// Notes what `qdisc:qdisc_drop` tells.
#[inline(always)]
pub(crate) fn note<M: Memory>(ctx: *const u8) -> i32 {
    let Some(note) = QDISC_NOTE.get_ptr_mut(0) else {
        return 0;
    };
    macro_rules! set {
        ($($field:ident).+, $value:expr) => {{
            let value = $value;
            // SAFETY: the map's element of this CPU is valid for a whole note. Volatile keeps the order.
            unsafe { (&raw mut (*note).$($field).+).write_volatile(value) }
        }};
    }
    set!(skb, 0);
    let qdisc = argument(ctx, config!(arg_qdisc)) as *const u8;
    if qdisc.is_null() {
        return 0;
    }
    let ops: *const u8 = M::far(qdisc, config!(qdisc_ops));
    if ops.is_null() {
        return 0;
    }
    let kind: [u64; 2] = [
        M::far(ops, config!(qdisc_ops_id)),
        M::far(ops, config!(qdisc_ops_id) + 8),
    ];
    // SAFETY: the field is as long as the array, and at a multiple of eight.
    unsafe { (&raw mut (*note).qdisc.kind).cast::<[u64; 2]>().write(kind) };
    set!(qdisc.handle, M::load::<u32>(qdisc, config!(qdisc_handle)));
    set!(qdisc.parent, M::load::<u32>(qdisc, config!(qdisc_parent)));
    set!(
        qdisc.reason,
        argument(ctx, config!(arg_qdisc_reason)) as u32
    );
    set!(qdisc.is_told, 1);
    // Last: a drop that comes between on this CPU must not find half a note.
    set!(skb, argument(ctx, config!(arg_qdisc_skb)));
    0
}

/// Writes the group, and takes the note of it. Only a packet that is freed with the very reason is looked up: a note that
/// nobody took, as the filter left its drop out, must not be taken for another packet at the same address.
///
/// # Safety
///
/// `out` points to a writable group.
#[inline(always)]
pub(crate) unsafe fn fill(skb: *const u8, reason: Option<u32>, out: *mut Qdisc) {
    // SAFETY: `out` is valid for a whole group, as the caller promises.
    unsafe { (&raw mut (*out).is_told).write(0) };
    let qdisc_drop = config!(qdisc_drop);
    if qdisc_drop == ABSENT || reason != Some(qdisc_drop) {
        return;
    }
    let Some(note) = QDISC_NOTE.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the map's element of this CPU is valid for a whole note, and both are made of words aligned to eight. They
    // are copied one by one: for all at once the compiler may call a function.
    unsafe {
        if ptr::read_volatile(&raw const (*note).skb) != skb as u64 {
            return;
        }
        let from = (&raw const (*note).qdisc).cast::<u64>();
        let to = out.cast::<u64>();
        let mut at = 0;
        while at < size_of::<Qdisc>() / size_of::<u64>() {
            ptr::write_volatile(to.add(at), ptr::read_volatile(from.add(at)));
            at += 1;
        }
        ptr::write_volatile(&raw mut (*note).skb, 0);
    }
}

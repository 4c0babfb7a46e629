//! The floor: programs on `skb:kfree_skb` that do the least of their kind, for what ours are compared with.
//!
//! `empty` does nothing; `ring` puts 64 bytes into a ring buffer and wakes nobody; `hash` counts in a
//! per-CPU hash by place and reason. Each as `tp_btf`, the kind of program that skbdrop attaches where it can.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::BPF_RB_NO_WAKEUP,
        helpers::bpf_ktime_get_ns,
        macros::{btf_tracepoint, map},
        maps::{PerCpuHashMap, RingBuf},
        programs::BtfTracePointContext,
    };

    /// As large as skbdrop's by default.
    #[map]
    static FLOOR_RING: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

    #[map]
    static FLOOR_HASH: PerCpuHashMap<[u64; 2], u64> = PerCpuHashMap::with_max_entries(1024, 0);

    #[unsafe(no_mangle)]
    #[unsafe(link_section = "license")]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[btf_tracepoint(function = "kfree_skb")]
    fn floor_empty(_: BtfTracePointContext) -> i32 {
        0
    }

    #[btf_tracepoint(function = "kfree_skb")]
    fn floor_ring(ctx: BtfTracePointContext) -> i32 {
        let Some(mut entry) = FLOOR_RING.reserve::<[u64; 8]>(0) else {
            return 0;
        };
        // SAFETY: it only returns a number.
        let now = unsafe { bpf_ktime_get_ns() };
        let (skb, location) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
        entry.write([now, skb, location, 0, 0, 0, 0, 0]);
        entry.submit(BPF_RB_NO_WAKEUP as u64);
        0
    }

    #[btf_tracepoint(function = "kfree_skb")]
    fn floor_hash(ctx: BtfTracePointContext) -> i32 {
        let key = [ctx.arg::<u64>(1), ctx.arg::<u64>(2)];
        match FLOOR_HASH.get_ptr_mut(key) {
            // SAFETY: the pointer is to this CPU's value.
            Some(count) => unsafe { *count += 1 },
            // With a full map there is nothing to do: the bench has fewer places.
            None => drop(FLOOR_HASH.insert(key, 1, 0)),
        }
        0
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

//! The programs, and what they share.

mod count;
mod filter;
mod headers;
mod interface;
mod memory;
mod metadata;
mod packet;
mod plain;
mod qdisc;
mod record;
mod skb;
mod socket;
mod stack;
mod wake;

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, map, raw_tracepoint},
    maps::Array,
    programs::{BtfTracePointContext, RawTracePointContext},
};
use core::arch::asm;
use memory::{Direct, Probe};
use skbdrop_ebpf::{Config, Cpu};

/// `BPF_F_MMAPABLE`: user space reads and writes the array in memory that it shares, without a system call.
pub(crate) const MAPPED: u32 = 1 << 10;

/// What the programs count, by CPU. User space sets the size: one for each possible CPU.
#[map]
static CPUS: Array<Cpu> = Array::with_max_entries(1, MAPPED);

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// One field of [`Config`]: an instruction that user space completes before it loads the program. For the verifier it
/// is a constant, and code for what the kernel has not is dead.
macro_rules! config {
    ($field:ident) => {
        $crate::program::placeholder::<
            { core::mem::offset_of!(skbdrop_ebpf::Config, $field) / size_of::<u32>() },
        >()
    };
}
pub(crate) use config;

/// The instruction for the word `WORD` of [`Config`], each time anew: without `pure` the compiler takes no two for one, which it
/// would keep on the stack meanwhile. User space folds the number into what uses it.
#[inline(always)]
fn placeholder<const WORD: usize>() -> u32 {
    let value: u32;
    // SAFETY: it only sets the register.
    unsafe {
        asm!("{} = {}", out(wreg) value, const Config::placeholder(WORD), options(nomem, nostack));
    }
    value
}

// Inlined into what the macro makes of each, as all that they call: a program is one function. Of several, kernels before 6.5 may
// forget how to go on after a direct load that faults, and panic.
#[btf_tracepoint(function = "kfree_skb")]
#[inline(always)]
fn skbdrop_tp_btf(ctx: BtfTracePointContext) -> i32 {
    record::record::<Direct>(ctx.as_ptr().cast())
}

#[raw_tracepoint(tracepoint = "kfree_skb")]
#[inline(always)]
fn skbdrop_raw_tp(ctx: RawTracePointContext) -> i32 {
    record::record::<Probe>(ctx.as_ptr().cast())
}

#[btf_tracepoint(function = "kfree_skb")]
#[inline(always)]
fn skbdrop_count_tp_btf(ctx: BtfTracePointContext) -> i32 {
    count::count::<Direct>(ctx.as_ptr().cast())
}

#[raw_tracepoint(tracepoint = "kfree_skb")]
#[inline(always)]
fn skbdrop_count_raw_tp(ctx: RawTracePointContext) -> i32 {
    count::count::<Probe>(ctx.as_ptr().cast())
}

#[btf_tracepoint(function = "qdisc_drop")]
#[inline(always)]
fn skbdrop_qdisc_tp_btf(ctx: BtfTracePointContext) -> i32 {
    qdisc::note::<Direct>(ctx.as_ptr().cast())
}

#[raw_tracepoint(tracepoint = "qdisc_drop")]
#[inline(always)]
fn skbdrop_qdisc_raw_tp(ctx: RawTracePointContext) -> i32 {
    qdisc::note::<Probe>(ctx.as_ptr().cast())
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

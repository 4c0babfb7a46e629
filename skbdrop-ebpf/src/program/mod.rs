//! The programs, and what they share.

mod count;
mod memory;
mod record;
mod skb;
mod wake;

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, map, raw_tracepoint},
    maps::Array,
    programs::{BtfTracePointContext, RawTracePointContext},
};
use memory::{Direct, Probe};
use skbdrop_ebpf::{Config, Cpu};

/// `BPF_F_MMAPABLE`: user space reads and writes the array in memory that it shares, without a system call.
pub(crate) const MAPPED: u32 = 1 << 10;

/// Facts about the running kernel. User space overwrites them before the program is
/// loaded and freezes them, which makes each a constant for the verifier.
#[unsafe(no_mangle)]
static CONFIG: Config = Config::EMPTY;

/// What the programs count, by CPU. User space sets the size: one for each possible CPU.
#[map]
static CPUS: Array<Cpu> = Array::with_max_entries(1, MAPPED);

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Reads one field of [`CONFIG`]. Volatile, so that the compiler does not take the value
/// that the source gives for the one that user space will have set.
macro_rules! config {
    ($field:ident) => {
        // SAFETY: a static is always readable.
        unsafe { core::ptr::read_volatile(&raw const $crate::program::CONFIG.$field) }
    };
}
pub(crate) use config;

#[btf_tracepoint(function = "kfree_skb")]
fn skbdrop_tp_btf(ctx: BtfTracePointContext) -> i32 {
    record::record::<Direct>(ctx.as_ptr().cast())
}

#[raw_tracepoint(tracepoint = "kfree_skb")]
fn skbdrop_raw_tp(ctx: RawTracePointContext) -> i32 {
    record::record::<Probe>(ctx.as_ptr().cast())
}

#[btf_tracepoint(function = "kfree_skb")]
fn skbdrop_count_tp_btf(ctx: BtfTracePointContext) -> i32 {
    count::count::<Direct>(ctx.as_ptr().cast())
}

#[raw_tracepoint(tracepoint = "kfree_skb")]
fn skbdrop_count_raw_tp(ctx: RawTracePointContext) -> i32 {
    count::count::<Probe>(ctx.as_ptr().cast())
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

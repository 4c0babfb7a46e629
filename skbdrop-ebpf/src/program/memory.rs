//! How the programs read the kernel's memory, and the tracepoint's arguments.

use aya_ebpf::helpers::generated;
use core::{arch::asm, ptr};

/// How kernel memory is read.
pub(crate) trait Memory {
    /// Reads a `T` at `offset` bytes from `base`; zero where there is nothing.
    fn load<T: Copy>(base: *const u8, offset: u32) -> T;
}

/// Direct loads: in a `tp_btf` program the verifier knows the type behind each pointer
/// and the kernel turns a fault into a zero.
pub(crate) struct Direct;

impl Memory for Direct {
    #[inline(always)]
    fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        // SAFETY: the verifier proves that the load is inside the structure, and a fault
        // gives zero. Volatile keeps the compiler from moving it before the check of
        // `offset` that makes it valid.
        unsafe { ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
    }
}

/// Loads by helper, for program types in which pointers are plain numbers.
pub(crate) struct Probe;

impl Memory for Probe {
    #[inline(always)]
    fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        let mut value = core::mem::MaybeUninit::<T>::zeroed();
        // SAFETY: the destination is `size_of::<T>()` bytes of our stack; the helper checks
        // the source and leaves zeros on a fault. All `T` here are integers and arrays of
        // them, for which any bytes are valid.
        unsafe {
            generated::bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                base.wrapping_add(offset as usize).cast(),
            );
            value.assume_init()
        }
    }
}

/// Writes zeros, word by word: of one write for all the compiler may make a call of `memset`, and so a program of two
/// functions. Of these kernels before 6.5 may forget how to go on after a direct load that faults, and panic.
///
/// # Safety
///
/// `out` is valid for writes of a `T`, which is aligned to eight and made of whole words.
#[inline(always)]
pub(crate) unsafe fn clear<T>(out: *mut T) {
    const { assert!(size_of::<T>() % 8 == 0 && align_of::<T>() <= 8) }
    let mut at = 0;
    while at < size_of::<T>() / 8 {
        // SAFETY: as the caller promises. Volatile keeps the words apart.
        unsafe { ptr::write_volatile(out.cast::<u64>().add(at), 0) };
        at += 1;
    }
}

/// Adds to a count, whatever other CPUs do meanwhile, and a drop in an interrupt on this one (before Linux 5.12 the program
/// runs there as well).
///
/// # Safety
///
/// `count` points into a map's value.
#[inline(always)]
pub(crate) unsafe fn add(count: *mut u64, amount: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!("lock *(u64 *)({} + 0) += {}", in(reg) count, in(reg) amount, options(nostack));
    }
}

/// Reads the tracepoint's argument `n`.
///
/// Each arm is an instruction of its own: the verifier takes no computed offset into the
/// context, and the compiler would merge plain loads into one.
#[inline(always)]
pub(crate) fn argument(ctx: *const u8, n: u32) -> u64 {
    let value: u64;
    macro_rules! load {
        ($instruction:literal) => {
            // SAFETY: reads one of the context's arguments; the verifier refuses an
            // argument that the tracepoint has not.
            unsafe { asm!($instruction, out(reg) value, in(reg) ctx, options(nostack, readonly)) }
        };
    }
    match n {
        0 => load!("{} = *(u64 *)({} + 0)"),
        1 => load!("{} = *(u64 *)({} + 8)"),
        2 => load!("{} = *(u64 *)({} + 16)"),
        3 => load!("{} = *(u64 *)({} + 24)"),
        4 => load!("{} = *(u64 *)({} + 32)"),
        _ => value = 0,
    }
    value
}

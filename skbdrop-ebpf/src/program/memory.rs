//! How the programs read the kernel's memory, and the tracepoint's arguments.

use crate::program::config;
use aya_ebpf::helpers::generated;
use core::{
    arch::asm,
    mem::{MaybeUninit, size_of},
    ptr,
};
use skbdrop_ebpf::{ABSENT, Config, WINDOW};

/// How kernel memory is read.
pub(crate) trait Memory {
    /// Reads a `T` at `offset` bytes from `base`, which the tracepoint passes; zero where there is nothing.
    fn load<T: Copy>(base: *const u8, offset: u32) -> T;

    /// The same of what a pointer in it leads to, and that pointer.
    fn far<T: Plain>(base: *const u8, offset: u32) -> T;
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

    /// As any address, where the kernel lets programs say so: of a pointer that it follows by types the verifier asks whether
    /// it may be trusted, in the list of all of the kernel's types, which takes it milliseconds a pointer.
    #[inline(always)]
    fn far<T: Plain>(base: *const u8, offset: u32) -> T {
        match window((base as u64).wrapping_add(u64::from(offset))) {
            // SAFETY: a window is larger than any `T`.
            Some(bytes) => unsafe { T::load::<0>(bytes) },
            None => Self::load(base, offset),
        }
    }
}

/// Loads by helper, for program types in which pointers are plain numbers.
pub(crate) struct Probe;

impl Memory for Probe {
    #[inline(always)]
    fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        let mut value = MaybeUninit::<T>::zeroed();
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

    #[inline(always)]
    fn far<T: Plain>(base: *const u8, offset: u32) -> T {
        Self::load(base, offset)
    }
}

/// Integers and addresses, which may be at any address.
pub(crate) trait Plain: Copy {
    /// Loads the one at `AT` bytes from there.
    ///
    /// # Safety
    ///
    /// The verifier takes `from` for a pointer to as many bytes behind those.
    unsafe fn load<const AT: usize>(from: *const u8) -> Self;
}

macro_rules! plain {
    ($($ty:ty: $load:literal),*) => {
        $(
            impl Plain for $ty {
                #[inline(always)]
                unsafe fn load<const AT: usize>(from: *const u8) -> Self {
                    let value: u64;
                    // SAFETY: it reads as many bytes as the caller says that there are, at any alignment; the verifier
                    // checks it, and a fault gives zero.
                    unsafe {
                        asm!($load, out(reg) value, in(reg) from, const AT, options(nostack, readonly));
                    }
                    value as Self
                }
            }
        )*
    };
}
plain! {
    u8: "{} = *(u8 *)({} + {})",
    u16: "{} = *(u16 *)({} + {})",
    u32: "{} = *(u32 *)({} + {})",
    u64: "{} = *(u64 *)({} + {})",
    *const u8: "{} = *(u64 *)({} + {})"
}

/// Reads a `T` at any address of the kernel's, which no type is known of: by a direct load where the kernel lets programs
/// say what is at an address, else by the helper. `None` where the helper cannot read; a direct load gives zeros then.
#[inline(always)]
pub(crate) fn read<T: Plain>(address: u64) -> Option<T> {
    const { assert!(size_of::<T>() <= WINDOW as usize) }
    let mut copy = MaybeUninit::<T>::uninit();
    let bytes = seen(address, &mut copy)?;
    // SAFETY: there are as many.
    Some(unsafe { T::load::<0>(bytes) })
}

/// As many bytes as can be looked at in one.
pub(crate) type Sight = MaybeUninit<[u64; WINDOW as usize / 8]>;

/// A pointer to the bytes at any address of the kernel's, which no type is known of, and as many as `copy` has room for: to
/// themselves where the kernel lets programs say what is at an address, and then loads give zeros where there is nothing; else to a
/// copy, by the helper. `None` where the helper cannot read.
#[inline(always)]
pub(crate) fn seen<T>(address: u64, copy: &mut MaybeUninit<T>) -> Option<*const u8> {
    const { assert!(size_of::<T>() <= WINDOW as usize) }
    if let Some(bytes) = window(address) {
        return Some(bytes);
    }
    let to = copy.as_mut_ptr();
    // SAFETY: the destination is as long as said, on our stack; the helper checks the source.
    let error = unsafe {
        generated::bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, address as *const _)
    };
    (error == 0).then_some(to.cast_const().cast())
}

/// A pointer to [`WINDOW`] bytes at `address`, for direct loads, where the kernel gives such.
#[inline(always)]
pub(crate) fn window(address: u64) -> Option<*const u8> {
    let at = config!(window);
    if at == ABSENT {
        return None;
    }
    let structure: u64;
    // SAFETY: as it stands it only sets the register. What user space puts in its place is a call of a function that
    // returns its argument.
    unsafe {
        asm!(
            "r0 = {} ll",
            const Config::CAST,
            inout("r1") address.wrapping_sub(u64::from(at)) => _,
            out("r0") structure,
            out("r2") _,
            out("r3") _,
            out("r4") _,
            out("r5") _,
            options(nostack, pure, nomem),
        );
    }
    Some((structure as *const u8).wrapping_add(at as usize))
}

/// Keeps a call of the helper in a program that looks at packets, for a drop at the address 0, which there is not. Under
/// lockdown=confidentiality the kernel refuses the helper, and with it the program: what an administrator has forbidden is not
/// to be had by direct loads instead.
#[inline(always)]
pub(crate) fn obey_lockdown(ctx: *const u8) {
    if argument(ctx, config!(arg_location)) != 0 {
        return;
    }
    let mut unused = 0u64;
    // SAFETY: the destination is as long as said, on our stack; the helper checks the source.
    unsafe { generated::bpf_probe_read_kernel((&raw mut unused).cast(), 8, ptr::null()) };
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

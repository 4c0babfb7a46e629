//! The kernel's call stack at the drop.

use aya_ebpf::helpers::generated;
use skbdrop_ebpf::{MAX_FRAMES, Stack, stack_size};

/// Writes the group, with room for so many frames; gives what follows it.
///
/// # Safety
///
/// `out` points to as many writable bytes as the group has, aligned to eight.
#[inline(always)]
pub(crate) unsafe fn fill(ctx: *const u8, out: *mut u8, frames: u32) -> *mut u8 {
    if frames > MAX_FRAMES {
        return out;
    }
    let room = frames * 8;
    let head = out.cast::<Stack>();
    // SAFETY: the addresses follow the group's head, as the caller promises; the helper writes no more than
    // `room` bytes.
    unsafe {
        let written = generated::bpf_get_stack(ctx.cast_mut().cast(), head.add(1).cast(), room, 0);
        (&raw mut (*head).len).write(if written > 0 { written as u32 } else { 0 });
        (&raw mut (*head).room).write(room);
        out.add(stack_size(frames))
    }
}

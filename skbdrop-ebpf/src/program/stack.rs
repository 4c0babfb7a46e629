//! The kernel's call stack at the drop.

use aya_ebpf::helpers::generated;
use skbdrop_ebpf::{MAX_FRAMES, Stack};

/// Writes the group, with room for so many frames.
///
/// # Safety
///
/// `out` points to a writable group with that room behind it.
#[inline(always)]
pub(crate) unsafe fn fill(ctx: *const u8, out: *mut Stack, frames: u32) {
    if frames > MAX_FRAMES {
        return;
    }
    let room = frames * 8;
    // SAFETY: the addresses follow the group's head, as the caller promises; the helper writes no more than
    // `room` bytes.
    unsafe {
        let written = generated::bpf_get_stack(ctx.cast_mut().cast(), out.add(1).cast(), room, 0);
        (&raw mut (*out).len).write(if written > 0 { written as u32 } else { 0 });
        (&raw mut (*out).room).write(room);
    }
}

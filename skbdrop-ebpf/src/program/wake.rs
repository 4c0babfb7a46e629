//! Wakes the reader when it asks for it, and else not: a wake-up costs twenty times the record.
//!
//! The reader says in [`READER`] whether it sleeps. The program looks there after it has submitted a record, and
//! the kernel submits by an exchange that is a full barrier. The reader, before it sleeps, says so, and after a
//! full barrier looks once more whether there is a record. So whichever comes second sees what the other did: the
//! reader the record, or the program that the reader sleeps. That holds as well for a record that is
//! submitted behind one that another CPU is still writing: that one's submission is still to come, and looks.
//!
//! It is woken by a ring buffer of its own, the bell, since to wake by the records' one takes room there, and
//! the reader is to be woken also when there is none. A bell that was rung stays readable until the
//! reader silences it. Loads and stores alone suffice, without the exchange that kernels before 5.12 have not:
//! where two CPUs ring at once, the bell rings twice.

use crate::program::{MAPPED, config};
use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP},
    macros::map,
    maps::{Array, RingBuf},
};
use core::ptr;
use skbdrop_ebpf::{Cpu, reader};

/// One of [`reader`]'s states.
#[map]
static READER: Array<u64> = Array::with_max_entries(1, MAPPED);

/// Wakes the reader. The least size that a ring buffer can have; nobody reads what is in it.
#[map]
static BELL: RingBuf = RingBuf::with_byte_size(4096, 0);

/// To be called after a record was submitted to `records`.
#[inline(always)]
pub(crate) fn submitted(records: &RingBuf, cpu: *mut Cpu) {
    let Some(word) = READER.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the pointer is to the element. Volatile keeps the load behind the submission.
    match unsafe { ptr::read_volatile(word) } {
        reader::AWAKE => {}
        reader::ASLEEP_UNTIL_MARK if !is_at_mark(records, cpu) => {}
        _ => ring(word),
    }
}

/// To be called when a record found no room: more than the mark is full.
#[inline(always)]
pub(crate) fn full() {
    let Some(word) = READER.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the pointer is to the element.
    if unsafe { ptr::read_volatile(word) } != reader::AWAKE {
        ring(word);
    }
}

/// Whether the records fill the ring beyond the mark. It looks only now and then, by this CPU's count.
#[inline(always)]
fn is_at_mark(records: &RingBuf, cpu: *mut Cpu) -> bool {
    // SAFETY: the pointer is to this CPU's element. A drop in an interrupt may come between, and cost one
    // of the count, which is for pacing alone.
    let unchecked = unsafe {
        let unchecked = ptr::read_volatile(&raw const (*cpu).unchecked) + 1;
        ptr::write_volatile(&raw mut (*cpu).unchecked, unchecked);
        unchecked
    };
    if unchecked < u64::from(config!(check_every)) {
        return false;
    }
    // SAFETY: as above.
    unsafe { ptr::write_volatile(&raw mut (*cpu).unchecked, 0) };
    records.query(u64::from(BPF_RB_AVAIL_DATA)) >= u64::from(config!(fill_mark))
}

/// Rings the bell. The word comes first: if the reader falls asleep again meanwhile, the bell is still to come.
#[inline(always)]
fn ring(word: *mut u64) {
    // SAFETY: the pointer is to the element.
    unsafe { ptr::write_volatile(word, reader::AWAKE) };
    if BELL
        .output::<u64>(0u64, u64::from(BPF_RB_FORCE_WAKEUP))
        .is_err()
    {
        // SAFETY: as above. The next record tries again.
        unsafe { ptr::write_volatile(word, reader::ASLEEP) };
    }
}

//! perf events: what the crate for them has not.

use perf_event::Sampler;
use rustix::ioctl::{Setter, ioctl, opcode};
use std::{io, os::fd::BorrowedFd};

/// The descriptor of a perf event, which its crate only gives as a number.
pub(crate) fn fd(sampler: &Sampler) -> BorrowedFd<'_> {
    // SAFETY: the sampler owns the descriptor, and keeps it open while it is borrowed.
    unsafe { BorrowedFd::borrow_raw(std::os::fd::AsRawFd::as_raw_fd(sampler)) }
}

/// `PERF_EVENT_IOC_PERIOD`: from now on a sample is taken of one event in so many, and of the very next one. The CPU
/// of the event has done so when this returns.
pub(crate) fn set_period(sampler: &Sampler, period: u64) -> io::Result<()> {
    const PERIOD: rustix::ioctl::Opcode = opcode::write::<u64>(b'$', 4);
    // SAFETY: this is the number that `include/uapi/linux/perf_event.h` has for it, and its argument is a pointer to
    // a `u64` that the kernel only reads. The descriptor is a perf event's.
    let set = unsafe { ioctl(fd(sampler), Setter::<PERIOD, u64>::new(period)) };
    Ok(set?)
}

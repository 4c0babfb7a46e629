//! What the perf events of a CPU have in common: that on which they count, and how opening them fails.

use super::format::Format;
use crate::Error;
use perf_event::{Builder, Clock, ReadFormat, events::Tracepoint};
use std::io;

/// An event for each time that the CPU passes the tracepoint. The group's have one clock: the kernel asks for that.
pub(super) fn builder(format: &Format, cpu: usize) -> Builder<'static> {
    let mut builder = Builder::new(Tracepoint::with_id(format.id));
    builder
        .any_pid()
        .one_cpu(cpu)
        .include_kernel()
        .include_hv()
        .clockid(Clock::MONOTONIC);
    // The crate asks for times by default, which would come between value and loss.
    builder.attrs_mut().read_format = ReadFormat::empty().bits();
    builder
}

/// It cannot be opened.
pub(super) fn open_error(cpu: usize, error: io::Error) -> Error {
    let failed = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "cannot open the perf event skb:kfree_skb (needs CAP_PERFMON, or kernel.perf_event_paranoid \
             of -1; on kernels with Debian's or Ubuntu's patch and a value above 2, CAP_SYS_ADMIN)"
                .to_owned()
        }
        _ => format!("cannot open the perf event skb:kfree_skb on CPU {cpu}"),
    };
    Error::io(failed, error)
}

/// Its ring cannot be mapped.
pub(super) fn map_error(cpu: usize, error: io::Error) -> Error {
    Error::io(
        format!(
            "cannot map the ring of the perf event of CPU {cpu} (needs CAP_IPC_LOCK, or room in kernel.perf_event_mlock_kb)"
        ),
        error,
    )
}

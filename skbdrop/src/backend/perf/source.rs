//! One perf event per CPU, each with its ring, behind one epoll descriptor.

use super::{
    decode::{Item, Sample, decode},
    format::Format,
};
use crate::{
    BackendKind, Error, Result,
    backend::{Read, Record, Settings, Source},
    clock, sys,
};
use perf_event::{Builder, Clock, Counter, ReadFormat, SampleFlag, Sampler, events::Tracepoint};
use rustix::event::epoll;
use std::{
    collections::VecDeque,
    fmt, fs, io, mem,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

/// The CPUs that are there now. Drops on one that comes later are not seen.
const ONLINE_CPUS: &str = "/sys/devices/system/cpu/online";

/// The perf events and what was read of their rings.
pub(crate) struct PerfSource {
    rings: Vec<Ring>,
    epoll: OwnedFd,
    format: Format,
    /// Read, in order of time, and complete: nothing earlier will come.
    ready: VecDeque<Told>,
    /// Read, but a ring that was read before may have something earlier by now.
    later: Vec<Told>,
    /// When the last round of reading the rings began, `CLOCK_MONOTONIC` nanoseconds.
    round: i128,
    /// Records that could not be decoded and are not told yet.
    undecodable: u64,
    stopped: bool,
}

/// A drop, and how many were lost before it.
#[derive(Clone, Copy, Debug)]
struct Told {
    sample: Sample,
    lost_before: u64,
}

/// One CPU's event.
struct Ring {
    sampler: Sampler,
    /// Losses that were told in the ring and wait for the next drop.
    untold: u64,
    /// All losses that were told in the ring.
    lost: u64,
    /// Samples taken out of the ring, decodable or not.
    taken: u64,
    /// Whether the kernel says how many it lost (`PERF_FORMAT_LOST`, since Linux 6.0).
    counts_lost: bool,
}

impl PerfSource {
    /// Opens an event per CPU. `format` is the text of the tracepoint's `format` file.
    pub(crate) fn open(settings: &Settings, format: &str) -> Result<Self> {
        let format = Format::parse(format)?;
        let cpus = online_cpus()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|e| Error::io("cannot create an epoll descriptor", e))?;
        let share = settings.buffer_size as usize / cpus.len().next_power_of_two();
        let mut rings = Vec::with_capacity(cpus.len());
        for cpu in cpus {
            let ring = Ring::open(&format, cpu, share)?;
            epoll::add(
                &epoll,
                sys::perf_fd(&ring.sampler),
                epoll::EventData::new_u64(cpu as u64),
                epoll::EventFlags::IN,
            )
            .map_err(|e| Error::io(format!("cannot wait for the perf event of CPU {cpu}"), e))?;
            rings.push(ring);
        }
        for ring in &mut rings {
            let enabled = ring.sampler.enable();
            enabled.map_err(|e| Error::io("cannot enable the perf event skb:kfree_skb", e))?;
        }
        Ok(Self {
            rings,
            epoll,
            format,
            ready: VecDeque::new(),
            later: Vec::new(),
            round: 0,
            undecodable: 0,
            stopped: false,
        })
    }

    /// Reads all rings. What was there before they were read the last time is complete now: a record that was
    /// being written then has had the time of a whole round to be done.
    fn drain(&mut self) {
        let last = mem::replace(&mut self.round, clock::kernel_monotonic_ns());
        for ring in &mut self.rings {
            self.undecodable += ring.drain(&self.format, &mut self.later);
        }
        self.later.sort_by_key(|told| told.sample.time);
        let complete = self
            .later
            .partition_point(|told| i128::from(told.sample.time) < last);
        self.ready.extend(self.later.drain(..complete));
    }
}

impl Source for PerfSource {
    fn kind(&self) -> BackendKind {
        BackendKind::Perf
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    fn read(&mut self, max: usize, sink: &mut dyn FnMut(&Record<'_>)) -> Result<Read> {
        let mut read = Read::default();
        while read.taken < max {
            let Some(told) = self.ready.pop_front() else {
                self.drain();
                if self.ready.is_empty() && self.later.is_empty() {
                    break;
                }
                continue;
            };
            read.taken += 1;
            let mut record = told.sample.record();
            record.lost_before = told.lost_before;
            sink(&record);
        }
        read.undecodable = mem::take(&mut self.undecodable);
        read.taken += read.undecodable as usize;
        read.ended =
            self.stopped && self.ready.is_empty() && self.later.is_empty() && read.taken < max;
        Ok(read)
    }

    fn lost(&self) -> Result<u64> {
        self.rings.iter().map(|ring| ring.lost(self.stopped)).sum()
    }

    fn stop(&mut self) {
        for ring in &mut self.rings {
            // An event that cannot be disabled ends with its descriptor.
            let _ = ring.sampler.disable();
        }
        self.stopped = true;
    }
}

impl fmt::Debug for PerfSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerfSource")
            .field("cpus", &self.rings.len())
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl Ring {
    fn open(format: &Format, cpu: usize, bytes: usize) -> Result<Self> {
        let describe = |e: &io::Error| {
            match e.kind() {
            io::ErrorKind::PermissionDenied => {
                "cannot open the perf event skb:kfree_skb (needs CAP_PERFMON, or kernel.perf_event_paranoid \
                 of -1; on kernels with Debian's or Ubuntu's patch and a value above 2, CAP_SYS_ADMIN)"
                    .to_owned()
            }
            _ => format!("cannot open the perf event skb:kfree_skb on CPU {cpu}"),
        }
        };
        let (counter, counts_lost) = match event(format, cpu, ReadFormat::LOST) {
            Ok(counter) => (counter, true),
            // A kernel that does not know the flag refuses it.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                let counter = event(format, cpu, ReadFormat::empty());
                (counter.map_err(|e| Error::io(describe(&e), e))?, false)
            }
            Err(e) => return Err(Error::io(describe(&e), e)),
        };
        let sampler = map(counter, format, cpu, bytes, counts_lost)?;
        Ok(Self {
            sampler,
            untold: 0,
            lost: 0,
            taken: 0,
            counts_lost,
        })
    }

    /// Appends what is in the ring; says how many records could not be decoded.
    fn drain(&mut self, format: &Format, told: &mut Vec<Told>) -> u64 {
        let mut undecodable = 0;
        while let Some(record) = self.sampler.next_record() {
            match decode(record.ty(), &record.to_contiguous(), format) {
                Ok(Item::Sample(sample)) => {
                    self.taken += 1;
                    told.push(Told {
                        sample,
                        lost_before: mem::take(&mut self.untold),
                    });
                }
                Ok(Item::Lost(count)) => {
                    self.untold = self.untold.saturating_add(count);
                    self.lost = self.lost.saturating_add(count);
                }
                Ok(Item::Other) => {}
                Err(_) => {
                    self.taken += 1;
                    undecodable += 1;
                }
            }
        }
        undecodable
    }

    /// Losses so far. A kernel that does not count them tells of them in the ring, once there is room
    /// again; and when nothing more is written, the count of all drops tells the rest.
    fn lost(&self, stopped: bool) -> Result<u64> {
        if !self.counts_lost && !stopped {
            return Ok(self.lost);
        }
        let mut values = [0u8; 16];
        let len = if self.counts_lost { 16 } else { 8 };
        let got = rustix::io::read(sys::perf_fd(&self.sampler), &mut values[..len])
            .map_err(|e| Error::io("cannot read the count of the perf event skb:kfree_skb", e))?;
        if got != len {
            return Err(Error::invalid_data(format!(
                "the count of a perf event has {got} bytes instead of {len}"
            )));
        }
        let value = |n: usize| {
            u64::from_ne_bytes(values[8 * n..8 * n + 8].try_into().expect("eight bytes"))
        };
        Ok(if self.counts_lost {
            value(1)
        } else {
            value(0).saturating_sub(self.taken)
        })
    }
}

/// Maps a ring of at most `bytes`. Users without CAP_IPC_LOCK may lock only so much memory; a smaller ring loses
/// earlier, and says so.
fn map(
    mut counter: Counter,
    format: &Format,
    cpu: usize,
    bytes: usize,
    counts_lost: bool,
) -> Result<Sampler> {
    let mut bytes = bytes.max(rustix::param::page_size());
    loop {
        let error = match counter.sampled(bytes) {
            Ok(sampler) => return Ok(sampler),
            Err(error) => error,
        };
        if error.kind() != io::ErrorKind::PermissionDenied || bytes <= rustix::param::page_size() {
            return Err(Error::io(
                format!(
                    "cannot map the ring of the perf event of CPU {cpu} (needs CAP_IPC_LOCK, or room in kernel.perf_event_mlock_kb)"
                ),
                error,
            ));
        }
        bytes /= 2;
        let read = if counts_lost {
            ReadFormat::LOST
        } else {
            ReadFormat::empty()
        };
        counter = event(format, cpu, read)
            .map_err(|e| Error::io("cannot open the perf event skb:kfree_skb again", e))?;
    }
}

fn event(format: &Format, cpu: usize, read: ReadFormat) -> io::Result<Counter> {
    let mut builder = Builder::new(Tracepoint::with_id(format.id));
    builder
        .any_pid()
        .one_cpu(cpu)
        .include_kernel()
        .include_hv()
        .sample_period(1)
        .wakeup_events(1);
    builder.sample(SampleFlag::TID | SampleFlag::TIME | SampleFlag::CPU | SampleFlag::RAW);
    builder.clockid(Clock::MONOTONIC);
    // The crate asks for times by default, which would come between value and loss.
    builder.attrs_mut().read_format = read.bits();
    builder.build()
}

/// Numbers of the CPUs in a list like `0-3,8`.
fn online_cpus() -> Result<Vec<usize>> {
    let text = fs::read_to_string(ONLINE_CPUS).map_err(|e| {
        Error::io(
            format!("cannot read the CPUs that are online `{ONLINE_CPUS}` (is sysfs on /sys?)"),
            e,
        )
    })?;
    let cpus = parse_cpus(text.trim());
    cpus.filter(|cpus| !cpus.is_empty()).ok_or_else(|| {
        Error::invalid_data(format!(
            "cannot parse the CPUs that are online in `{ONLINE_CPUS}`: {text}"
        ))
    })
}

fn parse_cpus(list: &str) -> Option<Vec<usize>> {
    // More than any kernel has: a longer range is no list of CPUs.
    const MAX: usize = 1 << 16;
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(parse_cpus("0"), Some(vec![0]));
        assert_eq!(parse_cpus("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse_cpus(""), None);
        assert_eq!(parse_cpus("0-"), None);
        assert_eq!(parse_cpus("0-99999999"), None);
    }
}

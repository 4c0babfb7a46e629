//! The perf events of all CPUs, behind one descriptor.

use super::{
    bell::{CpuBell, PerfBell},
    format::Format,
    hotplug::{Change, Hotplug},
    ring::Ring,
};
use crate::{
    BackendKind, Error, Result,
    backend::{Read, Record, Settings, Source, wake::Wake},
    clock,
    sys::perf,
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    fmt, fs, mem,
    os::fd::BorrowedFd,
};

/// The CPUs that are there now.
const ONLINE_CPUS: &str = "/sys/devices/system/cpu/online";

/// The perf events and what was read of their rings.
pub(crate) struct PerfSource {
    // Declared first: closed before what it watches.
    wake: Wake<PerfBell>,
    /// In the order of the bells.
    rings: Vec<Ring>,
    hotplug: Hotplug,
    format: Format,
    /// Bytes of a ring, and at how many per cent of it the reader is woken.
    share: usize,
    fill: u32,
    /// The time of the next drop of each ring that has one, the earliest first, and the ring's place.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// When the last look into all rings began, `CLOCK_MONOTONIC` nanoseconds.
    looked: i128,
    /// When the look before that began. Nothing earlier will come: a record that was being written then has had
    /// the time of a whole look to be done.
    complete: i128,
    stopped: bool,
}

impl PerfSource {
    /// Opens the events of each CPU. `format` is the text of the tracepoint's `format` file.
    pub(crate) fn open(settings: &Settings, format: &str) -> Result<Self> {
        let format = Format::parse(format)?;
        // Before it is asked which are online.
        let hotplug = Hotplug::open()?;
        let cpus = online_cpus()?;
        let share = settings.buffer_size as usize / cpus.len().next_power_of_two();
        let fill = settings.wakeup_fill;
        let (mut bells, mut rings) = (Vec::new(), Vec::new());
        for cpu in cpus {
            let mut bell = CpuBell::open(&format, cpu)?;
            rings.push(Ring::open(&format, cpu, share, fill, &mut bell.event)?);
            bells.push(bell);
        }
        let mut bell = PerfBell::new(bells);
        bell.enable()?;
        let wake = Wake::new(bell, settings.max_latency)?;
        for ring in &rings {
            wake.watch(ring.fd())?;
        }
        wake.watch(hotplug.fd())?;
        let mut source = Self {
            wake,
            next: BinaryHeap::with_capacity(rings.len()),
            rings,
            hotplug,
            format,
            share,
            fill,
            looked: 0,
            complete: 0,
            stopped: false,
        };
        // Whoever waits before the first look is woken all the same.
        source.fall_asleep()?;
        Ok(source)
    }

    /// Hands out drops, the earliest of all rings first, until there are none or `max` are taken; says whether
    /// there are none.
    fn drain(
        &mut self,
        max: usize,
        read: &mut Read,
        sink: &mut dyn FnMut(&Record<'_>),
    ) -> Result<bool> {
        while read.taken < max {
            let Some(mut first) = self.next.peek_mut() else {
                if self.look()? {
                    continue;
                }
                return Ok(true);
            };
            let Reverse((time, at)) = *first;
            if i128::from(time) >= self.complete {
                drop(first);
                self.look()?;
                continue;
            }
            if read.taken == 0 {
                self.wake.for_records()?;
            }
            read.taken += 1;
            let ring = &mut self.rings[at];
            let told = ring.take();
            match ring.next_time() {
                Some(time) => first.0.0 = time,
                None => drop(PeekMut::pop(first)),
            }
            if let Some(told) = told {
                let mut record = told.sample.record();
                record.lost_before = told.lost_before;
                sink(&record);
            }
        }
        Ok(false)
    }

    /// Looks into all rings, those of CPUs that are new as well; says whether there are drops.
    fn look(&mut self) -> Result<bool> {
        self.follow_cpus()?;
        self.complete = mem::replace(&mut self.looked, clock::kernel_monotonic_ns());
        self.next.clear();
        for (at, ring) in self.rings.iter_mut().enumerate() {
            if let Some(before_the_rest) = ring.look(&self.format) {
                self.complete = self.complete.min(before_the_rest.into());
            }
            self.next
                .extend(ring.next_time().map(|time| Reverse((time, at))));
        }
        Ok(!self.next.is_empty())
    }

    /// Records on CPUs that have come online.
    fn follow_cpus(&mut self) -> Result<()> {
        while let Some(change) = self.hotplug.next()? {
            if self.stopped {
                continue;
            }
            match change {
                Change::Online(cpu) => self.record_on(cpu)?,
                Change::Unknown => online_cpus()?
                    .into_iter()
                    .try_for_each(|cpu| self.record_on(cpu))?,
            }
        }
        Ok(())
    }

    /// Records on a CPU that is new, or has been offline: the events that it had are off it for good.
    fn record_on(&mut self, cpu: usize) -> Result<()> {
        let known = self.rings.iter().position(|ring| ring.cpu == cpu);
        let at = known.unwrap_or(self.rings.len());
        let opened = CpuBell::open(&self.format, cpu).and_then(|mut bell| {
            let ring = Ring::open(&self.format, cpu, self.share, self.fill, &mut bell.event)?;
            Ok((bell, ring))
        });
        let (bell, ring) = match opened {
            Ok(opened) => opened,
            // It has gone again meanwhile.
            Err(_) if !online_cpus()?.contains(&cpu) => return Ok(()),
            Err(e) => {
                let what = format!("cannot watch CPU {cpu}, which has come online");
                return Err(Error::new(e.kind(), what).caused_by(e));
            }
        };
        // Whoever sleeps has not armed this bell.
        self.wake.for_records()?;
        self.wake.watch(perf::fd(&bell.event))?;
        self.wake.watch(ring.fd())?;
        self.wake.bell().put(at, bell)?;
        match self.rings.get_mut(at) {
            Some(place) => {
                let before = mem::replace(place, ring);
                place.succeed(before, &self.format)
            }
            None => {
                self.rings.push(ring);
                Ok(())
            }
        }
    }

    fn fall_asleep(&mut self) -> Result<bool> {
        self.wake
            .fall_asleep(|| self.rings.iter_mut().any(Ring::has_record))
    }
}

impl Source for PerfSource {
    fn kind(&self) -> BackendKind {
        BackendKind::Perf
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.wake.fd()
    }

    fn read(&mut self, max: usize, sink: &mut dyn FnMut(&Record<'_>)) -> Result<Read> {
        let mut read = Read::default();
        loop {
            let drained = self.drain(max, &mut read, sink)?;
            read.undecodable += self
                .rings
                .iter_mut()
                .map(Ring::take_undecodable)
                .sum::<u64>();
            read.ended = drained && self.stopped;
            if read.taken > 0 || !drained || read.ended || self.fall_asleep()? {
                read.taken += read.undecodable as usize;
                return Ok(read);
            }
        }
    }

    fn lost(&self) -> Result<u64> {
        self.rings.iter().map(|ring| ring.lost(self.stopped)).sum()
    }

    fn stop(&mut self) {
        self.wake.bell().disable();
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

//! The perf event of one CPU that records drops, and its ring.

use super::{
    decode::{Item, Sample, decode},
    event,
    format::Format,
};
use crate::{Error, Result, sys::perf};
use perf_event::{ReadFormat, SampleFlag, Sampler};
use std::{collections::VecDeque, io, mem, os::fd::BorrowedFd};

/// Records that are taken out of a ring at a time: a few hundred kilobytes of them.
const MAX_LOOK: usize = 4096;

/// A drop, and how many were lost before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) sample: Sample,
    pub(super) lost_before: u64,
}

/// One CPU's event.
pub(super) struct Ring {
    pub(super) cpu: usize,
    sampler: Sampler,
    /// Taken out of the ring and not handed out yet, in order of time.
    told: VecDeque<Told>,
    /// Losses that were told in the ring and wait for the next drop.
    untold: u64,
    /// All losses that were told in the ring.
    lost: u64,
    /// Samples taken out of the ring, decodable or not.
    taken: u64,
    /// Records that could not be decoded and are not told yet.
    undecodable: u64,
    /// What was lost of the CPU before it went offline and came back.
    lost_earlier: u64,
    /// Whether the kernel says how many it lost (`PERF_FORMAT_LOST`, since Linux 6.0).
    counts_lost: bool,
}

impl Ring {
    /// With a ring of at most `bytes`, a power of two, that wakes whoever waits for it each time that so many per cent of it were
    /// written. Users without CAP_IPC_LOCK may lock only so much memory; a smaller ring loses earlier, and says so. The
    /// event follows `leader`: it records while that one is enabled.
    pub(super) fn open(
        format: &Format,
        cpu: usize,
        bytes: usize,
        wakeup_fill: u32,
        leader: &mut Sampler,
    ) -> Result<Self> {
        let page = rustix::param::page_size();
        let mut bytes = bytes.max(page);
        let mut read = ReadFormat::LOST;
        let sampler = loop {
            let mark = bytes as u64 * u64::from(wakeup_fill) / 100;
            let mut builder = event::builder(format, cpu);
            builder
                .enabled(true)
                .sample_period(1)
                // The kernel takes 0 for half of the ring.
                .wakeup_watermark(mark.max(1) as usize)
                .sample(SampleFlag::TID | SampleFlag::TIME | SampleFlag::CPU | SampleFlag::RAW);
            builder.attrs_mut().read_format = read.bits();
            let event = match builder.build_with_group(&mut *leader) {
                Ok(event) => event,
                // A kernel that does not know the flag refuses it.
                Err(e) if e.kind() == io::ErrorKind::InvalidInput && !read.is_empty() => {
                    read = ReadFormat::empty();
                    continue;
                }
                Err(e) => return Err(event::open_error(cpu, e)),
            };
            match event.sampled(bytes) {
                Ok(sampler) => break sampler,
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied && bytes > page => bytes /= 2,
                Err(e) => return Err(event::map_error(cpu, e)),
            }
        };
        Ok(Self {
            cpu,
            sampler,
            told: VecDeque::new(),
            untold: 0,
            lost: 0,
            taken: 0,
            undecodable: 0,
            lost_earlier: 0,
            counts_lost: !read.is_empty(),
        })
    }

    /// Goes on where the ring before left off, whose event is off its CPU for good.
    pub(super) fn succeed(&mut self, mut before: Self, format: &Format) -> Result<()> {
        // Nothing is written there any more.
        while before.look(format).is_some() {}
        self.lost_earlier = before.lost(true)?;
        self.told = before.told;
        self.untold = before.untold;
        self.undecodable = before.undecodable;
        Ok(())
    }

    /// Becomes readable at the fill mark.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        perf::fd(&self.sampler)
    }

    /// Whether there is something to take.
    pub(super) fn has_record(&mut self) -> bool {
        // A record is given back to the kernel when it is dropped.
        !self.told.is_empty() || self.sampler.next_record().map(mem::forget).is_some()
    }

    /// Takes what is in the ring. Where there may be more, for under a flood there always is and what waits here has no other
    /// bound, gives a time that all of it is later than: that of the middle one of those that wait, since what an
    /// interrupt delayed may have a time before the last one's.
    pub(super) fn look(&mut self, format: &Format) -> Option<u64> {
        for _ in 0..MAX_LOOK {
            let record = self.sampler.next_record()?;
            // In place, but for one that the ring's end cuts in two.
            match decode(record.ty(), &record.to_contiguous(), format) {
                Ok(Item::Sample(sample)) => {
                    self.taken += 1;
                    let lost_before = mem::take(&mut self.untold);
                    insert(
                        &mut self.told,
                        Told {
                            sample,
                            lost_before,
                        },
                    );
                }
                Ok(Item::Lost(count)) => {
                    self.untold = self.untold.saturating_add(count);
                    self.lost = self.lost.saturating_add(count);
                }
                Ok(Item::Other) => {}
                Err(_) => {
                    self.taken += 1;
                    self.undecodable += 1;
                }
            }
        }
        let middle = self.told.get(self.told.len() / 2);
        Some(middle.map_or(0, |told| told.sample.time))
    }

    /// The time of the next drop, if there is one.
    pub(super) fn next_time(&self) -> Option<u64> {
        self.told.front().map(|told| told.sample.time)
    }

    /// The next drop.
    pub(super) fn take(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// How many records since the last time could not be decoded.
    pub(super) fn take_undecodable(&mut self) -> u64 {
        mem::take(&mut self.undecodable)
    }

    /// Losses so far. A kernel that does not count them tells of them in the ring, once there is room
    /// again; and when nothing more is written, the count of all drops tells the rest.
    pub(super) fn lost(&self, stopped: bool) -> Result<u64> {
        if !self.counts_lost && !stopped {
            return Ok(self.lost_earlier + self.lost);
        }
        let mut values = [0u8; 16];
        let len = if self.counts_lost { 16 } else { 8 };
        let got = rustix::io::read(self.fd(), &mut values[..len])
            .map_err(|e| Error::io("cannot read the count of the perf event skb:kfree_skb", e))?;
        if got != len {
            return Err(Error::invalid_data(format!(
                "the count of a perf event has {got} bytes instead of {len}"
            )));
        }
        let value = |n: usize| {
            u64::from_ne_bytes(values[8 * n..8 * n + 8].try_into().expect("eight bytes"))
        };
        let lost = if self.counts_lost {
            value(1)
        } else {
            value(0).saturating_sub(self.taken)
        };
        Ok(self.lost_earlier + lost)
    }
}

/// Where it belongs by its time: nearly always last. The kernel takes the time before the room in the ring, and an
/// interrupt may come between, with drops of its own.
fn insert(told: &mut VecDeque<Told>, new: Told) {
    let later = told.iter().rev();
    let later = later.take_while(|told| told.sample.time > new.sample.time);
    match later.count() {
        0 => told.push_back(new),
        later => told.insert(told.len() - later, new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interrupt_delayed_comes_where_it_belongs() {
        let mut told = VecDeque::new();
        for (time, lost_before) in [(5, 0), (9, 1), (7, 2), (7, 3), (12, 4), (1, 5)] {
            let sample = Sample::at(time);
            insert(
                &mut told,
                Told {
                    sample,
                    lost_before,
                },
            );
        }
        let order = told.iter().map(|told| (told.sample.time, told.lost_before));
        // Those of one time stay in the order of the ring.
        let expected = [(1, 5), (5, 0), (7, 2), (7, 3), (9, 1), (12, 4)];
        assert_eq!(order.collect::<Vec<_>>(), expected);
    }
}

//! The perf event of one CPU that records drops, and its ring.

use super::{
    decode::{Item, Sample, decode},
    event,
    format::Format,
};
use crate::{Error, Result, sys::perf};
use perf_event::{ReadFormat, SampleFlag, Sampler};
use std::{io, mem, os::fd::BorrowedFd};

/// A drop, and how many were lost before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) sample: Sample,
    pub(super) lost_before: u64,
}

/// One CPU's event.
pub(super) struct Ring {
    sampler: Sampler,
    /// Taken out of the ring and not handed out yet.
    next: Option<Told>,
    /// Losses that were told in the ring and wait for the next drop.
    untold: u64,
    /// All losses that were told in the ring.
    lost: u64,
    /// Samples taken out of the ring, decodable or not.
    taken: u64,
    /// Records that could not be decoded and are not told yet.
    undecodable: u64,
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
            sampler,
            next: None,
            untold: 0,
            lost: 0,
            taken: 0,
            undecodable: 0,
            counts_lost: !read.is_empty(),
        })
    }

    /// Becomes readable at the fill mark.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        perf::fd(&self.sampler)
    }

    /// Whether there is something to take.
    pub(super) fn has_record(&mut self) -> bool {
        // A record is given back to the kernel when it is dropped.
        self.next.is_some() || self.sampler.next_record().map(mem::forget).is_some()
    }

    /// Whether a drop was [peeked](Self::peek) at and not taken.
    pub(super) fn is_waiting(&self) -> bool {
        self.next.is_some()
    }

    /// The time of the next drop, if there is one.
    pub(super) fn peek(&mut self, format: &Format) -> Option<u64> {
        if self.next.is_none() {
            self.next = self.read(format);
        }
        self.next.map(|next| next.sample.time)
    }

    /// Hands out what [`peek`](Self::peek) saw.
    pub(super) fn take(&mut self) -> Option<Told> {
        self.next.take()
    }

    /// How many records since the last time could not be decoded.
    pub(super) fn take_undecodable(&mut self) -> u64 {
        mem::take(&mut self.undecodable)
    }

    fn read(&mut self, format: &Format) -> Option<Told> {
        while let Some(record) = self.sampler.next_record() {
            // In place, but for one that the ring's end cuts in two.
            match decode(record.ty(), &record.to_contiguous(), format) {
                Ok(Item::Sample(sample)) => {
                    self.taken += 1;
                    return Some(Told {
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
                    self.undecodable += 1;
                }
            }
        }
        None
    }

    /// Losses so far. A kernel that does not count them tells of them in the ring, once there is room
    /// again; and when nothing more is written, the count of all drops tells the rest.
    pub(super) fn lost(&self, stopped: bool) -> Result<u64> {
        if !self.counts_lost && !stopped {
            return Ok(self.lost);
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
        Ok(if self.counts_lost {
            value(1)
        } else {
            value(0).saturating_sub(self.taken)
        })
    }
}

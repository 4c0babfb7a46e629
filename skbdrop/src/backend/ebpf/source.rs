//! The program, attached, and the ring buffer that it writes to.

use super::{
    bell::EbpfBell,
    config::{Extent, KernelConfig, Pacing},
    cpus::Cpus,
    decode::decode,
    filter::{self, Compiled},
    load::{Loaded, Wanted, possible_cpus, ring},
    misses::misses,
    object,
};
use crate::{
    BackendKind, Error, ErrorKind, Result,
    backend::{LeftOut, Read, Record as Drop, Settings, Source, wake::Wake},
    filter::Plan,
    gate::MAX_SITES,
    sys::{bpf::ProgramType, ring::Ring},
};
use skbdrop_ebpf::ABSENT;
use std::{
    fmt, mem,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

/// What the ring buffer adds to each record (`BPF_RINGBUF_HDR_SZ`).
const RING_HEADER_LEN: usize = 8;
/// A buffer for less would lose most of any burst; one that is smaller than a record would lose all.
const MIN_RECORDS: usize = 8;

/// The program, attached, and its ring buffer.
pub(crate) struct EbpfSource {
    wake: Wake<EbpfBell>,
    ring: Ring,
    cpus: Cpus,
    program: OwnedFd,
    /// Holds the program on the tracepoint; `None` once stopped.
    attachment: Option<OwnedFd>,
    /// Holds the program on `qdisc:qdisc_drop`, where there is one; `None` once stopped.
    qdisc: Option<OwnedFd>,
    program_type: ProgramType,
    limitations: Vec<Error>,
    /// What was told of each CPU's counter of losses.
    lost_seen: Vec<u64>,
    misses_seen: u64,
    /// Losses that wait for the next record.
    untold: u64,
}

impl EbpfSource {
    /// Loads and attaches the program. Where the kernel refuses to copy packets, as under
    /// lockdown=confidentiality, it does so without their bytes and says so. What the plan says no to, and what is
    /// beyond the limits, is left out in the kernel.
    pub(crate) fn open(settings: &Settings, plan: Option<&Plan>) -> Result<Self> {
        let wanted = Extent::of(settings)?;
        let filter = plan.map(filter::compile).transpose()?;
        let filter = filter.as_ref();
        let refusal = match Self::with(settings, wanted, filter) {
            Err(e) if e.kind() == ErrorKind::NotSupported && settings.snap_len > 0 => e,
            opened => return opened,
        };
        match Self::with(settings, wanted.without_packet(), filter) {
            Ok(mut source) => {
                let lacking = "no bytes of packets, so no addresses: the kernel refuses to copy them \
                    (under lockdown=confidentiality it does)";
                let lacking = Error::not_supported(lacking).caused_by(refusal);
                source.limitations.push(lacking);
                Ok(source)
            }
            Err(_) => Err(refusal),
        }
    }

    fn with(settings: &Settings, wanted: Extent, filter: Option<&Compiled>) -> Result<Self> {
        let cpus = possible_cpus()?;
        let record = wanted.layout().size as usize + RING_HEADER_LEN;
        // A ring buffer is of whole pages, which arm64 has of 4, 16 and 64 KiB.
        let page = rustix::param::page_size() as u32;
        let least = (MIN_RECORDS * record).next_power_of_two() as u32;
        let size = settings.buffer_size.max(least).max(page);
        let pacing = Pacing::new(size, settings.wakeup_fill, record as u32, cpus);
        let mut kernel = KernelConfig::new(settings.types()?, wanted, pacing)?;
        let limits = settings.limits;
        kernel.config.sample = limits.threshold().unwrap_or(ABSENT);
        kernel.config.rate_limit = limits.per_second.unwrap_or(ABSENT);
        let mut loaded = Loaded::new(
            &kernel,
            Wanted {
                tp_btf: settings.has_kernel_btf().then_some(object::TP_BTF),
                raw_tp: object::RAW_TP,
                maps: &[
                    (object::RECORDS, Some(size)),
                    (object::BELL, Some(page)),
                    (object::READER, None),
                    (object::CPUS, Some(cpus)),
                    (object::RATES, limits.per_second.map(|_| MAX_SITES as u32)),
                    (object::QDISC_NOTE, None),
                ],
                filter,
                qdisc: wanted.qdisc.map(|facts| facts.tracepoint_id),
            },
        )?;
        let mut limitations = Vec::new();
        let qdisc = loaded.qdisc.take().and_then(|attached| {
            let lacking = "no queueing discipline of a drop: the kernel does not take the program that asks for it";
            attached
                .map_err(|e| limitations.push(Error::new(e.kind(), lacking).caused_by(e)))
                .ok()
        });
        let mut source = Self {
            wake: Wake::new(EbpfBell::new(&mut loaded)?, settings.max_latency)?,
            ring: ring(&loaded.map(object::RECORDS)?, object::RECORDS)?,
            cpus: Cpus::new(&mut loaded)?,
            program: loaded.program,
            attachment: Some(loaded.attachment),
            qdisc,
            program_type: loaded.program_type,
            limitations,
            lost_seen: vec![0; cpus as usize],
            misses_seen: 0,
            untold: 0,
        };
        // Whoever waits before the first look is woken all the same.
        source.wake.fall_asleep(|| source.ring.has_record())?;
        Ok(source)
    }

    /// Hands out records until there are none or `max` are taken, and says whether there are none.
    fn drain(
        &mut self,
        max: usize,
        read: &mut Read,
        sink: &mut dyn FnMut(&Drop<'_>),
    ) -> Result<bool> {
        while read.taken < max {
            let Some(item) = self.ring.next() else {
                return Ok(true);
            };
            if read.taken == 0 {
                self.wake.for_records()?;
            }
            read.taken += 1;
            // It is large, and stays where it is.
            let Ok(decoded) = &mut decode(item) else {
                read.undecodable += 1;
                continue;
            };
            // The kernel lists every CPU that a record can name.
            if let Some(seen) = self.lost_seen.get_mut(usize::from(decoded.cpu)) {
                // The record has the counter's low half, and may be older than what was seen of it meanwhile.
                let new = decoded.lost_on_cpu.wrapping_sub(*seen as u32) as i32;
                let new = u64::try_from(new).unwrap_or(0);
                *seen += new;
                decoded.record.lost_before = mem::take(&mut self.untold) + new;
            }
            sink(&decoded.record);
        }
        Ok(false)
    }

    /// The ring is empty: what was lost by now came before any record to come. A CPU that lost drops may
    /// not have one again for long, so the next record of any CPU tells it.
    fn note_losses(&mut self) {
        for (cpu, seen) in self.lost_seen.iter_mut().enumerate() {
            let now = self.cpus.lost(cpu);
            self.untold += now.saturating_sub(*seen);
            *seen = (*seen).max(now);
        }
        let misses = self.misses();
        self.untold += misses.saturating_sub(mem::replace(&mut self.misses_seen, misses));
    }

    /// Drops that the kernel did not run the program for, as it was running on that CPU already.
    fn misses(&self) -> u64 {
        misses(self.program.as_fd()).unwrap_or(self.misses_seen)
    }
}

impl Source for EbpfSource {
    fn kind(&self) -> BackendKind {
        BackendKind::Ebpf
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.wake.fd()
    }

    fn read(&mut self, max: usize, sink: &mut dyn FnMut(&Drop<'_>)) -> Result<Read> {
        let mut read = Read::default();
        loop {
            let drained = self.drain(max, &mut read, sink)?;
            if drained && read.taken > 0 {
                self.note_losses();
            }
            read.ended = drained && self.attachment.is_none();
            if read.taken > 0 || !drained || read.ended {
                return Ok(read);
            }
            if self.wake.fall_asleep(|| self.ring.has_record())? {
                return Ok(read);
            }
        }
    }

    fn lost(&self) -> Result<u64> {
        let cpus = 0..self.lost_seen.len();
        let no_room: u64 = cpus.map(|cpu| self.cpus.lost(cpu)).sum();
        Ok(no_room + self.misses())
    }

    fn left_out(&self) -> Result<Option<LeftOut>> {
        let mut sum = LeftOut::default();
        for cpu in 0..self.lost_seen.len() {
            sum.filtered += self.cpus.filtered(cpu);
            sum.limited += self.cpus.limited(cpu);
        }
        Ok(Some(sum))
    }

    fn stop(&mut self) {
        if self.attachment.take().is_some() {
            self.qdisc = None;
            // Other CPUs may be in the program still. The kernel's barrier over all CPUs waits for them; where it
            // has none, what they are writing comes out later, or not at all.
            let _ = rustix::thread::membarrier(rustix::thread::MembarrierCommand::Global);
        }
    }

    fn take_limitations(&mut self) -> Vec<Error> {
        mem::take(&mut self.limitations)
    }
}

impl fmt::Debug for EbpfSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EbpfSource")
            .field("program_type", &self.program_type)
            .field("attached", &self.attachment.is_some())
            .field("qdisc", &self.qdisc.is_some())
            .finish_non_exhaustive()
    }
}

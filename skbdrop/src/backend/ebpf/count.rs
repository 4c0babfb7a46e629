//! The program that counts, attached, and its counts.

use super::{
    config::{Extent, KernelConfig, Pacing},
    cpus::Cpus,
    filter,
    load::{Loaded, Wanted, possible_cpus},
    misses::misses,
    object,
};
use crate::{Error, ErrorKind, Result, backend::Settings, filter::Plan};
use aya::maps::{Map, MapData, PerCpuHashMap};
use skbdrop_ebpf::{CountKey, Tally};
use std::{
    fmt,
    mem::offset_of,
    os::fd::{AsFd as _, OwnedFd},
};

/// A key as the kernel has it.
type KeyBytes = [u8; size_of::<CountKey>()];
/// [`Tally`] as the kernel has it: drops and bytes.
type TallyWords = [u64; 2];

/// The program, attached as long as the value lives.
pub(crate) struct EbpfCounts {
    counts: PerCpuHashMap<MapData, KeyBytes, TallyWords>,
    cpus: Cpus,
    possible_cpus: u32,
    program: OwnedFd,
    _attachment: OwnedFd,
}

impl EbpfCounts {
    /// Loads and attaches the program, with room for so many kinds of drops; what makes a kind are bits of
    /// [`by`](super::by). What the plan says no to is not counted by kind.
    pub(crate) fn open(
        settings: &Settings,
        plan: Option<&Plan>,
        by: u32,
        kinds: u32,
    ) -> Result<Self> {
        let filter = plan.map(filter::compile).transpose()?;
        let mut kernel =
            KernelConfig::new(settings.types()?, Extent::default(), Pacing::default())?;
        kernel.config.count_by = by;
        let possible_cpus = possible_cpus()?;
        let mut loaded = Loaded::new(
            &kernel,
            Wanted {
                tp_btf: settings.has_kernel_btf().then_some(object::COUNT_TP_BTF),
                raw_tp: object::COUNT_RAW_TP,
                maps: &[
                    (object::COUNTS, Some(kinds)),
                    (object::CPUS, Some(possible_cpus)),
                ],
                filter: filter.as_ref(),
                qdisc: None,
            },
        )?;
        let counts = Map::from_map_data(loaded.map(object::COUNTS)?)
            .and_then(PerCpuHashMap::try_from)
            .map_err(|e| {
                let what = "the eBPF object's counts are not what they should be";
                Error::invalid_data(what).caused_by(e)
            })?;
        Ok(Self {
            counts,
            cpus: Cpus::new(&mut loaded)?,
            possible_cpus,
            program: loaded.program,
            _attachment: loaded.attachment,
        })
    }

    /// All kinds with what was counted of each.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Result<(CountKey, Tally)>> + '_ {
        self.counts.iter().map(|kind| {
            let (key, by_cpu) = kind.map_err(|e| {
                Error::new(ErrorKind::Other, "cannot read the eBPF program's counts").caused_by(e)
            })?;
            let mut sum = Tally::default();
            for [drops, bytes] in by_cpu.iter() {
                sum.drops += drops;
                sum.bytes += bytes;
            }
            Ok((decode(&key), sum))
        })
    }

    /// What was counted of kinds for which there was no room.
    pub(crate) fn overflow(&self) -> Tally {
        let mut sum = Tally::default();
        for cpu in 0..self.possible_cpus as usize {
            let tally = self.cpus.overflow(cpu);
            sum.drops += tally.drops;
            sum.bytes += tally.bytes;
        }
        sum
    }

    /// Drops that the filter left out.
    pub(crate) fn filtered(&self) -> u64 {
        let cpus = 0..self.possible_cpus as usize;
        cpus.map(|cpu| self.cpus.filtered(cpu)).sum()
    }

    /// Drops that the kernel did not run the program for, as it was running on that CPU already.
    pub(crate) fn misses(&self) -> Result<u64> {
        misses(self.program.as_fd())
            .map_err(|e| Error::io("cannot read how often the eBPF program was left out", e))
    }
}

impl fmt::Debug for EbpfCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EbpfCounts").finish_non_exhaustive()
    }
}

/// A key from its bytes.
fn decode(bytes: &KeyBytes) -> CountKey {
    macro_rules! field {
        ($field:ident: $type:ty) => {{
            const AT: usize = offset_of!(CountKey, $field);
            let mut field = [0; size_of::<$type>()];
            field.copy_from_slice(&bytes[AT..AT + size_of::<$type>()]);
            <$type>::from_ne_bytes(field)
        }};
    }
    CountKey {
        location: field!(location: u64),
        reason: field!(reason: u32),
        ifindex: field!(ifindex: u32),
        netns: field!(netns: u32),
        protocol: field!(protocol: u16),
        reserved: 0,
    }
}

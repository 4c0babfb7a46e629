//! What the programs count on each CPU besides what they hand out.

use super::{load::Loaded, object};
use crate::{Result, sys::shared::SharedWords};
use skbdrop_ebpf::{Cpu, Tally};
use std::{mem::offset_of, sync::atomic::Ordering};

const WORD: usize = size_of::<u64>();

/// A [`Cpu`] for each CPU, in memory that the programs write.
#[derive(Debug)]
pub(super) struct Cpus(SharedWords);

impl Cpus {
    /// Of a program that was loaded.
    pub(super) fn new(loaded: &mut Loaded) -> Result<Self> {
        loaded.words(object::CPUS).map(Self)
    }

    /// Records that found no room on this CPU.
    pub(super) fn lost(&self, cpu: usize) -> u64 {
        self.word(cpu, offset_of!(Cpu, lost))
    }

    /// Drops on this CPU that were of too many kinds.
    pub(super) fn overflow(&self, cpu: usize) -> Tally {
        let at = offset_of!(Cpu, overflow);
        Tally {
            drops: self.word(cpu, at + offset_of!(Tally, drops)),
            bytes: self.word(cpu, at + offset_of!(Tally, bytes)),
        }
    }

    /// Drops on this CPU that the filter left out.
    pub(super) fn filtered(&self, cpu: usize) -> u64 {
        self.word(cpu, offset_of!(Cpu, filtered))
    }

    /// Drops on this CPU that sampling or the limit of drops in a second left out.
    pub(super) fn limited(&self, cpu: usize) -> u64 {
        self.word(cpu, offset_of!(Cpu, limited))
    }

    fn word(&self, cpu: usize, offset: usize) -> u64 {
        let word = self.0.word((cpu * size_of::<Cpu>() + offset) / WORD);
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

//! One run: a contestant, warmed up, and a flood.

use super::{
    Bench,
    contestant::{self, Account, Contestant},
    ground::Flood,
    process::{Process, finish},
};
use crate::Result;
use std::time::Duration;

/// Drops before anything is measured: at the first one names and symbols are read.
const WARM_UP: u64 = 1000;

/// What a run gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The senders' rate, datagrams a second.
    pub(super) rate: f64,
    /// Drops that were made, those of the warming up too.
    pub(super) made: u64,
    /// Drops that were made in the flood.
    flooded: u64,
    pub(super) account: Account,
    /// Time on processors from after the warming up to the end, with what is run afterwards.
    cpu: Duration,
}

/// A contestant that is attached and warm.
#[derive(Debug)]
pub(super) struct Running<'a> {
    bench: &'a Bench,
    contestant: Contestant,
    pub(super) process: Process,
    cpu: Duration,
    made: u64,
}

/// What is left of one that has ended.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) account: Account,
    pub(super) made: u64,
    /// Time on processors since it was warm, with what is run afterwards.
    pub(super) cpu: Duration,
    pub(super) peak_kib: u64,
}

impl<'a> Running<'a> {
    pub(super) fn start(bench: &'a Bench, contestant: Contestant) -> Result<Self> {
        let command =
            contestant.command(&bench.binaries, bench.folder.path(), bench.ground.netns)?;
        let process = Process::start(&bench.binaries, bench.folder.path(), &command)?;
        let mut running = Self {
            bench,
            contestant,
            process,
            cpu: Duration::ZERO,
            made: 0,
        };
        running.flood(Flood::of(WARM_UP))?;
        running.process.settle();
        running.cpu = running.process.cpu();
        Ok(running)
    }

    /// Makes drops; gives the senders' rate.
    pub(super) fn flood(&mut self, flood: Flood) -> Result<f64> {
        self.made += flood.count;
        self.bench.ground.flood(&self.bench.binaries, flood)
    }

    pub(super) fn end(self) -> Result<Left> {
        self.process.settle();
        let folder = self.bench.folder.path();
        let ended = self.process.end()?;
        let mut cpu = ended.cpu.saturating_sub(self.cpu);
        if let Some(command) = self.contestant.afterwards(folder) {
            let processed = contestant::processed(folder);
            cpu += finish(&self.bench.binaries, folder, &command, &processed)?;
        }
        Ok(Left {
            account: self
                .contestant
                .account(&ended.output, &ended.errors, folder)?,
            made: self.made,
            cpu,
            peak_kib: ended.peak_kib,
        })
    }
}

impl Run {
    /// Seconds of processors for a million drops, without what the end takes after no drops too.
    pub(super) fn cpu_per_million(&self, end: Duration) -> f64 {
        self.cpu.saturating_sub(end).as_secs_f64() * 1e6 / self.flooded as f64
    }
}

/// The whole run.
pub(super) fn run(bench: &Bench, contestant: Contestant, flood: Flood) -> Result<Run> {
    let mut running = Running::start(bench, contestant)?;
    let rate = running.flood(flood)?;
    let left = running.end()?;
    Ok(Run {
        rate,
        made: left.made,
        flooded: flood.count,
        account: left.account,
        cpu: left.cpu,
    })
}

/// The senders' rate with nobody watching.
pub(super) fn untraced(bench: &Bench, flood: Flood) -> Result<f64> {
    bench.ground.flood(&bench.binaries, flood)
}

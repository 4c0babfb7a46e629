//! How cost grows: with the rate of drops, the bytes that are taken of each, the size of a filter, the number of places.

use super::{
    Bench,
    contestant::Contestant,
    ground::Flood,
    process::figure,
    run::{Running, untraced},
    statistics::Summary,
};
use crate::{Result, host};
use std::{process::Command, time::Duration};

/// Drops a second; the last is the end of what a sender can.
const RATES: [Option<u64>; 5] = [Some(100), Some(1000), Some(10_000), Some(100_000), None];
/// How long drops come at each rate.
const SPAN: Duration = Duration::from_secs(2);
/// Bytes taken of each packet.
const SNAP_LENGTHS: [u32; 5] = [0, 64, 96, 256, 1500];
/// Of each snap length.
const ROUNDS: usize = 3;
/// Bytes of a datagram that fills an Ethernet frame, so that all snap lengths are used.
const PAYLOAD: u32 = 1472;

#[derive(Debug)]
pub(super) struct Growth {
    pub(super) rates: Vec<AtRate>,
    pub(super) snap_lengths: Vec<AtSnapLength>,
    pub(super) sizes: Vec<AtSize>,
}

#[derive(Debug)]
pub(super) struct AtRate {
    pub(super) asked: Option<u64>,
    /// What it was, datagrams a second.
    pub(super) rate: f64,
    /// Seconds of processors for a million drops.
    pub(super) cpu: f64,
    /// How often the reader waited, for each of a thousand drops.
    pub(super) waits: f64,
    pub(super) lost: u64,
}

#[derive(Debug)]
pub(super) struct AtSnapLength {
    pub(super) bytes: u32,
    /// The senders' rate as a part of the untraced one in the same round.
    pub(super) ratio: Summary,
    /// Seconds of processors for a million drops.
    pub(super) cpu: Summary,
    pub(super) lost: u64,
}

/// What there may be more and less of, as the program `growth` calls it, and in words.
pub(super) const SIZES: [(&str, &str); 3] = [
    (
        "alternatives",
        "With the size of a filter, in nanoseconds a run of the program in the kernel: *port and address*, so many times with `or` \
         between them, where no drop passes and all are asked.",
    ),
    (
        "ports",
        "With so many ports in one filter, none of them that of the drops: they are searched by halves.",
    ),
    (
        "places",
        "With the number of places that drop, in nanoseconds an event of `next_batch`, from records in memory.",
    ),
];

#[derive(Debug)]
pub(super) struct AtSize {
    pub(super) of: &'static str,
    pub(super) count: u64,
    /// Nanoseconds of each drop.
    pub(super) ns: u64,
    /// Those of an empty program at the same time.
    pub(super) empty: Option<u64>,
}

pub(super) fn measure(bench: &Bench) -> Result<Growth> {
    if !bench.options.only.is_empty() {
        return Ok(Growth {
            rates: Vec::new(),
            snap_lengths: Vec::new(),
            sizes: Vec::new(),
        });
    }
    println!("xtask: how cost grows");
    let rates = RATES.into_iter().map(|rate| at_rate(bench, rate));
    Ok(Growth {
        rates: rates.collect::<Result<_>>()?,
        snap_lengths: snap_lengths(bench)?,
        sizes: sizes(bench)?,
    })
}

/// What a flood took of a reader that is warm, up to when it has worked it off.
struct Taken {
    rate: f64,
    cpu: f64,
    waits: f64,
    lost: u64,
}

fn taken(bench: &Bench, bytes: u32, flood: Flood) -> Result<Taken> {
    let mut running = Running::start(bench, Contestant::of_snap_length(bytes))?;
    let (waits, cpu) = (running.process.waits(), running.process.cpu());
    let rate = running.flood(flood)?;
    running.process.settle();
    let waits = running.process.waits() - waits;
    let cpu = running.process.cpu().saturating_sub(cpu);
    let left = running.end()?;
    Ok(Taken {
        rate,
        cpu: cpu.as_secs_f64() * 1e6 / flood.count as f64,
        waits: waits as f64 * 1e3 / flood.count as f64,
        lost: left.account.lost.unwrap_or(0),
    })
}

fn at_rate(bench: &Bench, asked: Option<u64>) -> Result<AtRate> {
    let count = asked.map_or(bench.options.count, |rate| rate * SPAN.as_secs());
    let flood = Flood {
        rate: asked,
        ..Flood::of(count)
    };
    let Taken {
        rate,
        cpu,
        waits,
        lost,
    } = taken(bench, 96, flood)?;
    Ok(AtRate {
        asked,
        rate,
        cpu,
        waits,
        lost,
    })
}

fn snap_lengths(bench: &Bench) -> Result<Vec<AtSnapLength>> {
    let flood = Flood {
        payload: PAYLOAD,
        ..Flood::of(bench.options.count / 2)
    };
    let mut rounds: Vec<Vec<(Taken, f64)>> = SNAP_LENGTHS.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        let bare = untraced(bench, flood)?;
        for (bytes, rounds) in SNAP_LENGTHS.into_iter().zip(&mut rounds) {
            let taken = taken(bench, bytes, flood)?;
            let ratio = taken.rate / bare;
            rounds.push((taken, ratio));
        }
    }
    let of = |rounds: &[(Taken, f64)], figure: fn(&(Taken, f64)) -> f64| {
        Summary::of(rounds.iter().map(figure)).expect("there is a round")
    };
    let lengths = SNAP_LENGTHS
        .into_iter()
        .zip(rounds)
        .map(|(bytes, rounds)| AtSnapLength {
            bytes,
            ratio: of(&rounds, |(_, ratio)| *ratio),
            cpu: of(&rounds, |(taken, _)| taken.cpu),
            lost: rounds.iter().map(|(taken, _)| taken.lost).sum(),
        });
    Ok(lengths.collect())
}

fn sizes(bench: &Bench) -> Result<Vec<AtSize>> {
    let output = host::output(&mut Command::new(bench.binaries.path("growth")));
    let output = output.ok_or("`growth` failed, see above")?;
    Ok(output.lines().filter_map(at_size).collect())
}

fn at_size(line: &str) -> Option<AtSize> {
    let (of, _) = SIZES.into_iter().find(|(of, _)| line.starts_with(*of))?;
    Some(AtSize {
        of,
        count: figure(line, of)?,
        ns: figure(line, "ns")?,
        empty: figure(line, "empty"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sizes_are_read() {
        let ports = at_size("ports=16 ns=140 empty=70").unwrap();
        assert_eq!(
            (ports.of, ports.count, ports.ns, ports.empty),
            ("ports", 16, 140, Some(70))
        );
        assert_eq!(at_size("places=256 ns=300").unwrap().empty, None);
        assert!(at_size("pints=1 ns=1").is_none() && at_size("ports=1").is_none());
    }
}

//! Floods with each contestant in turn, round after round.

use super::{
    Bench,
    contestant::Contestant,
    ground::Flood,
    run::{Run, run, untraced},
    single::Idle,
    statistics::Summary,
};
use crate::Result;

/// All rounds with so many senders.
#[derive(Debug)]
pub(super) struct Tournament {
    pub(super) senders: u32,
    pub(super) count: u64,
    /// The senders' rate with nobody watching, datagrams a second.
    pub(super) untraced: Summary,
    pub(super) rows: Vec<Row>,
}

/// A contestant's rounds.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) contestant: Contestant,
    /// What came of it, or why nothing.
    pub(super) result: Result<Figures>,
}

#[derive(Debug)]
pub(super) struct Figures {
    /// The senders' rate, datagrams a second.
    pub(super) rate: Summary,
    /// The same as a part of the untraced one in its round.
    pub(super) ratio: Summary,
    /// Seconds of processors for a million drops.
    pub(super) cpu: Summary,
    /// Drops of all rounds: made, delivered, told to be lost.
    pub(super) made: u64,
    pub(super) seen: Option<u64>,
    pub(super) lost: Option<u64>,
}

/// Holds it among those that could be started.
pub(super) fn hold(bench: &Bench, idle: &[Idle], senders: u32) -> Result<Tournament> {
    let flood = Flood {
        senders,
        ..Flood::of(bench.options.count)
    };
    let mut bare = Vec::new();
    let mut rows: Vec<(&Idle, Result<Vec<Sample>>)> = idle
        .iter()
        .map(|idle| match &idle.result {
            Ok(_) => (idle, Ok(Vec::new())),
            Err(why) => (idle, Err(why.clone())),
        })
        .collect();
    for round in 1..=bench.options.runs {
        println!(
            "xtask: senders: {senders}, round {round} of {}",
            bench.options.runs
        );
        // Before and after, since the machine is not the same all the time.
        let before = untraced(bench, flood)?;
        let results: Vec<Option<Result<Run>>> = rows
            .iter()
            .map(|(idle, samples)| {
                samples.as_ref().ok()?;
                let run = run(bench, idle.contestant, flood);
                progress(idle, &run);
                Some(run)
            })
            .collect();
        let after = untraced(bench, flood)?;
        bare.extend([before, after]);
        for ((idle, samples), result) in rows.iter_mut().zip(results) {
            match (&mut *samples, result) {
                (Ok(samples), Some(Ok(run))) => samples.push(Sample {
                    ratio: run.rate / ((before + after) / 2.0),
                    cpu: run.cpu_per_million(idle.end()),
                    run,
                }),
                (_, Some(Err(why))) => *samples = Err(why),
                (_, None) | (Err(_), _) => {}
            }
        }
    }
    let rows = rows.into_iter().map(|(idle, samples)| Row {
        contestant: idle.contestant,
        result: samples.map(|samples| figures(&samples)),
    });
    Ok(Tournament {
        senders,
        count: flood.count,
        untraced: Summary::of(bare).expect("there is a round"),
        rows: rows.collect(),
    })
}

/// One run beside the untraced one.
struct Sample {
    run: Run,
    ratio: f64,
    cpu: f64,
}

/// A line for whoever waits.
fn progress(idle: &Idle, run: &Result<Run>) {
    let id = idle.contestant.id;
    match run {
        Ok(run) => println!(
            "  {id:16} {:>6.0} k/s, {:>6.2} s CPU a million, {} of {} seen",
            run.rate / 1e3,
            run.cpu_per_million(idle.end()),
            run.account
                .seen
                .map_or("-".to_owned(), |seen| seen.to_string()),
            run.made
        ),
        Err(why) => println!("  {id:16} failed: {why}"),
    }
}

fn figures(samples: &[Sample]) -> Figures {
    let of = |figure: fn(&Sample) -> f64| {
        Summary::of(samples.iter().map(figure)).expect("there is a round")
    };
    let runs = || samples.iter().map(|sample| sample.run);
    Figures {
        rate: of(|sample| sample.run.rate),
        ratio: of(|sample| sample.ratio),
        cpu: of(|sample| sample.cpu),
        made: runs().map(|run| run.made).sum(),
        seen: runs().map(|run| run.account.seen).sum(),
        lost: runs().map(|run| run.account.lost).sum(),
    }
}

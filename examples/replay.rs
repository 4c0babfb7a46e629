//! Records drops into a file, or plays such a file: an agent that is given a `Replay` for its backend can be
//! tested without root and without a kernel that drops anything.
//!
//! ```text
//! # cargo run --release --example replay -- --record drops.jsonl 100
//! $ cargo run --release --example replay -- drops.jsonl
//! 16:05:22.429544 NO_SOCKET at __udp4_lib_rcv+0x4bc, IPv4 UDP 127.0.0.1:55171 > 127.0.0.1:32968, 47 bytes, lo, …
//! ```

use futures::StreamExt as _;
use skbdrop::{
    Monitor,
    backend::replay::{Recorder, Replay},
};
use skbdrop_examples::{Result, number_of, output, signals};
use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
};

const HELP: &str = "\
replay: records drops into a file, or plays such a file

  replay FILE                  prints the events of a recording
  replay FILE --speed X        … at X times the pace at which they came
  replay --record FILE COUNT   records the next COUNT drops, or those until Ctrl-C
";

enum Act {
    Record(PathBuf, usize),
    Play(PathBuf, Option<f64>),
}

fn main() -> ExitCode {
    skbdrop_examples::run("replay", HELP, act, |act| match act {
        Act::Record(path, count) => record(&path, count),
        Act::Play(path, None) => play(Replay::from_path(path)?),
        Act::Play(path, Some(speed)) => play(Replay::from_path(path)?.speed(speed)?),
    })
}

fn act(parser: &mut lexopt::Parser) -> Result<Option<Act>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut file, mut speed) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("record") if file.is_none() => {
                let (path, count) = (parser.value()?.into(), parser.value()?.parse()?);
                file = Some(Act::Record(path, count));
            }
            Long("speed") => speed = Some(parser.value()?.parse()?),
            Long("help") | Short('h') => return Ok(None),
            Value(path) if file.is_none() => file = Some(Act::Play(path.into(), None)),
            _ => return Err(argument.unexpected()),
        }
    }
    match file {
        Some(Act::Play(path, _)) => Ok(Some(Act::Play(path, speed))),
        Some(act) if speed.is_none() => Ok(Some(act)),
        Some(_) => Err("--speed is for playing".into()),
        None => Err("the name of a file is missing".into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn record(path: &Path, count: usize) -> Result {
    let mut monitor = Monitor::builder().build()?;
    let file =
        File::create(path).map_err(|e| format!("cannot create `{}`: {e}", path.display()))?;
    let mut recorder = Recorder::new(BufWriter::new(file))?;
    let (mut recorded, mut told) = (0, 0);
    let interrupted = pin!(signals::interrupted());
    let mut events = monitor.by_ref().take(count).take_until(interrupted);
    while let Some(event) = events.next().await {
        let event = event?;
        recorded += 1;
        told += event.lost_before;
        recorder.write(&event)?;
    }
    monitor.stop();
    recorder.finish(monitor.stats()?.lost.saturating_sub(told))?;
    eprintln!(
        "replay: {} in `{}`",
        number_of(recorded, "drop"),
        path.display()
    );
    Ok(())
}

fn play(replay: Replay) -> Result {
    let mut out = io::stdout().lock();
    for event in Monitor::builder().source(replay).build()?.iter() {
        if output::closed(writeln!(out, "{}", event?))? {
            break;
        }
    }
    Ok(())
}

//! Records drops into a file, or plays such a file: an agent that is given a `Replay` for its backend can be
//! tested without root and without a kernel that drops anything.
//!
//! ```text
//! # cargo run --example replay -- --record drops.jsonl 100
//! $ cargo run --example replay -- drops.jsonl
//! 16:05:22.429544 NO_SOCKET at __udp4_lib_rcv+0x4bc, IPv4 UDP 127.0.0.1:55171 > 127.0.0.1:32968, 47 bytes, lo, …
//! ```

use skbdrop::{
    Monitor,
    backend::replay::{Recorder, Replay},
};
use std::{
    error::Error,
    fs::File,
    io::{self, BufWriter, Write as _},
    process::ExitCode,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("replay: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--record", path, count] => record(path, count.parse()?),
        [path] => play(Replay::from_path(path)?),
        [path, "--speed", speed] => play(Replay::from_path(path)?.speed(speed.parse()?)),
        _ => Err("replay FILE [--speed X], or replay --record FILE COUNT".into()),
    }
}

fn record(path: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let mut monitor = Monitor::builder().build()?;
    let mut recorder = Recorder::new(BufWriter::new(File::create(path)?))?;
    let mut told = 0;
    for event in monitor.iter().take(count) {
        let event = event?;
        told += event.lost_before;
        recorder.write(&event)?;
    }
    monitor.stop();
    recorder.finish(monitor.stats()?.lost.saturating_sub(told))?;
    Ok(())
}

fn play(replay: Replay) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    for event in Monitor::builder().source(replay).build()?.iter() {
        match writeln!(out, "{}", event?) {
            // A reader that left early has seen enough.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|e| format!("cannot write to standard output: {e}"))?,
        }
    }
    Ok(())
}

//! `latency [--backend NAME] --count N [--interval-ms N]`: how long after a single drop, with nothing else going on, is its
//! event in the reader's hands? Prints, in nanoseconds, `samples=N median=N p99=N max=N lost=N`: from the time that the
//! kernel gave the event to the return of the stream's `next`.

use futures::StreamExt as _;
use skbdrop::{Backend, Monitor};
use std::{
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::Duration,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Drops before the first sample: the kernel's symbols are read at the first.
const WARM_UP: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let (backend, count, interval) = options()?;
    let mut monitor = Monitor::builder().backend(backend).snap_len(96).build()?;
    // A port that was free a moment ago tells our drops from others'.
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let from = socket.local_addr()?.port();
    let process = std::process::id();
    let sender = thread::spawn(move || {
        for _ in 0..count + WARM_UP {
            thread::sleep(interval);
            socket.send_to(&[0; 64], closed).expect("sent");
        }
    });
    let mut samples = Vec::new();
    while samples.len() < count + WARM_UP {
        let event = monitor.next().await.ok_or("the stream ended")??;
        let returned = monotonic_ns()?;
        let ours = match event.src.and_then(|src| src.port) {
            Some(port) => port == from,
            // Not every backend knows the packet.
            None => event.pid == Some(process),
        };
        if ours {
            samples.push(returned.saturating_sub(event.timestamp_ns));
        }
    }
    sender.join().expect("the sender does not panic");
    let mut samples = samples.split_off(WARM_UP);
    samples.sort_unstable();
    let at = |part: f64| samples[((samples.len() - 1) as f64 * part).round() as usize];
    println!(
        "samples={} median={} p99={} max={} lost={}",
        samples.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        monitor.stats()?.lost
    );
    Ok(())
}

/// The clock of the events' times.
fn monotonic_ns() -> Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(1_000_000_000 * u64::try_from(now.tv_sec())? + u64::try_from(now.tv_nsec())?)
}

fn options() -> std::result::Result<(Backend, usize, Duration), lexopt::Error> {
    use lexopt::prelude::*;
    let (mut backend, mut count) = (Backend::Ebpf, 0);
    // Long enough that the reader has nothing to expect.
    let mut interval = Duration::from_millis(20);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("backend") => backend = parser.value()?.parse()?,
            Long("count") => count = parser.value()?.parse()?,
            Long("interval-ms") => interval = Duration::from_millis(parser.value()?.parse()?),
            _ => return Err(argument.unexpected()),
        }
    }
    if count == 0 {
        return Err("usage: latency [--backend NAME] --count N [--interval-ms N]".into());
    }
    Ok((backend, count, interval))
}

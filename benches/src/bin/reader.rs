//! `reader [--backend NAME] [--snap N] [--take stream|batch] [--netns INODE]`: the least program that reads drops, for
//! whoever measures whole processes. Says `ready` once it is attached, reads until its standard input ends, and prints
//! `received=N matched=N lost=N undecodable=N`: matched are the events in that network namespace whose reason has the name
//! `NO_SOCKET` and whose location has a symbol.

use futures::StreamExt as _;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use skbdrop::{Backend, DropEvent, Monitor};
use std::{io, os::fd::AsFd as _, thread};
use tokio::sync::oneshot::{self, Receiver};

/// Events that are taken at a time with `--take batch`: as many as stay in a processor's cache.
const BATCH: usize = 256;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let options = options()?;
    let mut monitor = Monitor::builder()
        .backend(options.backend)
        .snap_len(options.snap)
        .build()?;
    println!("ready");
    let mut matched = 0;
    let count = |event: &DropEvent| {
        let named = event.reason.as_ref().and_then(|reason| reason.name()) == Some("NO_SOCKET");
        let there = match (options.netns, &event.netns) {
            (Some(wanted), Some(netns)) => netns.inode == wanted,
            // Not every backend knows the namespace.
            _ => true,
        };
        matched += u64::from(named && there && event.location.symbol.is_some());
    };
    match options.take {
        Take::Stream => stream(&mut monitor, end_of_input(), count).await?,
        Take::Batch => batches(&mut monitor, count)?,
    }
    let stats = monitor.stats()?;
    println!(
        "received={} matched={matched} lost={} undecodable={}",
        stats.received, stats.lost, stats.undecodable
    );
    Ok(())
}

/// Takes events one by one, as from any stream.
async fn stream(
    monitor: &mut Monitor,
    mut end: Receiver<()>,
    mut count: impl FnMut(&DropEvent),
) -> Result {
    loop {
        // In this order: whether the input has ended is asked when there is no event.
        tokio::select! {
            biased;
            event = monitor.next() => match event {
                Some(event) => count(&event?),
                None => return Ok(()),
            },
            _ = &mut end => break,
        }
    }
    monitor.stop();
    while let Some(event) = monitor.next().await {
        count(&event?);
    }
    Ok(())
}

/// Takes what is there, and waits on the descriptor, as a program with an event loop of its own does.
fn batches(monitor: &mut Monitor, mut count: impl FnMut(&DropEvent)) -> Result {
    let stdin = io::stdin();
    while !monitor.has_ended() {
        let batch = monitor.next_batch(BATCH)?;
        batch.iter().for_each(&mut count);
        if !batch.is_empty() {
            continue;
        }
        let input = PollFd::new(stdin.as_fd(), PollFlags::POLLIN);
        let mut descriptors = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN), input];
        poll(&mut descriptors, PollTimeout::NONE)?;
        // Nothing is ever written to it.
        if descriptors[1].any() == Some(true) {
            monitor.stop();
        }
    }
    Ok(())
}

/// Resolves when the standard input has ended.
fn end_of_input() -> Receiver<()> {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    end
}

enum Take {
    Stream,
    Batch,
}

struct Options {
    backend: Backend,
    snap: usize,
    take: Take,
    netns: Option<u32>,
}

fn options() -> std::result::Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        backend: Backend::Ebpf,
        snap: 96,
        take: Take::Stream,
        netns: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("backend") => options.backend = parser.value()?.parse()?,
            Long("snap") => options.snap = parser.value()?.parse()?,
            Long("netns") => options.netns = Some(parser.value()?.parse()?),
            Long("take") => {
                options.take = match parser.value()?.string()?.as_str() {
                    "stream" => Take::Stream,
                    "batch" => Take::Batch,
                    other => return Err(format!("--take stream or batch, not `{other}`").into()),
                }
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

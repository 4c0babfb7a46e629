//! Prints a line for each packet that the kernel drops, and a summary at the end.
//!
//! ```text
//! # cargo run --release --example watch -- --demo --count 1
//! 16:20:31.204518 NO_SOCKET at __udp4_lib_rcv+0x4bc, IPv4 UDP 127.0.0.1:48710 > 127.0.0.1:60935, 47 bytes, lo, …
//! ```

mod lines;
mod options;
mod summary;

use futures::StreamExt as _;
use lines::Lines;
use options::Options;
use skbdrop::{Filter, Monitor};
use skbdrop_examples::{Result, demo, output, signals, tell_limitations};
use std::{future, process::ExitCode};
use summary::Summary;

fn main() -> ExitCode {
    skbdrop_examples::run("watch", options::HELP, options::parse, watch)
}

// Signals are seen by a thread of the runtime's own, also while this one waits for whoever reads its output.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn watch(options: Options) -> Result {
    let mut monitor = open(&options)?;
    tell_limitations("watch", &monitor);
    let time_is_up = async {
        match options.seconds {
            Some(seconds) => tokio::time::sleep(seconds).await,
            None => future::pending().await,
        }
    };
    let interrupted = tokio::spawn(signals::interrupted());
    tokio::pin!(time_is_up, interrupted);
    if options.demo {
        tokio::spawn(demo::datagrams(5));
    }

    let mut lines = Lines::new(&options);
    let mut summary = Summary::default();
    let mut stopped = false;
    while options.count.is_none_or(|count| summary.events < count) {
        let event = tokio::select! {
            biased;
            _ = &mut interrupted, if !stopped => None,
            () = &mut time_is_up, if !stopped => None,
            event = monitor.next() => match event {
                Some(event) => Some(event?),
                None => break,
            },
        };
        match event {
            Some(event) => {
                let stack = monitor.symbolize(&event.stack);
                if output::closed(lines.event(&event, &stack))? {
                    return Ok(());
                }
                summary.add(&event);
            }
            // What the kernel has queued already still comes, and then the end.
            None => {
                monitor.stop();
                stopped = true;
            }
        }
    }
    if let Some(e) = monitor.symbols_error() {
        eprintln!("watch: locations are without names: {e:#}");
    }
    let text = summary.table(&monitor.stats()?);
    if options.json {
        eprint!("{text}");
    } else {
        output::print(&text)?;
    }
    Ok(())
}

fn open(options: &Options) -> skbdrop::Result<Monitor> {
    let mut builder = Monitor::builder()
        .backend(options.backend)
        .stacks(options.stack);
    if let Some(snap_len) = options.snap_len {
        builder = builder.snap_len(snap_len);
    }
    let filters = [&options.filter, &options.pcap];
    if filters.iter().any(|filter| filter.is_some()) {
        builder = builder.filter(Filter::all_of(filters.into_iter().flatten().cloned()));
    }
    builder.build()
}

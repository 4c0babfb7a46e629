//! Writes dropped packets as pcapng, with why and where they were dropped as comments.
//!
//! ```text
//! # cargo run --release --example pcapng | wireshark -k -i -
//! # cargo run --release --example pcapng -- --demo --count 1 | tshark -r - -T fields -e frame.comment -e udp.dstport
//! NO_SOCKET at __udp4_lib_rcv+0x4bc, netns 4026531833, cpu 1, in pcapng:4711: Nobody on this host listens for …   47262
//! ```

mod capture;

use capture::Capture;
use futures::StreamExt as _;
use skbdrop::{Backend, Monitor};
use skbdrop_examples::{Result, demo, number_of, output, signals, tell_limitations};
use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

const HELP: &str = "\
pcapng: dropped packets as pcapng, with the reason and the place of each as its comment

  pcapng FILE                    writes a file, until Ctrl-C
  pcapng | wireshark -k -i -     shows them as they come

  --backend auto|ebpf|perf|netlink   how to see the drops (default: auto; perf has no packets)
  --count N       end after N packets
  --snaplen N     bytes to take of each packet (default: 128, at most: 16384)
  --demo          send a few datagrams to a closed UDP port on 127.0.0.1
";

/// How long a packet may wait before whoever reads sees it.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Options {
    file: Option<PathBuf>,
    backend: Backend,
    count: Option<u64>,
    snap_len: usize,
    demo: bool,
}

fn main() -> ExitCode {
    skbdrop_examples::run("pcapng", HELP, parse, run)
}

fn run(options: Options) -> Result {
    let out: Box<dyn Write> = match &options.file {
        Some(path) => {
            let file = File::create(path);
            Box::new(file.map_err(|e| format!("cannot create `{}`: {e}", path.display()))?)
        }
        None if io::stdout().is_terminal() => {
            return Err(
                "pcapng is not for a terminal (name a file, or: pcapng | wireshark -k -i -)".into(),
            );
        }
        // Locked once: nothing else writes there.
        None => Box::new(io::stdout().lock()),
    };
    let written = write(&options, out);
    written.or_else(|e| match (e.downcast::<io::Error>(), &options.file) {
        (Ok(e), Some(path)) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write `{}`: {e}", path.display()).into())
        }
        // Wireshark was closed, or `head` has seen enough.
        (Ok(e), _) => Ok(output::closed(Err(*e)).map(drop)?),
        (Err(e), _) => Err(e),
    })
}

// Signals are seen by a thread of the runtime's own, also while this one waits for whoever reads its output.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn write(options: &Options, out: Box<dyn Write>) -> Result {
    let mut monitor = Monitor::builder()
        .backend(options.backend)
        .snap_len(options.snap_len)
        .build()?;
    tell_limitations("pcapng", &monitor);
    let interrupted = tokio::spawn(signals::interrupted());
    tokio::pin!(interrupted);
    let mut capture = Capture::new(BufWriter::new(out), options.snap_len)?;
    // Who waits for the file's head knows by it that drops are seen.
    capture.flush()?;
    if options.demo {
        tokio::spawn(demo::datagrams(5));
    }
    let mut flush = interval(FLUSH_AFTER);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let (mut stopped, mut waiting) = (false, false);
    while options.count.is_none_or(|count| capture.packets() < count) {
        tokio::select! {
            biased;
            _ = &mut interrupted, if !stopped => {
                monitor.stop();
                stopped = true;
            }
            _ = flush.tick(), if waiting => {
                capture.flush()?;
                waiting = false;
            }
            event = monitor.next() => match event {
                Some(event) => {
                    capture.write(&event?)?;
                    waiting = true;
                }
                None => break,
            },
        }
    }
    capture.flush()?;
    let lost = monitor.stats()?.lost;
    eprintln!(
        "pcapng: {} at {}, {lost} lost before they could be written",
        number_of(capture.packets(), "packet"),
        number_of(capture.interfaces(), "interface"),
    );
    Ok(())
}

fn parse(parser: &mut lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        file: None,
        backend: Backend::Auto,
        count: None,
        snap_len: 128,
        demo: false,
    };
    let mut named = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("backend") => options.backend = parser.value()?.parse()?,
            Long("count") => options.count = Some(parser.value()?.parse()?),
            Long("snaplen") => options.snap_len = parser.value()?.parse()?,
            Long("demo") => options.demo = true,
            Long("help") | Short('h') => return Ok(None),
            Value(file) if !named => {
                named = true;
                options.file = (file != "-").then(|| file.into());
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

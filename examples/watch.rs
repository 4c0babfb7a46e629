//! Prints a line for each packet that the kernel drops, and a summary at the end.
//!
//! ```text
//! # cargo run --release --example watch -- --demo --count 1
//! 16:20:31.204518 NO_SOCKET at __udp4_lib_rcv+0x4bc, IPv4 UDP 127.0.0.1:48710 > 127.0.0.1:60935, 47 bytes, lo, …
//! ```

use futures::StreamExt as _;
use skbdrop::{Backend, DropEvent, Filter, Monitor, Stats};
use std::{
    collections::HashMap,
    error::Error,
    future,
    io::{self, Write as _},
    net::UdpSocket,
    process::ExitCode,
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

const HELP: &str = "\
watch: a line for each packet that the kernel drops, until Ctrl-C; then a summary

  --backend auto|ebpf|perf|netlink   how to see the drops (default: auto)
  --json          one JSON object a line; the summary goes to standard error
  --count N       end after N drops
  --seconds S     end after S seconds
  --filter EXPR   those that the filter holds for: 'reason NO_SOCKET and not port 53'
  --pcap EXPR     those that a tcpdump expression accepts: 'udp and host 192.0.2.1'
  --snaplen N     bytes to take of each packet (default: 128)
  --demo          send a few datagrams to a closed UDP port on 127.0.0.1
";

#[derive(Debug, Default)]
struct Options {
    backend: Backend,
    json: bool,
    count: Option<u64>,
    seconds: Option<Duration>,
    filter: Option<Filter>,
    pcap: Option<Filter>,
    snap_len: Option<usize>,
    demo: bool,
}

fn main() -> ExitCode {
    let result = match options() {
        Ok(Some(options)) => watch(&options),
        Ok(None) => {
            print!("{HELP}");
            Ok(())
        }
        Err(e) => Err(format!("{e}\n\n{HELP}").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("watch: {e:#}");
            ExitCode::FAILURE
        }
    }
}

// Signals are seen by a thread of the runtime's own, also while this one waits for whoever reads its output.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn watch(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut builder = Monitor::builder().backend(options.backend);
    if let Some(snap_len) = options.snap_len {
        builder = builder.snap_len(snap_len);
    }
    if options.filter.is_some() || options.pcap.is_some() {
        let filters = [&options.filter, &options.pcap];
        builder = builder.filter(Filter::all_of(filters.into_iter().flatten().cloned()));
    }
    let mut monitor = builder.build()?;
    for limitation in monitor.limitations() {
        eprintln!("watch: {limitation:#}");
    }
    let time_is_up = async {
        match options.seconds {
            Some(seconds) => tokio::time::sleep(seconds).await,
            None => future::pending().await,
        }
    };
    let interrupted = tokio::spawn(interrupted());
    tokio::pin!(time_is_up, interrupted);
    if options.demo {
        tokio::spawn(demo());
    }

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
            Some(event) if closed(print_event(&event, options.json))? => return Ok(()),
            Some(event) => summary.add(&event),
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
        closed(io::stdout().lock().write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// Returns at the first Ctrl-C or SIGTERM; a second one ends the program at once, for the summary may wait for a
/// reader that does not read.
async fn interrupted() {
    let mut terminated = signal(SignalKind::terminate()).expect("a runtime with signals");
    next_signal(&mut terminated).await;
    tokio::spawn(async move {
        next_signal(&mut terminated).await;
        std::process::exit(130);
    });
}

async fn next_signal(terminated: &mut Signal) {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

fn print_event(event: &DropEvent, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, event)?;
        writeln!(out)
    } else {
        writeln!(out, "{event}")
    }
}

/// Whether the reader of a pipe has left, as `head` does; that is no error.
fn closed(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(e) => Err(io::Error::new(
            e.kind(),
            format!("cannot write to standard output: {e}"),
        )),
    }
}

/// Sends datagrams to a UDP port of 127.0.0.1 that nobody listens on.
async fn demo() -> io::Result<()> {
    // A port that was free a moment ago.
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for _ in 0..5 {
        socket.send_to(b"hello", ("127.0.0.1", port))?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// How many drops there were, by reason and function.
#[derive(Debug, Default)]
struct Summary {
    events: u64,
    by_place: HashMap<(String, String), u64>,
}

impl Summary {
    fn add(&mut self, event: &DropEvent) {
        self.events += 1;
        let reason = event
            .reason
            .as_ref()
            .map_or("-".to_owned(), ToString::to_string);
        let place = match &event.location.symbol {
            Some(symbol) => symbol.name.to_string(),
            None => event.location.to_string(),
        };
        *self.by_place.entry((reason, place)).or_default() += 1;
    }

    fn table(&self, stats: &Stats) -> String {
        let mut rows: Vec<_> = self.by_place.iter().collect();
        rows.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let width = rows
            .iter()
            .map(|((reason, _), _)| reason.len())
            .max()
            .unwrap_or(0)
            .max(6);
        let mut text = format!("\n{:>10}  {:width$}  LOCATION\n", "DROPS", "REASON");
        for ((reason, place), count) in rows {
            text += &format!("{count:>10}  {reason:width$}  {place}\n");
        }
        let lost = stats.lost;
        text += &format!(
            "{} shown, {lost} lost before they could be shown",
            self.events
        );
        if stats.filtered > 0 {
            text += &format!(", {} left out by the filter", stats.filtered);
        }
        text + "\n"
    }
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("backend") => options.backend = parser.value()?.parse()?,
            Long("json") => options.json = true,
            Long("count") => options.count = Some(parser.value()?.parse()?),
            Long("seconds") => options.seconds = Some(parser.value()?.parse_with(seconds)?),
            Long("filter") => options.filter = Some(parser.value()?.parse()?),
            Long("pcap") => options.pcap = Some(parser.value()?.parse_with(Filter::pcap)?),
            Long("snaplen") => options.snap_len = Some(parser.value()?.parse()?),
            Long("demo") => options.demo = true,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

fn seconds(text: &str) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

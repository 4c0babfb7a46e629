//! How to embed skbdrop in an agent: a runtime of one's own, a task that reads and one that works, with back-pressure between
//! them, a source that fails and is opened again, the agent's own numbers, and a clean end at SIGTERM.
//!
//! ```text
//! # cargo run --release --example agent -- --every 1
//! received 15, lost 0, undecodable 0, waiting 0 of 1024, opened 1 time
//! ^C
//! received 24, lost 0, undecodable 0, waiting 0 of 1024, opened 1 time
//! handled 24, which told of 0 lost
//!         20  NO_SOCKET in netns lab
//!          4  NETFILTER_DROP in netns lab
//! ```

mod health;
mod reader;
mod worker;

use health::Health;
use reader::Reader;
use skbdrop::{Backend, Monitor};
use skbdrop_examples::{Result, output, signals, tell_limitations};
use std::{process::ExitCode, sync::Arc, time::Duration};
use tokio::{runtime, sync::mpsc, time};
use tokio_util::sync::CancellationToken;
use worker::Worker;

const HELP: &str = "\
agent: reads drops in one task and handles them in another, until Ctrl-C or SIGTERM

  --backend auto|ebpf|perf|netlink   how to see the drops (default: auto)
  --buffer BYTES  the kernel's buffer, which fills while the worker is slow (default: 4194304)
  --work SECONDS  what the worker takes for each drop, to see what a slow one does (default: 0)
  --every SECONDS how often to tell the agent's own numbers (default: 10)
  --grace SECONDS for what is queued at the end (default: 5)
";

/// What may wait between the reader and the worker. It evens out a burst; more belongs into the kernel's buffer, which
/// counts what it has no room for.
const QUEUE: usize = 1024;

#[derive(Clone, Debug)]
struct Options {
    backend: Backend,
    buffer: usize,
    work: Duration,
    every: Duration,
    grace: Duration,
}

fn main() -> ExitCode {
    skbdrop_examples::run("agent", HELP, parse, |options| {
        // One's own runtime. The monitor needs its I/O driver (`enable_io`), this agent its timers as well.
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("agent")
            .enable_all()
            .build()?;
        let result = runtime.block_on(run(options));
        // What still hangs somewhere does not keep the process.
        runtime.shutdown_timeout(Duration::from_secs(1));
        result
    })
}

async fn run(options: Options) -> Result {
    // One token says to all tasks that it is time to end.
    let shutdown = CancellationToken::new();
    let (interrupted, token) = (signals::interrupted(), shutdown.clone());
    tokio::spawn(async move {
        interrupted.await;
        token.cancel();
    });

    let (backend, buffer) = (options.backend, options.buffer);
    let open = move || {
        Monitor::builder()
            .backend(backend)
            .buffer_size(buffer)
            .build()
    };
    // What cannot be opened at the start never could: a privilege is missing, or a kernel's option. Who starts the agent wants
    // to know at once. Only what worked and then failed is tried again.
    let monitor = open()?;
    tell_limitations("agent", &monitor);
    let health = Arc::new(Health::default());
    let (queue, events) = mpsc::channel(QUEUE + 1);
    let reader = Reader::new(open, queue.clone(), Arc::clone(&health), shutdown.clone());
    let mut reader = tokio::spawn(reader.run(monitor));
    let worker = tokio::spawn(Worker::new(options.work).run(events));

    let mut tick = time::interval(options.every);
    tick.tick().await;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // They end by themselves only where one of them panicked.
            _ = &mut reader => return Err("a task has failed".into()),
            // Who read the numbers has seen enough.
            _ = tick.tick() => if tell(&health, &queue)? {
                return Ok(());
            },
        }
    }
    // The reader takes what the kernel has queued, then it ends, and with it the queue's other end, and so the worker.
    drop(queue);
    let both = async { reader.await.and(worker.await) };
    let Ok(worked) = time::timeout(options.grace, both).await else {
        let grace = options.grace;
        return Err(
            format!("not all that was queued was handled in {grace:?} (see --grace)").into(),
        );
    };
    Ok(output::print(&format!(
        "{}{}",
        health.line(0, QUEUE),
        worked?
    ))?)
}

/// The agent's own numbers: a real one exports them beside what it measures. Gives whether nobody reads them any more.
fn tell(health: &Health, queue: &mpsc::Sender<skbdrop::DropEvent>) -> std::io::Result<bool> {
    use std::io::Write as _;
    let line = health.line(health::waiting(queue), QUEUE);
    output::closed(std::io::stdout().write_all(line.as_bytes()))
}

fn parse(parser: &mut lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    use skbdrop_examples::seconds;
    let mut options = Options {
        backend: Backend::Auto,
        buffer: 4 << 20,
        work: Duration::ZERO,
        every: Duration::from_secs(10),
        grace: Duration::from_secs(5),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("backend") => options.backend = parser.value()?.parse()?,
            Long("buffer") => options.buffer = parser.value()?.parse()?,
            Long("work") => options.work = parser.value()?.parse_with(seconds)?,
            Long("every") => options.every = parser.value()?.parse_with(seconds)?,
            Long("grace") => options.grace = parser.value()?.parse_with(seconds)?,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    if options.every.is_zero() {
        return Err("--every 0 would tell nothing else".into());
    }
    Ok(Some(options))
}

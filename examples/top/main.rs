//! Which packets the kernel drops just now, as `top` shows processes: reasons and places by rate, and Enter for the last packets
//! of a reason and what it means.
//!
//! ```text
//! # cargo run --release --features top --example top -- --demo
//! skbdrop top  ebpf  460 drops  17/s  0 lost
//! REASON                    DROPS/S       DROPS EACH SECOND
//! NO_SOCKET                      16         412                 ▁▇▅▇█▃█▇▄█▇▅█▇▅██▅
//! ```
//!
//! It reads the stream of events, not `Counters`, which would cost no time of this process and could not show a packet. So every
//! drop is read: a flood of 500,000 in 15 s took 0.7 s of CPU, with the drawing, and 19 MB at most. Who only needs the numbers
//! counts in the kernel.

mod drops;
mod screen;
mod view;

use crossterm::event::{Event, EventStream, KeyEventKind};
use drops::Drops;
use futures::StreamExt as _;
use ratatui::{Terminal, backend::Backend as TerminalBackend};
use skbdrop::{Backend, Monitor};
use skbdrop_examples::{Result, demo, signals, tell_limitations};
use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use view::{Next, View};

const HELP: &str = "\
top: which packets the kernel drops just now, by reason and place

  --backend auto|ebpf|perf|netlink   how to see the drops (default: auto)
  --demo          send datagrams to a closed UDP port on 127.0.0.1, ten a second

  Up Down   choose a reason              Enter   its last packets, and what it means
  s         sort by rate, sum or name    Esc     back
  q         quit
";

/// How long a key or an event may wait to be seen. To draw is a millisecond or so.
const FRAME: Duration = Duration::from_millis(100);
/// Drops that are taken at a time: well below a millisecond of work.
const BATCH: usize = 256;
/// What a bar of a sparkline stands for.
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Options {
    backend: Backend,
    demo: bool,
}

fn main() -> ExitCode {
    skbdrop_examples::run("top", HELP, parse, top)
}

#[tokio::main(flavor = "current_thread")]
async fn top(options: Options) -> Result {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err("it takes a terminal (the example `watch` prints lines)".into());
    }
    // What these say must not be where the screen will be.
    let monitor = Monitor::builder().backend(options.backend).build()?;
    tell_limitations("top", &monitor);
    let interrupted = tokio::spawn(signals::interrupted());
    if options.demo {
        tokio::spawn(demo::datagrams(usize::MAX));
    }
    // This also has a panic put the terminal back before it is told.
    let mut terminal = ratatui::try_init()
        .map_err(|e| format!("cannot use the terminal for a whole screen: {e}"))?;
    let result = tokio::select! {
        result = run(&mut terminal, monitor) => result,
        _ = interrupted => Ok(()),
    };
    ratatui::restore();
    result
}

async fn run<B>(terminal: &mut Terminal<B>, mut monitor: Monitor) -> Result
where
    B: TerminalBackend<Error: 'static>,
{
    let mut drops = Drops::default();
    let mut view = View::default();
    let mut keys = EventStream::new();
    let mut frame = interval(FRAME);
    frame.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut second = interval_at(Instant::now() + SECOND, SECOND);
    let backend = monitor.backend().name();
    // Nothing changed: nothing is drawn.
    let mut changed = true;
    loop {
        tokio::select! {
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) if key.kind == KeyEventKind::Press => {
                    if view.key(key, &drops) == Next::Quit {
                        return Ok(());
                    }
                    changed = true;
                }
                Some(Ok(_)) => changed = true,
                Some(Err(e)) => return Err(e.into()),
                // The terminal is gone.
                None => return Ok(()),
            },
            _ = second.tick() => {
                drops.second();
                drops.lost = monitor.stats()?.lost;
                changed = true;
            }
            _ = frame.tick(), if changed => {
                terminal.draw(|frame| screen::draw(frame, backend, &drops, &mut view))?;
                changed = false;
            }
            event = monitor.next() => match event {
                Some(event) => {
                    drops.add(event?);
                    // What is there already, without asking for keys between each.
                    monitor.next_batch(BATCH)?.into_iter().for_each(|event| drops.add(event));
                    changed = true;
                }
                None => return Err("the backend gives no more events".into()),
            },
        }
    }
}

fn parse(parser: &mut lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("backend") => options.backend = parser.value()?.parse()?,
            Long("demo") => options.demo = true,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

//! A monitor in a thread of its own, that takes events as they come and says what it took.

use skbdrop::{Backend, BackendKind, Filter, Monitor, Stats};
use std::{
    sync::mpsc::{self, Receiver, Sender, TryRecvError},
    thread,
    time::Duration,
};

/// How long it waits for an event before it looks whether it was asked.
const WAIT: Duration = Duration::from_millis(100);
/// Events at a time.
const BATCH: usize = 1024;

/// What a monitor did so far, with nothing left to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Drops that events stood for.
    pub(crate) events: u64,
    /// Losses that events told of.
    pub(crate) told: u64,
    pub(crate) stats: Stats,
}

impl Taken {
    /// All drops that the monitor has an account of.
    pub(crate) fn sum(&self) -> u64 {
        let stats = self.stats;
        stats.received + stats.lost + stats.filtered + stats.limited + stats.undecodable
    }
}

type Answer = skbdrop::Result<Taken>;

pub(crate) struct Reader {
    pub(crate) backend: BackendKind,
    questions: Sender<Sender<Answer>>,
}

impl Reader {
    pub(crate) fn start(backend: Backend, filter: Filter) -> skbdrop::Result<Self> {
        let monitor = Monitor::builder().backend(backend).filter(filter).build()?;
        let backend = monitor.backend();
        let (questions, asked) = mpsc::channel();
        // It ends with the questions.
        thread::spawn(move || read(monitor, &asked));
        Ok(Self { backend, questions })
    }

    /// What it did so far. It takes what is there first.
    pub(crate) fn taken(&self) -> crate::Result<Taken> {
        let (answer, wait) = mpsc::channel();
        let name = self.backend.name();
        let ended = |_| format!("the monitor of the backend {name} is gone");
        self.questions
            .send(answer)
            .map_err(|e| ended(e.to_string()))?;
        let taken = wait.recv().map_err(|e| ended(e.to_string()))?;
        Ok(taken.map_err(|e| format!("the monitor of the backend {name} failed: {e:#}"))?)
    }
}

fn read(mut monitor: Monitor, asked: &Receiver<Sender<Answer>>) {
    let (mut events, mut told) = (0, 0);
    let mut failed = None;
    loop {
        match asked.try_recv() {
            Ok(answer) => {
                let taken = match failed.take() {
                    Some(e) => Err(e),
                    None => drain(&mut monitor, &mut events, &mut told).and_then(|()| {
                        let stats = monitor.stats()?;
                        Ok(Taken {
                            events,
                            told,
                            stats,
                        })
                    }),
                };
                // Who asked may be gone.
                let _ = answer.send(taken);
            }
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) if failed.is_some() => thread::sleep(WAIT),
            Err(TryRecvError::Empty) => match monitor.next_timeout(WAIT) {
                Ok(Some(event)) => {
                    events += event.count;
                    told += event.lost_before;
                }
                Ok(None) => {}
                Err(e) => failed = Some(e),
            },
        }
    }
}

/// Takes all that is there.
fn drain(monitor: &mut Monitor, events: &mut u64, told: &mut u64) -> skbdrop::Result<()> {
    loop {
        let batch = monitor.next_batch(BATCH)?;
        for event in &batch {
            *events += event.count;
            *told += event.lost_before;
        }
        if batch.is_empty() && !monitor.has_more() {
            return Ok(());
        }
    }
}

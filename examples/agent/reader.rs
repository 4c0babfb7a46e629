//! The task that reads. It owns the monitor.

use crate::health::Health;
use futures::StreamExt as _;
use skbdrop::{DropEvent, Monitor};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc::Sender, task, time};
use tokio_util::sync::CancellationToken;

/// How long to wait before a source that failed is opened again: doubled from failure to failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often the monitor's counts are read.
const COUNT_EVERY: Duration = Duration::from_millis(500);

pub(crate) struct Reader<F> {
    open: F,
    queue: Sender<DropEvent>,
    health: Arc<Health>,
    shutdown: CancellationToken,
}

/// Why a monitor is not read any more.
enum End {
    /// All is read after a shutdown, or there is nobody to read for.
    Shutdown,
    Failed(skbdrop::Error),
}

impl<F> Reader<F>
where
    F: Fn() -> skbdrop::Result<Monitor> + Clone + Send + 'static,
{
    pub(crate) fn new(
        open: F,
        queue: Sender<DropEvent>,
        health: Arc<Health>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            open,
            queue,
            health,
            shutdown,
        }
    }

    /// Reads until shutdown, from this monitor and from those that follow where it fails.
    pub(crate) async fn run(self, mut monitor: Monitor) {
        loop {
            self.health.opened();
            let End::Failed(e) = self.read(&mut monitor).await else {
                return;
            };
            self.health.closed();
            eprintln!("agent: {e:#}");
            match self.open_again().await {
                Some(next) => monitor = next,
                None => return,
            }
        }
    }

    async fn read(&self, monitor: &mut Monitor) -> End {
        let mut count = time::interval(COUNT_EVERY);
        let mut stopped = false;
        let end = loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled(), if !stopped => {
                    // What the kernel has queued still comes, and then the end.
                    monitor.stop();
                    stopped = true;
                }
                _ = count.tick() => {
                    if let Err(e) = self.count(monitor) {
                        break End::Failed(e);
                    }
                }
                received = self.receive(monitor) => match received {
                    Some(Ok(())) => {}
                    Some(Err(e)) => break End::Failed(e),
                    None => break End::Shutdown,
                },
            }
        };
        // The last numbers; that they cannot be had is no news after a failure.
        let _ = self.count(monitor);
        end
    }

    /// Hands one event on. Room comes first: while the queue is full nothing is read, the kernel's buffer fills, and what
    /// finds no room there is counted: the next event has it in `lost_before`, and the monitor in its statistics. No event is
    /// ever in between, so this may be left at any time, as `select!` does.
    async fn receive(&self, monitor: &mut Monitor) -> Option<skbdrop::Result<()>> {
        let room = self.queue.reserve().await.ok()?;
        Some(monitor.next().await?.map(|event| room.send(event)))
    }

    fn count(&self, monitor: &Monitor) -> skbdrop::Result<()> {
        self.health.update(&monitor.stats()?);
        Ok(())
    }

    /// Tries until it works; `None` at shutdown.
    async fn open_again(&self) -> Option<Monitor> {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                () = time::sleep(pause) => {}
            }
            // It takes some 25 ms, in which the runtime's other tasks go on.
            match task::spawn_blocking(self.open.clone()).await {
                Ok(Ok(monitor)) => return Some(monitor),
                Ok(Err(e)) => eprintln!("agent: {e:#} (again in {pause:?})"),
                Err(e) => eprintln!("agent: {e}"),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skbdrop::{
        BackendKind, Error,
        backend::{Read, Record, Source, Time},
    };
    use std::{
        os::fd::{AsFd, BorrowedFd},
        sync::atomic::{AtomicUsize, Ordering},
    };
    use tokio::sync::mpsc;

    /// Gives one event, and then fails.
    #[derive(Debug)]
    struct Failing {
        /// Readable at once, for it has no writer.
        pipe: std::io::PipeReader,
        given: bool,
    }

    impl Failing {
        fn open() -> skbdrop::Result<Monitor> {
            let (pipe, _) = std::io::pipe().expect("a pipe");
            let source = Self { pipe, given: false };
            Monitor::builder().source(source).build()
        }
    }

    impl Source for Failing {
        fn kind(&self) -> BackendKind {
            BackendKind::Other("failing")
        }

        fn fd(&self) -> BorrowedFd<'_> {
            self.pipe.as_fd()
        }

        fn read(&mut self, _: usize, sink: &mut dyn FnMut(&Record<'_>)) -> skbdrop::Result<Read> {
            if std::mem::replace(&mut self.given, true) {
                return Err(error());
            }
            sink(&Record::new(Time::Wall(1)));
            Ok(Read {
                taken: 1,
                ..Read::default()
            })
        }

        fn lost(&self) -> skbdrop::Result<u64> {
            Ok(2)
        }

        fn stop(&mut self) {}

        fn is_of_this_kernel(&self) -> bool {
            false
        }
    }

    /// Any error of the library.
    fn error() -> Error {
        Monitor::builder()
            .snap_len(usize::MAX)
            .build()
            .expect_err("too long")
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_is_opened_again_after_longer_and_longer_pauses() {
        static TRIES: AtomicUsize = AtomicUsize::new(0);
        let open = || match TRIES.fetch_add(1, Ordering::Relaxed) {
            0..3 => Err(error()),
            _ => Failing::open(),
        };
        let (queue, mut events) = mpsc::channel(8);
        let (health, shutdown) = (Arc::new(Health::default()), CancellationToken::new());
        let reader = Reader::new(open, queue, Arc::clone(&health), shutdown.clone());
        let begin = time::Instant::now();
        let task = tokio::spawn(reader.run(Failing::open().expect("it opens")));
        events.recv().await.expect("from the first monitor");
        events
            .recv()
            .await
            .expect("from the one that opened at last");
        // 1 s, 2 s and 4 s, and the fourth try after 8 s more.
        assert_eq!(begin.elapsed().as_secs(), 15);
        shutdown.cancel();
        task.await.expect("it ends");
        let line = health.line(0, 8);
        assert!(line.starts_with("received 2, lost 4, "), "{line}");
        assert!(line.contains("opened 2 times"), "{line}");
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_does_not_wait_for_the_next_try() {
        let (queue, mut events) = mpsc::channel(8);
        let (health, shutdown) = (Arc::new(Health::default()), CancellationToken::new());
        let reader = Reader::new(|| Err(error()), queue, health, shutdown.clone());
        let task = tokio::spawn(reader.run(Failing::open().expect("it opens")));
        events.recv().await.expect("from the first monitor");
        time::sleep(FIRST_PAUSE * 10).await;
        let begin = time::Instant::now();
        shutdown.cancel();
        task.await.expect("it ends");
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}

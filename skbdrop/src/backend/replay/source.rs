//! [`Replay`]: plays a recording as if it were a kernel.

use super::decode::{self, Event, Line};
use crate::{
    BackendKind, Error, ErrorKind, Result,
    backend::{Read, Record, Source},
};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::{
    fmt,
    fs::File,
    io::{BufRead, BufReader, Read as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

/// An event with the most bytes of a packet takes some 40 KiB. A file without newlines must not fill the memory.
const MAX_LINE: u64 = 1 << 20;

/// Plays recorded events, all at once or at the pace at which they came.
///
/// A line that cannot be read ends the stream with an error that has the line's number.
pub struct Replay {
    lines: Box<dyn BufRead + Send>,
    /// The line that was read last, counted from 1.
    number: usize,
    /// The next event, which is not due yet.
    next: Option<Box<Event>>,
    /// Readable when the next event is due.
    timer: OwnedFd,
    pace: Option<Pace>,
    /// What was told of losses: before events that were handed out, and after the last.
    lost: u64,
    ended: bool,
}

/// The recorded time and the present one at the first event.
#[derive(Clone, Copy, Debug)]
struct Pace {
    speed: f64,
    begin: Option<(u64, Instant)>,
}

impl Replay {
    /// Opens a recording.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or is no recording of a version that this crate knows.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path)
            .map_err(|e| Error::io(format!("cannot open the recording `{}`", path.display()), e))?;
        Self::from_reader(BufReader::new(file)).map_err(|e| {
            Error::new(
                e.kind(),
                format!("cannot play the recording `{}`", path.display()),
            )
            .caused_by(e)
        })
    }

    /// Plays what is read from `lines`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no recording of a version that this crate knows.
    pub fn from_reader(lines: impl BufRead + Send + 'static) -> Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )
        .map_err(|e| Error::io("cannot create a timer descriptor", e))?;
        let mut replay = Self {
            lines: Box::new(lines),
            number: 0,
            next: None,
            timer,
            pace: None,
            lost: 0,
            ended: false,
        };
        let first = replay.next_line()?.unwrap_or_default();
        decode::header(&first).map_err(|what| replay.bad(&what))?;
        replay.wake_in(Duration::ZERO)?;
        Ok(replay)
    }

    /// Plays at `speed` times the pace of the recording, instead of all at once.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is not above 0, or not finite.
    pub fn speed(mut self, speed: f64) -> Result<Self> {
        if !(speed.is_finite() && speed > 0.0) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("cannot play at {speed} times the pace (needs a finite number above 0)"),
            ));
        }
        self.pace = Some(Pace { speed, begin: None });
        Ok(self)
    }

    fn bad(&self, what: &str) -> Error {
        Error::invalid_data(format!(
            "line {} of a recording cannot be read: {what}",
            self.number
        ))
    }

    fn next_line(&mut self) -> Result<Option<String>> {
        loop {
            let mut line = String::new();
            let read = (&mut self.lines).take(MAX_LINE).read_line(&mut line);
            self.number += 1;
            if read.map_err(|e| {
                Error::io(
                    format!("cannot read line {} of a recording", self.number),
                    e,
                )
            })? == 0
            {
                return Ok(None);
            }
            if line.len() as u64 == MAX_LINE && !line.ends_with('\n') {
                return Err(self.bad(&format!("it is longer than {MAX_LINE} bytes")));
            }
            if !line.trim().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// The next event, due or not; notes losses and the end.
    fn next_event(&mut self) -> Result<Option<Box<Event>>> {
        while let Some(line) = self.next_line()? {
            match decode::line(&line).map_err(|what| self.bad(&what))? {
                Line::Event(event) => return Ok(Some(event)),
                Line::Lost(lost) => self.lose(lost),
            }
        }
        self.ended = true;
        Ok(None)
    }

    /// Anyone can write any number.
    fn lose(&mut self, lost: u64) {
        self.lost = self.lost.saturating_add(lost);
    }

    /// How long until the event is due; `None` if it is.
    fn wait_for(&mut self, event: &Event) -> Option<Duration> {
        let pace = self.pace.as_mut()?;
        let (then, now) = *pace
            .begin
            .get_or_insert((event.monotonic(), Instant::now()));
        let since = Duration::from_nanos(event.monotonic().saturating_sub(then));
        let due =
            now.checked_add(Duration::try_from_secs_f64(since.as_secs_f64() / pace.speed).ok()?)?;
        due.checked_duration_since(Instant::now())
            .filter(|wait| !wait.is_zero())
    }

    /// Makes the timer readable after `wait`, and so until it is set again.
    fn wake_in(&self, wait: Duration) -> Result<()> {
        // Zero would disarm it.
        let wait = wait.max(Duration::from_nanos(1));
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: wait.as_secs() as i64,
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)
            .map(drop)
            .map_err(|e| Error::io("cannot set a timer descriptor", e))
    }
}

impl Source for Replay {
    fn kind(&self) -> BackendKind {
        BackendKind::Replay
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    fn is_of_this_kernel(&self) -> bool {
        false
    }

    fn read(&mut self, max: usize, sink: &mut dyn FnMut(&Record<'_>)) -> Result<Read> {
        let mut read = Read::default();
        while read.taken < max && !self.ended {
            let next = match self.next.take() {
                Some(next) => Some(next),
                None => self.next_event()?,
            };
            let Some(event) = next else { break };
            if let Some(wait) = self.wait_for(&event) {
                self.next = Some(event);
                self.wake_in(wait)?;
                break;
            }
            let record = event.record();
            self.lose(record.lost_before);
            sink(&record);
            read.taken += 1;
        }
        read.ended = self.ended;
        Ok(read)
    }

    fn lost(&self) -> Result<u64> {
        Ok(self.lost)
    }

    fn stop(&mut self) {
        self.ended = true;
        // Whoever waits learns of the end. That the timer cannot be set is no reason to fail: it only
        // was set before.
        let _ = self.wake_in(Duration::ZERO);
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("line", &self.number)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

//! Joins the group, has drop_monitor on, reads alerts.

use super::{
    bell::{SocketBell, gathering},
    config::Mode,
    control::Control,
    decode::{Taken, decode, time},
    losses::Losses,
    members::Members,
    message::Message,
    socket::{join, open, set_receive_buffer, set_timer, watch_timer},
    switch::{Switch, Wanted},
};
use crate::{
    BackendKind, Error, Result,
    backend::{Read, Record, Settings, Source, Time, Trap, wake::Wake},
    clock,
    process::Maker,
    sys::socket::mem_info,
};
use netlink_sys::Socket;
use std::{
    collections::VecDeque,
    fmt, io, mem,
    ops::Range,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

/// The longest alert: a payload as long as an attribute can be, and what goes with it.
const MAX_MESSAGE: usize = 72 * 1024;
/// For the alerts of one read. With a usual snap length it is room for more than are ever asked for.
const BUFFER: usize = 4 * MAX_MESSAGE;
/// The kernel throws away what waits in the CPUs' queues when it stops tracing, uncounted. They are empty
/// when its worker has not been heard of for so long, on a machine that gives it a turn.
const QUIET: Duration = Duration::from_millis(20);
/// On a machine where packets are dropped all the time it is never quiet.
const QUIET_BY: Duration = Duration::from_millis(500);
/// The least that the kernel takes; 0 would be all of each packet.
const MIN_TRUNC_LEN: u32 = 1;

/// The sockets.
pub(crate) struct NetlinkSource {
    // Declared first: it has the socket too.
    wake: Wake<SocketBell>,
    events: Socket,
    switch: Switch,
    family: u16,
    group: u32,
    /// When to look whether drop_monitor is still on.
    timer: OwnedFd,
    snap_len: usize,
    hardware: bool,
    /// An alert came since the last look at the switch: it was on.
    heard: bool,
    stopped: bool,
    maker: Maker,
    losses: Losses,
    buffer: Vec<u8>,
    /// The messages in the buffer, by their time.
    messages: Vec<(u64, Range<usize>)>,
    /// Records of a summary that were more than asked for.
    counted: VecDeque<Counted>,
}

impl NetlinkSource {
    /// Joins and starts, as far as others have not.
    pub(crate) fn open(settings: &Settings) -> Result<Self> {
        let options = &settings.netlink;
        let control = Control::open()?;
        let family = control.family();
        let members = Members::open(family.group)?;
        let events = open()?;
        let buffer_size = options
            .receive_buffer
            .unwrap_or(settings.buffer_size as usize);
        set_receive_buffer(&events, buffer_size)?;
        join(&events, family.group)?;
        let mut wake = Wake::new(
            SocketBell::new(&events)?,
            gathering(settings.max_latency, buffer_size),
        )?;
        let timer = watch_timer()
            .map_err(|e| Error::io("cannot make a timer to watch `drop_monitor` by", e))?;
        wake.watch(timer.as_fd())?;
        wake.fall_asleep(|| false)?;
        let wanted = Wanted {
            mode: if options.summary {
                Mode::Summary
            } else {
                Mode::Packet
            },
            trunc_len: settings.snap_len.max(MIN_TRUNC_LEN),
            queue_len: options.queue_len,
            hardware: options.hardware,
            when_running: options.when_running,
        };
        // What waits in the socket by the time that the switch is on, and what has been lost by
        // then, is of another's tracing.
        let mut switch = Switch::new(control, members, wanted);
        let entered = switch
            .enter()
            .and_then(|()| Losses::from_now_on(&events, switch.control(), options.hardware));
        let losses = match entered {
            Ok(losses) => losses,
            Err(e) => {
                drop((wake, events));
                switch.leave();
                return Err(e);
            }
        };
        Ok(Self {
            wake,
            events,
            switch,
            family: family.id,
            group: family.group,
            timer,
            snap_len: settings.snap_len as usize,
            hardware: options.hardware,
            heard: false,
            stopped: false,
            maker: Maker::now(),
            losses,
            buffer: Vec::with_capacity(BUFFER),
            messages: Vec::new(),
            counted: VecDeque::new(),
        })
    }

    /// Has drop_monitor on again if it was stopped under us.
    fn watch(&mut self) -> Result<()> {
        let mut ticks = [0; 8];
        let due = rustix::io::read(&self.timer, &mut ticks).is_ok();
        if !due || self.stopped || mem::take(&mut self.heard) {
            return Ok(());
        }
        if !self.switch.watch()? {
            let _ = set_timer(&self.timer, Duration::ZERO, Duration::ZERO);
        }
        Ok(())
    }

    /// Receives at most `max` messages into the buffer. Whether there are no more, and whether the kernel
    /// says that there was no room for some.
    fn receive(&mut self, max: usize) -> Result<(bool, bool)> {
        self.buffer.clear();
        self.messages.clear();
        let (mut drained, mut overrun) = (false, false);
        while self.messages.len() < max && self.buffer.capacity() - self.buffer.len() >= MAX_MESSAGE
        {
            let start = self.buffer.len();
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            match self.events.recv_from(&mut self.buffer, flags) {
                // Only the kernel's word counts.
                Ok((_, sender)) if sender.port_number() != 0 => self.buffer.truncate(start),
                Ok(_) => self.note(start),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    drained = true;
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Said once for any number; the counters have it.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => overrun = true,
                Err(e) => return Err(Error::io("cannot receive from `drop_monitor`", e)),
            }
        }
        self.heard |= !self.messages.is_empty();
        // Each CPU's alerts are in order, one CPU's against another's are not.
        self.messages.sort_by_key(|&(time, _)| time);
        Ok((drained, overrun))
    }

    /// Notes the messages of a datagram; the kernel sends one in each.
    fn note(&mut self, mut start: usize) {
        while start < self.buffer.len() {
            let bytes = &self.buffer[start..];
            let (time, len) = match Message::parse(bytes) {
                Ok((message, rest)) => (time(&message), bytes.len() - rest.len()),
                Err(_) => (None, bytes.len()),
            };
            // Without a time of its own it stays behind the one that it came after.
            let time = time.or(self.messages.last().map(|&(time, _)| time));
            self.messages
                .push((time.unwrap_or_default(), start..start + len));
            start += len;
        }
    }

    /// Waits until what the kernel has queued is in the socket.
    fn wait_until_quiet(&self) {
        let now = || mem_info(self.events.as_fd()).ok();
        let begin = Instant::now();
        let (mut last, mut since) = (now(), begin);
        while since.elapsed() < QUIET && begin.elapsed() < QUIET_BY {
            thread::sleep(QUIET / 10);
            let info = now();
            if info != last {
                (last, since) = (info, Instant::now());
            }
        }
    }

    /// Leaves the group, and the switch to others if there are any.
    fn leave(&mut self) {
        // It can only fail if we are no member.
        let _ = self.events.drop_membership(self.group);
        self.losses.end(self.switch.control());
        self.switch.leave();
        self.stopped = true;
    }
}

impl Source for NetlinkSource {
    fn kind(&self) -> BackendKind {
        BackendKind::Netlink
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.wake.fd()
    }

    fn read(&mut self, max: usize, sink: &mut dyn FnMut(&Record<'_>)) -> Result<Read> {
        self.watch()?;
        let taken = Taken {
            snap_len: self.snap_len,
            hardware: self.hardware,
            now: clock::realtime_ns(),
        };
        let mut read = Read::default();
        let mut handed = 0;
        let mut lost_before = mem::take(&mut self.losses.untold);
        let mut hand = |mut record: Record<'_>| {
            record.lost_before = mem::take(&mut lost_before);
            sink(&record);
        };
        while handed < max {
            let Some(counted) = self.counted.pop_front() else {
                break;
            };
            hand(counted.record());
            handed += 1;
        }
        let (mut drained, mut overrun) = (false, false);
        while handed < max && !drained {
            let full;
            (drained, full) = self.receive(max - handed)?;
            overrun |= full;
            for (_, range) in &self.messages {
                let bytes = &self.buffer[range.clone()];
                let counted = &mut self.counted;
                let decoded = Message::parse(bytes).and_then(|(message, _)| {
                    decode(&message, self.family, taken, &mut |record| {
                        if handed < max {
                            hand(record);
                            handed += 1;
                        } else {
                            counted.push_back(Counted::of(&record));
                        }
                    })
                });
                if decoded.is_err() {
                    read.taken += 1;
                    read.undecodable += 1;
                }
            }
        }
        read.taken += handed;
        self.losses.untold = lost_before;
        if handed > 0 || overrun {
            // What was lost was lost after what could still be queued: it is told with what
            // comes next.
            self.losses.look(&self.events, self.switch.control());
        }
        read.ended = self.stopped && drained && self.counted.is_empty();
        if read.taken > 0 {
            self.wake.for_records()?;
        } else if drained && !read.ended {
            self.wake.fall_asleep(|| false)?;
        }
        Ok(read)
    }

    fn lost(&self) -> Result<u64> {
        self.losses.total(&self.events, self.switch.control())
    }

    fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.wait_until_quiet();
        self.leave();
        // The end is something to wake up for.
        let _ = set_timer(&self.timer, Duration::from_nanos(1), Duration::ZERO);
    }
}

impl Drop for NetlinkSource {
    /// A fork shares the socket's membership with its parent, and the switch is not its own.
    fn drop(&mut self) {
        if !self.stopped && self.maker.is_here() {
            self.leave();
        }
    }
}

impl fmt::Debug for NetlinkSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetlinkSource")
            .field("switch", &self.switch)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

/// An entry of a summary, for the next read.
#[derive(Debug)]
struct Counted {
    time: Time,
    location: Option<u64>,
    trap: Option<Box<[u8]>>,
    count: u64,
}

impl Counted {
    fn of(record: &Record<'_>) -> Self {
        Self {
            time: record.time,
            location: record.location,
            trap: record.trap.map(|trap| trap.name.into()),
            count: record.count,
        }
    }

    fn record(&self) -> Record<'_> {
        let mut record = Record::new(self.time);
        record.location = self.location;
        record.trap = self.trap.as_deref().map(|name| Trap::new(name, None));
        record.count = self.count;
        record
    }
}

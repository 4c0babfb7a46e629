//! [`Monitor`]: an open backend with everything behind it, and its [`Builder`].

use crate::{
    Backend, BackendKind, DropEvent, Error, ErrorKind, Filter, Location, Resolver, Result, Stats,
    backend::{Settings, Source},
    diagnostics::tell,
    filter::Names,
    gate::{Gate, Limits},
    pipeline::Pipeline,
    privileges,
    reactor::Readiness,
    symbols::Locations,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    collections::VecDeque,
    mem,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Events decoded at a time, so the most that a monitor holds besides the kernel's buffer.
const BATCH: usize = 64;
/// Batches that are read in a row where nothing in them is for the user: a filter may leave all of a flood out.
const MAX_ROUNDS: usize = 64;
/// What [`Monitor::next_batch`] hands out at most: a flood does not end.
const MAX_BATCH: usize = 1 << 16;
/// What one record can hold of a packet.
const MAX_SNAP_LEN: usize = 16 * 1024;
/// Enough for Ethernet, two VLAN tags, IPv6 and TCP with all its options.
const DEFAULT_SNAP_LEN: usize = 128;
/// Room for some 15,000 drops with the default snap length.
const DEFAULT_BUFFER_SIZE: usize = 4 << 20;
/// The kernel's limits for a ring buffer are wider, but nobody means them.
const MAX_BUFFER_SIZE: usize = 1 << 30;

/// What a person does not notice, and a hundred wake-ups a second at most.
const DEFAULT_MAX_LATENCY: Duration = Duration::from_millis(10);
/// Nobody means more.
const MAX_MAX_LATENCY: Duration = Duration::from_secs(3600);
/// Leaves room for what comes until the reader has its turn on a busy CPU.
const DEFAULT_WAKEUP_FILL: u32 = 25;

/// Watches the kernel drop packets.
///
/// A monitor is a [`Stream`](futures_core::Stream) of [`DropEvent`]s, see the
/// [crate's documentation](crate#runtimes) for the runtimes; [`iter`](Self::iter) is the
/// same for threads that may block, and [`next_batch`](Self::next_batch) for programs with an event
/// loop of their own, which find the descriptor to wait on by [`AsFd`].
///
/// It sees all drops from the return of [`Builder::build`] on, in all network namespaces. Dropping it
/// leaves nothing in the kernel.
///
/// ```no_run
/// let mut monitor = skbdrop::Monitor::builder().build()?;
/// for event in monitor.iter().take(10) {
///     println!("{}", event?);
/// }
/// # Ok::<(), skbdrop::Error>(())
/// ```
#[derive(Debug)]
pub struct Monitor {
    // Declared before `source`: its copy of the descriptor goes first.
    readiness: Readiness,
    source: Box<dyn Source>,
    pipeline: Pipeline,
    gate: Gate,
    limitations: Vec<Error>,
    pending: VecDeque<DropEvent>,
    /// Events of the last batch.
    last_batch: usize,
    received: u64,
    undecodable: u64,
    /// There may be more to read without waiting, of which the descriptor has told already.
    pub(crate) has_more: bool,
    #[cfg(feature = "tracing")]
    losses: crate::diagnostics::Losses,
    /// The source has no more.
    source_ended: bool,
    /// Nothing more comes: the source has no more and all is taken, or it failed.
    ended: bool,
    /// What is to be told by the next call.
    failure: Option<Error>,
    /// Events that the stream gave without a pause.
    pub(crate) in_a_row: u32,
}

impl Monitor {
    /// Starts with the defaults: automatic backend, 128 bytes of each packet, 4 MiB of buffer.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The backend in use.
    #[must_use]
    pub fn backend(&self) -> BackendKind {
        self.source.kind()
    }

    /// The resolver in use, for example to list the reasons that this kernel has.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        self.pipeline.resolver()
    }

    /// What the backend was asked for and cannot do here, each with the reason: the packet's bytes under
    /// lockdown=confidentiality, for example.
    #[must_use]
    pub fn limitations(&self) -> &[Error] {
        &self.limitations
    }

    /// Why locations are without symbols, if the kernel's list of them could not be read. It is known
    /// from the first event on.
    #[must_use]
    pub fn symbols_error(&self) -> Option<&Error> {
        self.pipeline.symbols_error()
    }

    /// The functions of kernel addresses, for example of an event's [`stack`](DropEvent::stack). The kernel's symbols
    /// are read when the first is asked for.
    ///
    /// ```no_run
    /// let mut monitor = skbdrop::Monitor::builder().stacks(true).build()?;
    /// if let Some(event) = monitor.iter().next().transpose()? {
    ///     for place in monitor.symbolize(&event.stack) {
    ///         println!("    {place}");
    ///     }
    /// }
    /// # Ok::<(), skbdrop::Error>(())
    /// ```
    pub fn symbolize(&mut self, addresses: &[u64]) -> Vec<Location> {
        let places = addresses.iter();
        places
            .map(|&address| self.pipeline.location(address))
            .collect()
    }

    /// Counts since the monitor was built.
    ///
    /// # Errors
    ///
    /// The kernel's counters cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        let left_out = self
            .source
            .left_out()?
            .unwrap_or_else(|| self.gate.left_out());
        Ok(Stats {
            received: self.received,
            lost: self.source.lost()?,
            filtered: left_out.filtered,
            limited: left_out.limited,
            undecodable: self.undecodable,
        })
    }

    /// Detaches from the kernel. Events that it has queued already still come out; then the stream
    /// and the iterators end.
    pub fn stop(&mut self) {
        self.source.stop();
    }

    /// Takes what is there now, at most `max` events and at most 65,536, without waiting. Empty if there
    /// is nothing, or nothing more: [`has_ended`](Self::has_ended) tells. It is also empty where a
    /// [filter](Builder::filter) that is not evaluated in the kernel has left out all of the first 65,536:
    /// [`has_more`](Self::has_more) tells.
    ///
    /// ```no_run
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// let mut monitor = skbdrop::Monitor::builder().build()?;
    /// while !monitor.has_ended() {
    ///     let batch = monitor.next_batch(1024)?;
    ///     for event in &batch {
    ///         println!("{event}");
    ///     }
    ///     if batch.is_empty() && !monitor.has_more() {
    ///         // Here with whatever else the loop waits for.
    ///         poll(&mut [PollFd::new(&monitor, PollFlags::IN)], None)?;
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The backend cannot be read. Events that were taken before are handed out first, and the error by the next
    /// call.
    pub fn next_batch(&mut self, max: usize) -> Result<Vec<DropEvent>> {
        let max = max.min(MAX_BATCH);
        if self.pending.is_empty()
            && let Some(e) = self.failure.take()
        {
            return Err(e);
        }
        // What is read goes straight there, as events are large; and there are as many as the last time.
        let mut batch = Vec::with_capacity(self.last_batch.min(max));
        let mut idle = 0;
        loop {
            let waiting = self.pending.len().min(max - batch.len());
            batch.extend(self.pending.drain(..waiting));
            if batch.len() == max || self.ended {
                break;
            }
            if self.source_ended {
                self.ended = true;
                break;
            }
            let before = batch.len();
            let read = if max - before < BATCH {
                self.refill()
            } else {
                batch.reserve(BATCH);
                self.read(&mut |event| batch.push(event))
            };
            match read {
                Ok(()) if batch.len() > before || !self.pending.is_empty() => {}
                // No more than a batch's worth of what nobody wants.
                Ok(()) if self.has_more && idle + 1 < MAX_BATCH / (MAX_ROUNDS * BATCH) => idle += 1,
                Ok(()) if self.source_ended => {}
                Ok(()) => break,
                Err(e) => {
                    self.ended = true;
                    if batch.is_empty() && self.pending.is_empty() {
                        return Err(e);
                    }
                    // What was read before comes first.
                    self.failure = Some(e);
                }
            }
        }
        self.last_batch = batch.len();
        if batch.capacity() / 4 > batch.len() {
            batch.shrink_to_fit();
        }
        Ok(batch)
    }

    /// Whether there may be events behind an empty [batch](Self::next_batch), all of which were left out. The descriptor
    /// may have told of them already, so whoever waits with it takes the next batch first.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.has_more && !self.ended
    }

    /// Whether nothing more will come: the monitor was stopped and all is taken, a recording is at its
    /// end, or the backend failed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended && self.failure.is_none()
    }

    /// Iterates over events, blocking the thread until the next. Ends after [`stop`](Self::stop),
    /// else never.
    pub fn iter(&mut self) -> Iter<'_> {
        Iter { monitor: self }
    }

    /// The next event if one comes within `timeout`; blocks the thread meanwhile. `None` at the end
    /// of that time, and at the [end](Self::has_ended).
    ///
    /// # Errors
    ///
    /// The backend cannot be read.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<DropEvent>> {
        // The clock is asked only where there is something to wait for.
        let mut deadline = None;
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(Some(event));
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now().checked_add(timeout));
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if self.has_ended() || left == Some(Duration::ZERO) {
                return Ok(None);
            }
            if !self.has_more {
                self.wait(left)?;
            }
        }
    }

    /// An event that is there already. Notes the end: of the source, and by an error.
    #[inline(always)]
    fn try_next(&mut self) -> Result<Option<DropEvent>> {
        self.look()?;
        Ok(self.take())
    }

    /// Reads, where nothing is [pending](Self::take). Notes the end: of the source, and by an error.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            return Ok(());
        }
        if let Some(e) = self.failure.take() {
            return Err(e);
        }
        if !self.source_ended
            && !self.ended
            && let Err(e) = self.refill()
        {
            self.ended = true;
            if self.pending.is_empty() {
                return Err(e);
            }
            // What was read before comes first.
            self.failure = Some(e);
        }
        self.ended |= self.pending.is_empty() && self.source_ended;
        Ok(())
    }

    /// The next of the events that were read. They are large: whoever calls it puts it where it goes, at once.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<DropEvent> {
        self.pending.pop_front()
    }

    /// What a stream waits with, and for.
    pub(crate) fn waiting(&mut self) -> (&mut Readiness, &dyn Source) {
        (&mut self.readiness, &*self.source)
    }

    /// Ends the streams and iterators: it failed.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// [Reads](Self::read) into what is pending.
    fn refill(&mut self) -> Result<()> {
        let mut pending = mem::take(&mut self.pending);
        let read = self.read(&mut |event| pending.push_back(event));
        self.pending = pending;
        read
    }

    /// Reads a batch, or a few until there is an event for the user among what was read. Hands out the events.
    #[inline(always)]
    fn read(&mut self, queue: &mut impl FnMut(DropEvent)) -> Result<()> {
        let Self {
            source,
            pipeline,
            gate,
            received,
            ..
        } = self;
        let kind = source.kind();
        for _ in 0..MAX_ROUNDS {
            pipeline.begin_batch();
            let mut handed_out = false;
            #[cfg(feature = "tracing")]
            let mut lost = 0_u64;
            let read = source.read(BATCH, &mut |record| {
                let mut event = pipeline.event(record, kind);
                if gate.admits(&mut event) {
                    *received = received.saturating_add(event.count);
                    #[cfg(feature = "tracing")]
                    {
                        lost = lost.saturating_add(event.lost_before);
                    }
                    handed_out = true;
                    queue(event);
                }
            })?;
            #[cfg(feature = "tracing")]
            self.losses.note(lost);
            if read.undecodable > 0 {
                tell!(
                    warn,
                    records = read.undecodable,
                    "records could not be decoded"
                );
            }
            self.undecodable += read.undecodable;
            self.source_ended = read.ended;
            // Nothing but what could not be decoded or is not wanted: there may be more behind it, of which the
            // descriptor has told already. A source that has no more hands out nothing.
            self.has_more = !handed_out && !read.ended && read.taken > 0;
            if !self.has_more {
                break;
            }
        }
        Ok(())
    }

    /// Blocks until the backend has something, at most for `timeout`.
    fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        // A time that does not fit is as good as none.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = [PollFd::from_borrowed_fd(self.source.fd(), PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(Error::io("cannot wait for the backend's descriptor", e)),
        }
    }
}

impl AsFd for Monitor {
    /// Readable when there may be events. It is for waiting only: [take batches](Self::next_batch) until one is empty
    /// and there is [no more](Self::has_more), and then wait. After it was added to an epoll, or armed
    /// there again, call [`next_batch`](Self::next_batch) once before the first wait: the perf backend's may have
    /// spent its readiness on that.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }
}

/// Blocking iterator over a [`Monitor`]'s events.
#[derive(Debug)]
pub struct Iter<'a> {
    monitor: &'a mut Monitor,
}

impl Iterator for Iter<'_> {
    type Item = Result<DropEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.monitor.try_next() {
                Ok(Some(event)) => return Some(Ok(event)),
                Err(e) => return Some(Err(e)),
                Ok(None) if self.monitor.has_ended() => return None,
                Ok(None) if self.monitor.has_more => continue,
                Ok(None) => {}
            }
            if let Err(e) = self.monitor.wait(None) {
                self.monitor.end();
                return Some(Err(e));
            }
        }
    }
}

/// Chooses what a [`Monitor`] does. Every setting has a default that suits most.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    backend: Backend,
    snap_len: usize,
    buffer_size: usize,
    max_latency: Duration,
    wakeup_fill: u32,
    btf_file: Option<PathBuf>,
    symbols: bool,
    metadata: bool,
    sockets: bool,
    qdiscs: bool,
    stacks: bool,
    drop_capabilities: bool,
    source: Option<Box<dyn Source>>,
    resolver: Option<Resolver>,
    filter: Option<Filter>,
    limits: Limits,
    #[cfg(feature = "netlink")]
    netlink: crate::backend::NetlinkOptions,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            backend: Backend::Auto,
            snap_len: DEFAULT_SNAP_LEN,
            buffer_size: DEFAULT_BUFFER_SIZE,
            max_latency: DEFAULT_MAX_LATENCY,
            wakeup_fill: DEFAULT_WAKEUP_FILL,
            btf_file: None,
            symbols: true,
            metadata: true,
            sockets: true,
            qdiscs: true,
            stacks: false,
            drop_capabilities: false,
            source: None,
            resolver: None,
            filter: None,
            limits: Limits::default(),
            #[cfg(feature = "netlink")]
            netlink: crate::backend::NetlinkOptions::default(),
        }
    }
}

impl Builder {
    /// Which backend to use; automatic by default.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// How many bytes of each packet to take; 128 by default, 16384 at most. With 0 no byte of
    /// any packet leaves the kernel, and no address is known.
    pub fn snap_len(mut self, bytes: usize) -> Self {
        self.snap_len = bytes;
        self
    }

    /// Size of the buffer between kernel and reader, in bytes; 4 MiB by default, rounded up to a power
    /// of two of at least a page. What finds no room is lost, and counted.
    pub fn buffer_size(mut self, bytes: usize) -> Self {
        self.buffer_size = bytes;
        self
    }

    /// How long a drop may wait for others before the reader is woken for all of them; 10 ms by default. While drops are
    /// rarer than that, each wakes the reader at once. With 0 that is so always, which costs some
    /// microseconds a drop. The netlink backend lets drops gather for 10 ms at most, and only in a receive buffer of at
    /// least 2 MiB, since nothing wakes it when that fills.
    pub fn max_latency(mut self, latency: Duration) -> Self {
        self.max_latency = latency;
        self
    }

    /// How full the buffer may be, in per cent, before a reader that waits for drops to gather is woken in any
    /// case; 25 by default. Less leaves more room for what comes until it has its turn. The perf backend has a part of
    /// the buffer for each CPU, and wakes it each time that so much of one was written.
    pub fn wakeup_fill(mut self, percent: u32) -> Self {
        self.wakeup_fill = percent;
        self
    }

    /// A file with BTF of the running kernel, for kernels that show none themselves: raw BTF, or a
    /// vmlinux with a `.BTF` section. BTF of another kernel gives wrong fields.
    pub fn btf_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.btf_file = Some(path.into());
        self
    }

    /// Whether to tell what the kernel notes of a packet besides its bytes, and the namespace's cookie; yes by default. It is 48
    /// bytes of buffer a drop. The eBPF backend alone can.
    pub fn metadata(mut self, yes: bool) -> Self {
        self.metadata = yes;
        self
    }

    /// Whether to tell the socket that a packet was for, or came from; yes by default. It is 80 bytes of buffer a
    /// drop. The eBPF backend alone can.
    pub fn sockets(mut self, yes: bool) -> Self {
        self.sockets = yes;
        self
    }

    /// Whether to tell the queueing discipline that dropped a packet; yes by default. It is 32 bytes of buffer a drop and a second
    /// program, which runs when a queue drops. Before Linux 7.1 there is nothing to tell, and it costs nothing. The eBPF
    /// backend alone can.
    pub fn qdiscs(mut self, yes: bool) -> Self {
        self.qdiscs = yes;
        self
    }

    /// Whether to take the kernel's call stack at each drop; no by default. It is 520 bytes of buffer a drop, and some
    /// microseconds. The eBPF backend alone can.
    pub fn stacks(mut self, yes: bool) -> Self {
        self.stacks = yes;
        self
    }

    /// Whether to look up the function at each drop's location; yes by default. The kernel's symbols
    /// are read by a thread of their own, which ends after some 60 ms, and take 3 MB.
    pub fn symbols(mut self, yes: bool) -> Self {
        self.symbols = yes;
        self
    }

    /// A backend from outside of this crate, or recorded events, instead of one of [`Backend`].
    pub fn source(mut self, source: impl Source + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What only the netlink backend can be asked for; of no meaning to others.
    #[cfg(feature = "netlink")]
    pub fn netlink(mut self, options: crate::backend::NetlinkOptions) -> Self {
        self.netlink = options;
        self
    }

    /// Which drops to tell of; by default all. What it leaves out is counted in [`Stats::filtered`]. The last call
    /// counts.
    ///
    /// The eBPF backend evaluates it in the kernel, and what is left out costs hardly more than an empty program. With the other
    /// backends it is evaluated on each event.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Tell of one in so many drops, each by chance; by default of all. The rest is counted in [`Stats::limited`].
    /// Only drops that pass the filter are sampled, and the eBPF backend does so in the kernel.
    pub fn sample(mut self, one_in: u32) -> Self {
        self.limits.sample = Some(one_in);
        self
    }

    /// Tell of no more than so many drops of one reason at one place of the kernel in one second of the monotonic
    /// clock; by default there is no limit. The rest is counted in [`Stats::limited`]. Only drops that pass the filter
    /// and the sampling are counted towards it, and the eBPF backend does so in the kernel.
    ///
    /// 4,096 pairs of reason and place are counted apart in one second, far more than a kernel drops at. Of pairs beyond, more
    /// may be told than the limit, never fewer: the eBPF backend's table, which has its entries of earlier seconds in it
    /// as well, forgets about the one that dropped longest ago for each that is new, and counts from 0 what it forgot and
    /// drops again; with the other backends what is beyond is not limited. CPUs that drop for the same reason at the same place in the same moment may each see the
    /// others' drops in the count: then as many fewer are told.
    pub fn limit_rate(mut self, per_second: u32) -> Self {
        self.limits.per_second = Some(per_second);
        self
    }

    /// Where names of reasons come from. By default from the running kernel, whose modules are read when a number
    /// asks for them. If a module may go before its first drop is read, hand in a
    /// [`Resolver::from_kernel`] that was [refreshed](Resolver::refresh): it has read them all.
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Whether [`build`](Self::build), once everything is open, gives up the capabilities of the thread that calls it; no by default.
    ///
    /// The thread is left without effective, permitted, inheritable and ambient capabilities, with `no_new_privs` set, and
    /// without a bounding set where it held CAP_SETPCAP. There is no way back: what it executes gains nothing either, be it
    /// set-user-ID or executed by user 0. The netlink backend keeps CAP_NET_ADMIN, effective and permitted, without which
    /// it could not switch `drop_monitor` off at its end.
    ///
    /// # Threads
    ///
    /// In Linux each thread has capabilities of its own, and a new one those of the thread that starts it; no thread can
    /// take another's away. So build the monitor before other threads are started: in `main`, before the
    /// async runtime is. With tokio's runtime of several threads that is outside of `#[tokio::main]`, whose workers have started
    /// by the time that its body runs; a monitor needs no runtime to be built. Threads that keep capabilities are named in
    /// [`Monitor::limitations`]. This library has none then: symbols are read in `build`, which takes some 60 ms longer for it, and
    /// async-io starts its thread when the stream is first polled.
    ///
    /// # What is different from then on
    ///
    /// * Events have the same fields. The kernel's lists of symbols and modules stay open, two descriptors, so that functions of modules
    ///   that come later are found, too.
    /// * perf: a CPU that comes online cannot be watched. The stream ends with an error that says so.
    /// * Another monitor, [`Counters`](crate::Counters) or [`Symbols::from_kernel`](crate::Symbols::from_kernel) is refused as
    ///   to anybody without privileges.
    ///
    /// The user stays the same, and with it the right to the user's files: user 0 still owns the system's.
    ///
    /// ```no_run
    /// fn main() -> skbdrop::Result<()> {
    ///     let mut monitor = skbdrop::Monitor::builder().drop_capabilities(true).build()?;
    ///     // Threads, runtimes and what reads packets come after it.
    ///     for event in monitor.iter() {
    ///         println!("{}", event?);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn drop_capabilities(mut self, yes: bool) -> Self {
        self.drop_capabilities = yes;
        self
    }

    /// Opens the backend. From its return on every drop is seen.
    ///
    /// # Errors
    ///
    /// The backend is not possible here, or not with these privileges; the error says what is
    /// missing. Or a setting is out of range.
    pub fn build(self) -> Result<Monitor> {
        #[cfg(feature = "netlink")]
        self.netlink.check()?;
        self.check_limits()?;
        let mut settings = Settings {
            buffer_size: self.checked_buffer_size()?,
            snap_len: self.checked_snap_len()?,
            metadata: self.metadata,
            sockets: self.sockets,
            qdiscs: self.qdiscs,
            stacks: self.stacks,
            max_latency: self.checked_max_latency()?,
            wakeup_fill: self.checked_wakeup_fill()?,
            btf_file: self.btf_file,
            given: self.resolver,
            filter: self.filter,
            limits: self.limits,
            #[cfg(feature = "netlink")]
            netlink: self.netlink,
            ..Settings::default()
        };
        if let (Some(filter), Some(given)) = (&settings.filter, &mut settings.given) {
            filter.prepare(given);
        }
        if settings.btf_file.is_some() {
            // A file that was named and is no good must not pass in silence because a backend can do without.
            settings.types()?;
        }
        let is_of_this_kernel = self
            .source
            .as_ref()
            .is_none_or(|source| source.is_of_this_kernel());
        let look_up = self.symbols && is_of_this_kernel;
        // Before anything is attached: a flood would fill the buffer meanwhile.
        let read_ahead = self
            .drop_capabilities
            .then(|| Locations::read_ahead(look_up));
        let mut limitations = Vec::new();
        let (mut source, mut resolver) = match self.source {
            Some(source) => {
                let resolver = match settings.given.take() {
                    Some(resolver) => resolver,
                    // A source from outside may do without the kernel's names.
                    None if is_of_this_kernel => {
                        settings.resolver().unwrap_or_else(|_| Resolver::empty())
                    }
                    None => Resolver::empty(),
                };
                (source, resolver)
            }
            None => {
                let (source, resolver) = self.backend.open(&settings, &mut limitations)?;
                (source, settings.given.take().unwrap_or(resolver))
            }
        };
        limitations.extend(source.take_limitations());
        let filter = settings.filter.as_ref();
        limitations.extend(
            filter
                .iter()
                .flat_map(|filter| filter.limitations(source.kind(), source.is_of_this_kernel())),
        );
        let gate = match source.left_out()? {
            // It leaves out what it has to itself.
            Some(_) => Gate::new(None, Limits::default()),
            None => {
                if let Some(filter) = filter {
                    filter.prepare(&mut resolver);
                }
                let names = Names::new(&resolver, source.kind(), source.is_of_this_kernel());
                Gate::new(
                    filter.map(|filter| filter.plan(&names)).transpose()?,
                    settings.limits,
                )
            }
        };
        let locations = read_ahead.unwrap_or_else(|| match source.kind() {
            // It tells the symbol itself, but in summaries, which come a second after their first drop.
            BackendKind::Netlink => Locations::when_asked(look_up),
            _ => Locations::new(look_up),
        });
        if settings.stacks && source.kind() != BackendKind::Ebpf {
            limitations.push(Error::not_supported(format!(
                "no call stacks: the backend {} has none (the eBPF backend has)",
                source.kind().name()
            )));
        }
        if self.drop_capabilities {
            limitations.extend(privileges::give_up(source.kind())?);
        }
        tell!(info, backend = source.kind().name(), "watching drops");
        #[cfg(feature = "tracing")]
        for limitation in &limitations {
            tell!(warn, backend = source.kind().name(), "{limitation:#}");
        }
        Ok(Monitor {
            readiness: Readiness::default(),
            limitations,
            source,
            pipeline: Pipeline::new(resolver, locations),
            gate,
            pending: VecDeque::with_capacity(BATCH),
            last_batch: 0,
            received: 0,
            undecodable: 0,
            has_more: false,
            #[cfg(feature = "tracing")]
            losses: crate::diagnostics::Losses::default(),
            source_ended: false,
            ended: false,
            failure: None,
            in_a_row: 0,
        })
    }

    fn check_limits(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::new(ErrorKind::InvalidInput, what));
        if self.limits.sample == Some(0) {
            return refuse("cannot tell of one in 0 drops (1 tells of all)");
        }
        if self.limits.per_second == Some(0) {
            return refuse(
                "cannot limit the rate to 0 drops a second (the filter `none` tells of no drop)",
            );
        }
        Ok(())
    }

    fn checked_snap_len(&self) -> Result<u32> {
        u32::try_from(self.snap_len)
            .ok()
            .filter(|_| self.snap_len <= MAX_SNAP_LEN)
            .ok_or_else(|| {
                let given = self.snap_len;
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("the snap length {given} is too large (at most {MAX_SNAP_LEN} bytes)"),
                )
            })
    }

    fn checked_max_latency(&self) -> Result<Duration> {
        let given = self.max_latency;
        if given > MAX_MAX_LATENCY {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the latency {given:?} is too long (at most {MAX_MAX_LATENCY:?})"),
            ));
        }
        Ok(given)
    }

    fn checked_wakeup_fill(&self) -> Result<u32> {
        let given = self.wakeup_fill;
        if given > 100 {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the buffer cannot be full by {given} per cent (at most 100)"),
            ));
        }
        Ok(given)
    }

    fn checked_buffer_size(&self) -> Result<u32> {
        let size = self
            .buffer_size
            .max(rustix::param::page_size())
            .checked_next_power_of_two();
        let size = size
            .filter(|&size| size <= MAX_BUFFER_SIZE)
            .and_then(|size| u32::try_from(size).ok());
        size.ok_or_else(|| {
            let given = self.buffer_size;
            Error::new(
                ErrorKind::InvalidInput,
                format!("the buffer size {given} is too large (at most 1 GiB)"),
            )
        })
    }
}

//! [`NetlinkOptions`]: what only this backend can be asked for.

use crate::{Error, ErrorKind, Result};

/// The kernel's own default.
const DEFAULT_QUEUE_LEN: u32 = 1000;
/// A million packets wait on each CPU: nobody means more.
const MAX_QUEUE_LEN: u32 = 1 << 20;
/// The kernel takes half of what an `int` holds; nobody means more than this.
const MAX_RECEIVE_BUFFER: usize = 1 << 30;

/// Settings of the netlink backend, for [`Builder::netlink`](crate::Builder::netlink).
///
/// What the kernel does not allow, however it is set:
///
/// - Any program with the privilege can stop `drop_monitor` for all, and the kernel does not say so. A monitor
///   that is being read looks once a second, when idle, and starts it again; what is dropped until then,
///   up to two seconds, is neither seen nor counted.
/// - While a monitor has it on, another program's request to start it fails. dropwatch ends then.
/// - Where another program listens as the last monitor ends, `drop_monitor` stays on, as it does where a
///   monitor is killed, or has lost its privileges by its end. The next monitor to end, of any process,
///   stops it.
/// - The configuration that was before is put back. If it was not the kernel's default lengths, and all
///   processes that knew it were killed, the default is.
/// - What is lost is counted exactly, in packet mode, but for what the kernel has no memory to report.
///   Losses are told with an event that comes after them, which need not be the first.
/// - Drops of different CPUs that are within a moment of each other may come in either order.
///
/// ```
/// use skbdrop::{Backend, Monitor, backend::{NetlinkOptions, WhenRunning}};
///
/// let options = NetlinkOptions::new().hardware(true).when_running(WhenRunning::Fail);
/// let monitor = Monitor::builder().backend(Backend::Netlink).netlink(options).build();
/// # drop(monitor);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NetlinkOptions {
    pub(super) summary: bool,
    pub(super) hardware: bool,
    pub(super) queue_len: u32,
    pub(super) receive_buffer: Option<usize>,
    pub(super) when_running: WhenRunning,
}

/// What to do when drop_monitor is on already, by another program's doing or another
/// [`Monitor`](crate::Monitor)'s. There is one for the whole system, with one configuration.
///
/// It is about tracing that somebody may listen to. What a monitor of this crate has left on as it was
/// killed, and nobody listens to, is started anew whatever is chosen here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenRunning {
    /// Share it, with the configuration that it has: packets may come cut to another length, or
    /// counts instead of packets. Another program's is not stopped at the end.
    #[default]
    Listen,
    /// Refuse to build the monitor.
    Fail,
    /// Stop it and start it with the configuration of this monitor, which others that listen get as
    /// well from then on. At the end it runs again as it was found.
    TakeOver,
}

impl Default for NetlinkOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl NetlinkOptions {
    /// The defaults: each packet, drops in software, the kernel's own queue length, sharing.
    pub fn new() -> Self {
        Self {
            summary: false,
            hardware: false,
            queue_len: DEFAULT_QUEUE_LEN,
            receive_buffer: None,
            when_running: WhenRunning::default(),
        }
    }

    /// Whether to have counts per location, about once a second, instead of packets; no by default. It
    /// costs next to nothing however much is dropped, and tells neither reasons nor packets.
    ///
    /// An event has the [`count`](crate::DropEvent::count) of the drops at its
    /// [`location`](crate::DropEvent::location), and the time at which it was read. One without a
    /// location says how often a network device was found to have counted drops of its own, which is
    /// not how many. The kernel counts at 64 locations of each CPU in a second; what is dropped at more is
    /// not told and not counted as lost. Of an alert that is lost nobody knows how many drops it told
    /// of: it counts as one. What was dropped since the last alert is gone when the monitor stops.
    pub fn summary(mut self, yes: bool) -> Self {
        self.summary = yes;
        self
    }

    /// Whether to report drops in hardware as well, from devices with devlink traps; no by default.
    /// Where a trap's action is `drop`, its driver must be told to `trap` or its packets are not
    /// reported (`devlink trap set … action trap`). Traps of control packets never are.
    pub fn hardware(mut self, yes: bool) -> Self {
        self.hardware = yes;
        self
    }

    /// How many packets may wait on each CPU to be reported; 1000 by default, at least 1. It is rounded
    /// up to one of the lengths by which monitors of this crate know their own configuration: 432 to
    /// 447, 1456 to 1471, and so on by 1024. More than can wait are lost, and counted.
    pub fn queue_len(mut self, packets: u32) -> Self {
        self.queue_len = packets;
        self
    }

    /// Size of the socket's receive buffer in bytes, as the kernel accounts for it: a report takes
    /// about a kilobyte. By default that of [`Builder::buffer_size`](crate::Builder::buffer_size).
    /// Without CAP_NET_ADMIN it is bounded by the sysctl `net.core.rmem_max`. What finds no room is
    /// lost, and counted.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// What to do when drop_monitor is on already; share it by default.
    pub fn when_running(mut self, choice: WhenRunning) -> Self {
        self.when_running = choice;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |text| Err(Error::new(ErrorKind::InvalidInput, text));
        let (queue_len, receive_buffer) = (self.queue_len, self.receive_buffer.unwrap_or(0));
        if !(1..=MAX_QUEUE_LEN).contains(&queue_len) {
            return invalid(format!(
                "the queue length {queue_len} is out of range (1 to {MAX_QUEUE_LEN} packets)"
            ));
        }
        if receive_buffer > MAX_RECEIVE_BUFFER {
            return invalid(format!(
                "the receive buffer {receive_buffer} is too large (at most 1 GiB)"
            ));
        }
        Ok(())
    }
}

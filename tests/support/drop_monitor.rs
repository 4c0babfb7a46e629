//! drop_monitor by hand, apart from the library that is tested: its state, its switch, its messages.

use crate::{
    PATIENCE,
    genl::{self, attribute, push},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use std::time::{Duration, Instant};

/// The kernel's numbers (`include/uapi/linux/net_dropmon.h`).
const CONFIG: u8 = 2;
const START: u8 = 3;
const STOP: u8 = 4;
const CONFIG_GET: u8 = 6;
const STATS_GET: u8 = 8;
const ALERT_MODE: u16 = 1;
const TRUNC_LEN: u16 = 9;
const QUEUE_LEN: u16 = 11;
const STATS: u16 = 12;
const HW_DROPS: u16 = 21;
/// The group of alerts, which the kernel gives this number always.
const GROUP: u32 = 1;

/// What is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// 0 for summaries, 1 for packets.
    pub mode: u8,
    /// Bytes of each packet, 0 for all.
    pub trunc_len: u32,
    /// Packets that may wait on each CPU.
    pub queue_len: u32,
}

impl Config {
    /// What the kernel begins with.
    pub const DEFAULT: Self = Self {
        mode: 0,
        trunc_len: 0,
        queue_len: 1000,
    };
}

/// Configuration, and whether it is on.
pub type State = (Config, bool);

/// The present state.
pub fn state() -> State {
    let running = match ask(CONFIG, &[]) {
        Ok(_) => false,
        Err(libc::EBUSY) => true,
        Err(e) => panic!("CONFIG: error {e}"),
    };
    let reply = ask(CONFIG_GET, &[]).expect("CONFIG_GET");
    let number = |kind| {
        let value = attribute(&reply, kind).expect("the attribute is there");
        match *value {
            [byte] => u32::from(byte),
            _ => u32::from_ne_bytes(value.try_into().expect("four bytes")),
        }
    };
    let config = Config {
        mode: number(ALERT_MODE) as u8,
        trunc_len: number(TRUNC_LEN),
        queue_len: number(QUEUE_LEN),
    };
    (config, running)
}

/// Configures it; it must be off.
pub fn configure(config: Config) {
    let mut attributes = Vec::new();
    push(&mut attributes, ALERT_MODE, &[config.mode]);
    push(&mut attributes, TRUNC_LEN, &config.trunc_len.to_ne_bytes());
    push(&mut attributes, QUEUE_LEN, &config.queue_len.to_ne_bytes());
    ask(CONFIG, &attributes).expect("CONFIG");
}

/// Switches it on for software.
pub fn start() {
    ask(START, &[]).expect("START");
}

/// Switches it on for hardware.
pub fn start_hardware() {
    let mut attributes = Vec::new();
    push(&mut attributes, HW_DROPS, &[]);
    ask(START, &attributes).expect("START for hardware");
}

/// Switches it off for all.
pub fn stop() {
    ask(STOP, &[]).expect("STOP");
    let mut attributes = Vec::new();
    push(&mut attributes, HW_DROPS, &[]);
    ask(STOP, &attributes).expect("STOP for hardware");
}

/// Off, and configured as the kernel begins.
pub fn reset() {
    stop();
    configure(Config::DEFAULT);
}

/// Packets that found no room in the CPUs' queues, ever.
pub fn queue_drops() -> u64 {
    let reply = ask(STATS_GET, &[]).expect("STATS_GET");
    let nested = attribute(&reply, STATS).expect("the counters are there");
    let value = attribute(nested, 0).expect("the counter is there");
    u64::from_ne_bytes(value.try_into().expect("eight bytes"))
}

/// Waits until all who listen have taken what was sent to them.
pub fn wait_until_read() {
    let deadline = Instant::now() + PATIENCE;
    let is_read = || {
        let sockets = std::fs::read_to_string("/proc/net/netlink").unwrap();
        sockets.lines().skip(1).all(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let groups = u32::from_str_radix(columns[3], 16).unwrap();
            columns[1] != "16" || groups & GROUP == 0 || columns[4] == "0"
        })
    };
    while !is_read() {
        assert!(Instant::now() < deadline, "a listener does not read");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A socket of the group of alerts.
pub struct Listener(Socket);

impl Listener {
    /// Joins.
    #[expect(clippy::new_without_default, reason = "it needs privileges")]
    pub fn new() -> Self {
        let mut socket = Socket::new(NETLINK_GENERIC).expect("a netlink socket");
        socket.bind(&SocketAddr::new(0, 0)).expect("bound");
        socket.add_membership(GROUP).expect("joined");
        Self(socket)
    }

    /// The next message as it comes, within `patience`.
    pub fn next(&self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        let mut message = Vec::with_capacity(1 << 17);
        while Instant::now() < deadline {
            if self.0.recv_from(&mut message, libc::MSG_DONTWAIT).is_ok() {
                return Some(message);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

/// A request to drop_monitor: the attributes of the reply, or the error's number.
fn ask(command: u8, attributes: &[u8]) -> Result<Vec<u8>, i32> {
    genl::request(
        genl::family("NET_DM", "drop_monitor"),
        command,
        2,
        attributes,
    )
}

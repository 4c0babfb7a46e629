//! Writes one message of drop_monitor, as the kernel sends it, to standard output: how the fixtures of its
//! decoder are made. The argument says which; for hardware a second names the trap. See
//! `tests/fixtures/HOW.md`.

use std::{
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr, UdpSocket},
    time::Duration,
};
use support::{
    drop_monitor::{self, Config, Listener},
    drops::CLOSED,
};

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let (mode, trunc_len) = match what.as_str() {
        "udp4" | "udp6" | "hardware" => (1, 0),
        "cut" => (1, 20),
        "summary" | "hardware-summary" => (0, 0),
        _ => panic!("udp4, udp6, cut, summary, hardware or hardware-summary"),
    };
    drop_monitor::reset();
    drop_monitor::configure(Config {
        mode,
        trunc_len,
        ..Config::DEFAULT
    });
    let listener = Listener::new();
    if what.starts_with("hardware") {
        drop_monitor::start_hardware();
    } else {
        drop_monitor::start();
        send(what == "udp6");
    }
    let trap = std::env::args().nth(2).unwrap_or_default();
    let message = loop {
        let message = listener.next(Duration::from_secs(10)).expect("an alert");
        let holds = |name: &[u8]| message.windows(name.len()).any(|part| part == name);
        if trap.is_empty() || holds(trap.as_bytes()) {
            break message;
        }
    };
    drop_monitor::reset();
    let mut stdout = std::io::stdout();
    stdout.write_all(&message).expect("written");
}

fn send(ipv6: bool) {
    let port = CLOSED;
    if ipv6 {
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a socket");
        socket
            .send_to(b"fixture", (Ipv6Addr::LOCALHOST, port))
            .expect("sent");
    } else {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket
            .send_to(b"fixture", (Ipv4Addr::LOCALHOST, port))
            .expect("sent");
    }
}

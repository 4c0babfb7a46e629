//! `flood --count N [--senders N] [--rate N] [--payload N]`: sends datagrams to a UDP port of 127.0.0.1 that nobody listens on, each of
//! them one `NO_SOCKET` drop, and prints `sent=N ns=N`: how many there were and how long it took.
//!
//! Without a rate, which is in datagrams a second and of all senders together, each sends as fast as it can.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// Discard, which no machine of today serves.
const CLOSED: u16 = 9;
/// Bytes of a datagram, by default: with headers more than 96, a usual snap length.
const PAYLOAD: usize = 64;
/// How often a sender with a rate wakes up to send what is due.
const TICK: Duration = Duration::from_millis(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = options()?;
    let start = Barrier::new(options.senders as usize + 1);
    let (began, sent) = thread::scope(|scope| {
        let senders: Vec<_> = (0..options.senders)
            .map(|n| {
                let share = options.count / options.senders
                    + u64::from(n < options.count % options.senders);
                let rate = options
                    .rate
                    .map(|rate| rate as f64 / options.senders as f64);
                let (start, payload) = (&start, &options.payload);
                scope.spawn(move || {
                    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
                    start.wait();
                    match rate {
                        None => send(&socket, payload, share),
                        Some(rate) => send_at(&socket, payload, share, rate),
                    }
                    share
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        let sent: u64 = senders
            .into_iter()
            .map(|sender| sender.join().expect("a sender"))
            .sum();
        (began, sent)
    });
    println!("sent={sent} ns={}", began.elapsed().as_nanos());
    Ok(())
}

/// Sends so many. The socket is not connected, so it is told nothing of what became of them.
fn send(socket: &UdpSocket, payload: &[u8], count: u64) {
    for _ in 0..count {
        let sent = socket.send_to(payload, (Ipv4Addr::LOCALHOST, CLOSED));
        sent.expect("the loopback takes a datagram");
    }
}

/// Sends so many, `rate` a second.
fn send_at(socket: &UdpSocket, payload: &[u8], count: u64, rate: f64) {
    let began = Instant::now();
    let mut sent = 0;
    while sent < count {
        let due = (began.elapsed().as_secs_f64() * rate) as u64;
        let due = due.clamp(sent, count);
        send(socket, payload, due - sent);
        sent = due;
        thread::sleep(TICK);
    }
}

struct Options {
    count: u64,
    senders: u64,
    rate: Option<u64>,
    payload: Vec<u8>,
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        count: 0,
        senders: 1,
        rate: None,
        payload: vec![0; PAYLOAD],
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("count") => options.count = parser.value()?.parse()?,
            Long("senders") => options.senders = parser.value()?.parse()?,
            Long("rate") => options.rate = Some(parser.value()?.parse()?),
            Long("payload") => options.payload = vec![0; parser.value()?.parse()?],
            _ => return Err(argument.unexpected()),
        }
    }
    if options.count == 0 || options.senders == 0 || options.rate == Some(0) {
        return Err(
            "usage: flood --count N [--senders N] [--rate N] [--payload N], no count of 0".into(),
        );
    }
    Ok(options)
}

//! Drops on demand.

use std::{io::ErrorKind, net::UdpSocket};

/// Sends `count` datagrams to a closed port of 127.0.0.1 as fast as it goes. Each is one drop.
///
/// # Panics
///
/// There is no socket to be had.
pub fn flood(count: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut sent = 0;
    while sent < count {
        match socket.send_to(&[0; 32], "127.0.0.1:9") {
            Ok(_) => sent += 1,
            // What the socket was told of an earlier datagram; this one was not sent.
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
            Err(e) => panic!("datagram {sent}: {e}"),
        }
    }
}

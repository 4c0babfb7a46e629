//! Something to see: drops of our own making.

use std::{io, net::UdpSocket, time::Duration};

/// Sends `count` datagrams, ten a second, to a UDP port of 127.0.0.1 that nobody listens on.
///
/// # Errors
///
/// There is no socket to be had.
pub async fn datagrams(count: usize) -> io::Result<()> {
    // A port that was free a moment ago.
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for _ in 0..count {
        socket.send_to(b"hello", ("127.0.0.1", port))?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

//! Frames made by hand and sent as they are.

use etherparse::PacketBuilder;
use std::{ffi::CString, io, os::fd::FromRawFd as _, os::fd::OwnedFd};

/// Where an IPv4 header is in a frame of [`udp`] and [`tcp`].
pub const IP: usize = 14;
/// Where the transport header is.
pub const TRANSPORT: usize = IP + 20;

/// Ends of a frame's way.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// MAC addresses: sender, receiver.
    pub mac: ([u8; 6], [u8; 6]),
    /// IPv4 addresses: sender, receiver.
    pub ip: ([u8; 4], [u8; 4]),
}

/// A UDP datagram in an Ethernet frame.
#[must_use]
pub fn udp(way: Way, port: u16, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(way.mac.0, way.mac.1)
        .ipv4(way.ip.0, way.ip.1, ttl)
        .udp(40000, port)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// A TCP SYN in an Ethernet frame.
#[must_use]
pub fn tcp(way: Way, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(way.mac.0, way.mac.1)
        .ipv4(way.ip.0, way.ip.1, 64)
        .tcp(40000, port, 1, 1024)
        .syn()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

/// ARP for IPv4, in a frame from the first of each pair to the second; `operation` is 1 for a question, 2 for an answer.
#[must_use]
pub fn arp(mac: [[u8; 6]; 2], ip: [[u8; 4]; 2], operation: u16) -> Vec<u8> {
    let mut frame = [mac[1], mac[0]].concat();
    frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4]);
    frame.extend_from_slice(&operation.to_be_bytes());
    for end in 0..2 {
        frame.extend_from_slice(&mac[end]);
        frame.extend_from_slice(&ip[end]);
    }
    frame
}

/// Mends the IPv4 header checksum after the header was changed.
pub fn fix_ip_checksum(frame: &mut [u8]) {
    frame[IP + 10..IP + 12].fill(0);
    let words = frame[IP..TRANSPORT].chunks_exact(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[IP + 10..IP + 12].copy_from_slice(&(!sum as u16).to_be_bytes());
}

/// Sends a frame by interface `name` of the calling thread's network namespace.
pub fn send(name: &str, frame: &[u8]) {
    send_raw(name, frame).unwrap_or_else(|e| panic!("cannot send a frame by {name}: {e}"));
}

fn send_raw(name: &str, frame: &[u8]) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: socket(2) takes no pointer, and a descriptor that it returns is ours alone.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: the name is a C string; all bytes of the address are plain integers.
    let (index, mut address): (u32, libc::sockaddr_ll) =
        unsafe { (libc::if_nametoindex(name.as_ptr()), std::mem::zeroed()) };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index as i32;
    // SAFETY: both pointers are to values that outlive the call, with their lengths.
    let sent = unsafe {
        libc::sendto(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    if sent == frame.len() as isize {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

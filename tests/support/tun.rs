//! A tun device, by which packets come in without a link-layer header.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::fd::AsRawFd as _,
};

/// `TUNSETIFF` in `include/uapi/linux/if_tun.h`.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;

/// The device; it goes with the value.
pub struct Tun(File);

impl Tun {
    /// Makes one in the calling thread's network namespace. Needs root.
    pub fn new(name: &str) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .unwrap();
        // `struct ifreq`: the name, and flags in the union behind it.
        let mut request = [0u8; 40];
        request[..name.len()].copy_from_slice(name.as_bytes());
        request[16..18].copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
        // SAFETY: the pointer is to as many bytes as the kernel reads and writes, and they outlive the call.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        Self(file)
    }

    /// A packet comes in; nothing happens with what is no IP.
    pub fn send(&self, packet: &[u8]) {
        let _ = (&self.0).write(packet);
    }
}

//! Records from memory, as the eBPF backend has them: what is measured with them is the library without the kernel.

use skbdrop::{
    BackendKind, Layer, Monitor, Resolver,
    backend::{Read, Reason, Record, Source, Time},
};
use std::{
    io::{PipeReader, PipeWriter, Write as _, pipe},
    os::fd::{AsFd as _, BorrowedFd},
};

/// Ethernet, IPv4 and UDP headers of a datagram from port 40000 to port 9 of 127.0.0.1; the payload follows.
const HEADERS: [u8; 42] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x00, // Ethernet
    0x45, 0, 0, 92, 0, 0, 0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, // IPv4
    0x9c, 0x40, 0, 9, 0, 72, 0, 0, // UDP
];

/// A source that never runs dry.
#[derive(Debug)]
pub struct Synthetic {
    packet: Vec<u8>,
    reason: u32,
    places: Vec<u64>,
    made: u64,
    /// Readable for ever: there is a byte in it.
    readable: PipeReader,
    _writer: PipeWriter,
}

impl Synthetic {
    /// Drops for `reason`, a number of the running kernel, with `bytes` of each packet, at each of these
    /// addresses in turn.
    ///
    /// # Panics
    ///
    /// There is no address, or no descriptor to be had.
    #[must_use]
    pub fn new(reason: u32, bytes: usize, places: &[u64]) -> Self {
        assert!(!places.is_empty(), "a drop is somewhere");
        let (readable, mut writer) = pipe().expect("a pipe");
        writer.write_all(b"!").expect("a pipe has room");
        let mut packet = HEADERS.to_vec();
        packet.resize(bytes.max(HEADERS.len()), 0);
        packet.truncate(bytes);
        Self {
            packet,
            reason,
            places: places.to_vec(),
            made: 0,
            readable,
            _writer: writer,
        }
    }
}

impl Source for Synthetic {
    fn kind(&self) -> BackendKind {
        BackendKind::Other("synthetic")
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    fn read(&mut self, max: usize, sink: &mut dyn FnMut(&Record<'_>)) -> skbdrop::Result<Read> {
        for _ in 0..max {
            let place = self.places[self.made as usize % self.places.len()];
            self.made += 1;
            let mut record = Record::new(Time::Monotonic(self.made));
            record.reason = Some(Reason::Number(self.reason));
            record.location = Some(place);
            record.skb_address = Some(self.made);
            record.protocol = Some(0x0800);
            record.packet = &self.packet;
            record.layer = Layer::Ethernet;
            record.network_offset = Some(14);
            record.original_length = Some(106);
            record.ifindex = Some(1);
            record.ifname = Some(b"lo");
            record.netns = Some(1);
            record.cpu = Some(0);
            record.pid = Some(1);
            record.tid = Some(1);
            record.comm = Some(b"synthetic");
            sink(&record);
        }
        Ok(Read {
            taken: max,
            ..Read::default()
        })
    }

    fn lost(&self) -> skbdrop::Result<u64> {
        Ok(0)
    }

    fn stop(&mut self) {}
}

/// Addresses of so many functions of the running kernel. Takes root.
///
/// # Panics
///
/// The kernel shows no addresses.
#[must_use]
pub fn places(count: usize) -> Vec<u64> {
    let text = std::fs::read_to_string("/proc/kallsyms").expect("/proc is mounted");
    let functions = text
        .lines()
        .filter(|line| line[17..].starts_with(['t', 'T']));
    let addresses = functions.map(|line| u64::from_str_radix(&line[..16], 16).expect("an address"));
    let mut places: Vec<u64> = addresses.collect();
    places.sort_unstable();
    places.dedup();
    assert!(
        places.len() > count,
        "the kernel shows no addresses: not root?"
    );
    // Far from each other, as places of drops are.
    let step = places.len() / count;
    places.into_iter().step_by(step).take(count).collect()
}

/// A monitor of drops for `NO_SOCKET` at so many places, with `bytes` of each packet.
///
/// # Panics
///
/// It takes root, a kernel that gives reasons, and BTF.
#[must_use]
pub fn monitor(bytes: usize, count: usize) -> Monitor {
    let resolver = Resolver::from_kernel().expect("BTF");
    let reason = resolver
        .reasons()
        .find(|reason| reason.name() == Some("NO_SOCKET"));
    let number = reason
        .and_then(|reason| reason.raw())
        .expect("every kernel since 5.17");
    let mut monitor = Monitor::builder()
        .resolver(resolver)
        .source(Synthetic::new(number, bytes, &places(count)))
        .build()
        .expect("it needs nothing");
    let event = monitor.iter().next().expect("one").expect("a good one");
    assert!(event.location.symbol.is_some(), "no symbols: not root?");
    assert_eq!(event.reason.and_then(|reason| reason.raw()), Some(number));
    monitor
}

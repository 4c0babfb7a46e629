//! From a backend's record to an event: names, symbols, addresses, wall-clock time.

use crate::{
    BackendKind, DropEvent, Error, EtherType, Location, NetNs, Packet, Resolver,
    event::Headers,
    record::{RawRecord, text},
    symbols::Locations,
};
use bytes::{Bytes, BytesMut};
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Packets' bytes are cut from blocks of this many, so that an event needs no allocation of its
/// own. A block lives as long as the last event that holds a part of it.
const BLOCK: usize = 64 * 1024;
/// Names of tasks and interfaces that are remembered; past it all are forgotten and learnt anew.
const MAX_NAMES: usize = 4096;

/// Looks up what a record only has numbers for.
#[derive(Debug)]
pub(crate) struct Pipeline {
    resolver: Resolver,
    locations: Option<Locations>,
    names: HashMap<[u8; 16], Arc<str>>,
    block: BytesMut,
    clock: Clock,
}

impl Pipeline {
    /// `locations` is `None` if locations are to stay addresses.
    pub(crate) fn new(resolver: Resolver, locations: Option<Locations>) -> Self {
        Self {
            resolver,
            locations,
            names: HashMap::new(),
            block: BytesMut::new(),
            clock: Clock::now(),
        }
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(crate) fn symbols_error(&self) -> Option<&Error> {
        self.locations.as_ref()?.error()
    }

    /// To be called before each batch: the wall clock may have been set.
    pub(crate) fn begin_batch(&mut self) {
        self.clock = Clock::now();
    }

    pub(crate) fn event(&mut self, record: RawRecord<'_>, backend: BackendKind) -> DropEvent {
        let protocol = record.protocol.map(EtherType);
        let headers = Headers::parse(record.packet, record.layer, record.network_offset, protocol);
        let symbol = match (record.location, &mut self.locations) {
            (Some(address), Some(locations)) => locations.resolve(address),
            _ => None,
        };
        DropEvent {
            timestamp_ns: record.monotonic_ns,
            wall_time: self.clock.wall_time(record.monotonic_ns),
            reason: record.reason.map(|raw| self.resolver.reason(raw)),
            location: Location {
                address: record.location,
                symbol,
            },
            protocol,
            length: record.original_length,
            src: headers.src,
            dst: headers.dst,
            transport: headers.transport,
            packet: Packet {
                bytes: self.copy(record.packet),
                layer: record.layer,
            },
            ifindex: record.ifindex,
            ifname: record.ifname.map(|name| self.name(name)),
            netns: record.netns.map(|inode| NetNs { inode }),
            cpu: record.cpu,
            pid: record.pid,
            tid: record.tid,
            comm: record.comm.map(|name| self.name(name)),
            skb_address: record.skb_address,
            rx_sk_address: record.rx_sk_address,
            origin: record.origin,
            backend,
            lost_before: record.lost_before,
        }
    }

    fn copy(&mut self, packet: &[u8]) -> Bytes {
        if packet.is_empty() {
            return Bytes::new();
        }
        if self.block.capacity() < packet.len() {
            self.block = BytesMut::with_capacity(BLOCK.max(packet.len()));
        }
        self.block.extend_from_slice(packet);
        self.block.split().freeze()
    }

    fn name(&mut self, padded: [u8; 16]) -> Arc<str> {
        if let Some(name) = self.names.get(&padded) {
            return Arc::clone(name);
        }
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        let name: Arc<str> = text(&padded).into();
        self.names.insert(padded, Arc::clone(&name));
        name
    }
}

/// The difference between the wall clock and the monotonic one.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// What the wall clock said when the monotonic one was at zero; before the epoch if the
    /// wall clock is set to less than the uptime.
    offset_ns: i128,
}

impl Clock {
    fn now() -> Self {
        Self {
            offset_ns: nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Monotonic),
        }
    }

    fn wall_time(self, monotonic_ns: u64) -> SystemTime {
        let ns = self.offset_ns + i128::from(monotonic_ns);
        let distance = Duration::from_nanos(u64::try_from(ns.unsigned_abs()).unwrap_or(u64::MAX));
        let moved = if ns < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        };
        moved.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

fn nanoseconds(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

//! From a backend's record to an event: names, symbols, addresses, wall-clock time.

use crate::{
    BackendKind, DropEvent, DropReason, Error, EtherType, Location, NetNs, Origin, Packet,
    Resolver, Subsystem,
    backend::{Reason, Record},
    clock::Clock,
    event::Headers,
    symbols::Locations,
};
use bytes::{Bytes, BytesMut};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Packets' bytes are cut from blocks of this many, so that an event needs no allocation of its
/// own. A block lives as long as the last event that holds a part of it.
const BLOCK: usize = 64 * 1024;
/// Names of tasks and interfaces that are remembered; past it all are forgotten and learnt anew.
const MAX_NAMES: usize = 4096;

/// How often modules are looked at for a number without a name: it costs some milliseconds.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Looks up what a record only has numbers for.
#[derive(Debug)]
pub(crate) struct Pipeline {
    resolver: Resolver,
    locations: Locations,
    names: HashMap<Box<[u8]>, Arc<str>>,
    /// When the resolver last looked for new modules.
    refreshed: Option<Instant>,
    block: BytesMut,
    clock: Clock,
}

impl Pipeline {
    pub(crate) fn new(resolver: Resolver, locations: Locations) -> Self {
        Self {
            resolver,
            locations,
            names: HashMap::new(),
            refreshed: None,
            block: BytesMut::new(),
            clock: Clock::now(),
        }
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(crate) fn symbols_error(&self) -> Option<&Error> {
        self.locations.error()
    }

    /// To be called before each batch: the wall clock may have been set.
    pub(crate) fn begin_batch(&mut self) {
        self.clock = Clock::now();
    }

    pub(crate) fn event(&mut self, record: Record<'_>, backend: BackendKind) -> DropEvent {
        let protocol = record.protocol.map(EtherType);
        let headers = match record.endpoints {
            Some(endpoints) => Headers::told(endpoints),
            None => Headers::parse(record.packet, record.layer, record.network_offset, protocol),
        };
        let symbol = match (record.symbol, record.location) {
            (Some(text), address) => Some(self.locations.told(address, text)),
            (None, Some(address)) => self.locations.resolve(address),
            (None, None) => None,
        };
        let (timestamp_ns, wall_time) = self.clock.both(record.time);
        let origin = match record.trap {
            None => Origin::Software,
            Some(trap) => Origin::Hardware {
                trap: self.name(trap.name),
                group: trap.group.map(|group| self.name(group)),
            },
        };
        DropEvent {
            timestamp_ns,
            wall_time,
            reason: record.reason.map(|reason| self.reason(reason)),
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
            origin,
            flow_action_cookie: record.flow_action_cookie.map(|cookie| self.copy(cookie)),
            count: record.count,
            backend: record.seen_by.unwrap_or(backend),
            lost_before: record.lost_before,
        }
    }

    fn reason(&mut self, reason: Reason<'_>) -> DropReason {
        match reason {
            Reason::Number(raw) => {
                let reason = self.resolver.reason(raw);
                if reason.name().is_some() || !self.refresh() {
                    return reason;
                }
                self.resolver.reason(raw)
            }
            Reason::Name(name) => {
                let known = self.resolver.number(name);
                let raw = match known {
                    None if self.refresh() => self.resolver.number(name),
                    known => known,
                };
                let subsystem = raw.and_then(|raw| self.resolver.reason(raw).subsystem().cloned());
                DropReason::new(None, Some(self.name(name.as_bytes())), subsystem)
            }
            Reason::Known {
                raw,
                name,
                subsystem,
            } => {
                let subsystem = subsystem.map(|name| Subsystem {
                    number: None,
                    name: Some(self.name(name.as_bytes())),
                });
                DropReason::new(raw, name.map(|name| self.name(name.as_bytes())), subsystem)
            }
        }
    }

    /// A number without a name may be one of a module that was loaded since. Says whether anything
    /// was read.
    fn refresh(&mut self) -> bool {
        let due = self
            .refreshed
            .is_none_or(|last| last.elapsed() >= REFRESH_INTERVAL);
        if due {
            self.refreshed = Some(Instant::now());
        }
        due && self.resolver.refresh()
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

    fn name(&mut self, name: &[u8]) -> Arc<str> {
        if let Some(name) = self.names.get(name) {
            return Arc::clone(name);
        }
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        let text: Arc<str> = String::from_utf8_lossy(name).into();
        self.names.insert(name.into(), Arc::clone(&text));
        text
    }
}

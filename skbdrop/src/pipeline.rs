//! From a backend's record to an event: names, symbols, addresses, wall-clock time.

use crate::{
    BackendKind, Device, DropEvent, DropReason, Error, EtherType, Location, NetNs, Origin, Packet,
    QdiscDrop, Resolver, Subsystem, TcHandle,
    backend::{Reason, Record},
    clock::Clock,
    event::Headers,
    given_names::GivenNames,
    reason::{NameSource, Named},
    symbols::Locations,
};
use bytes::{Bytes, BytesMut};
use std::{collections::HashMap, sync::Arc};

/// Packets' bytes are cut from blocks of this many, so that an event needs no allocation of its
/// own. A block lives as long as the last event that holds a part of it.
const BLOCK: usize = 64 * 1024;
/// Names of tasks and interfaces that are remembered; past it all are forgotten and learnt anew.
const MAX_NAMES: usize = 4096;

/// Looks up what a record only has numbers for.
#[derive(Debug)]
pub(crate) struct Pipeline {
    resolver: Resolver,
    locations: Locations,
    names: Names,
    /// The last number that had a name: drops come many for one reason.
    last_reason: Option<(u32, DropReason)>,
    /// Names that the kernel or the system has for what a record only has numbers of.
    given: GivenNames,
    /// Reasons that came by name and that the resolver knows, so no more than there are.
    told: HashMap<Box<str>, Arc<Named>>,
    block: BytesMut,
    clock: Clock,
}

impl Pipeline {
    pub(crate) fn new(resolver: Resolver, locations: Locations) -> Self {
        Self {
            resolver,
            locations,
            names: Names::default(),
            last_reason: None,
            given: GivenNames::new(),
            told: HashMap::new(),
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

    /// What an address of the kernel's is.
    pub(crate) fn location(&mut self, address: u64) -> Location {
        Location {
            address: Some(address),
            symbol: self.locations.resolve(address),
        }
    }

    /// To be called before each batch: the wall clock may have been set.
    pub(crate) fn begin_batch(&mut self) {
        self.clock = Clock::now();
        self.given.begin_batch();
    }

    pub(crate) fn event(&mut self, record: &Record<'_>, backend: BackendKind) -> DropEvent {
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
                trap: self.names.get(trap.name),
                group: trap.group.map(|group| self.names.get(group)),
            },
        };
        let is_live = record.seen_by.is_none() && backend.is_of_kernel();
        let netns = record.netns.map(|inode| NetNs {
            inode,
            cookie: record.netns_cookie,
            name: match record.netns_name {
                Some(name) => Some(self.names.get(name)),
                None if is_live => self.given.namespace(inode),
                None => None,
            },
        });
        let ifname = match (record.ifname, record.ifindex, record.netns) {
            (Some(name), ..) => Some(self.names.interface(name)),
            (None, Some(index), Some(inode)) if is_live => self.given.interface(index, inode),
            _ => None,
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
                network_offset: record.network_offset,
            },
            ifindex: record.ifindex,
            ifname,
            iif: record.iif,
            device: record.device.map(|(index, name, netns)| Device {
                index,
                netns,
                name: self.names.interface(name),
            }),
            netns,
            socket: record.socket,
            metadata: record.metadata,
            qdisc: record.qdisc.map(|told| QdiscDrop {
                kind: self.names.get(told.kind),
                handle: TcHandle(told.handle),
                parent: TcHandle(told.parent),
                reason: self.reason(told.reason),
            }),
            stack: record.stack.clone(),
            cpu: record.cpu,
            pid: record.pid,
            tid: record.tid,
            comm: record.comm.map(|name| self.names.task(name)),
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
                if let Some((last, reason)) = &self.last_reason
                    && *last == raw
                {
                    return reason.clone();
                }
                let reason = self.resolver.resolve(raw);
                if reason.name().is_some() {
                    self.last_reason = Some((raw, reason.clone()));
                }
                reason
            }
            Reason::Name(name) => DropReason::named(None, self.told(name)),
            Reason::Known {
                raw,
                name,
                subsystem,
            } => {
                let subsystem = subsystem.map(|name| Subsystem {
                    number: None,
                    name: Some(self.names.get(name.as_bytes())),
                });
                let Some(name) = name else {
                    return DropReason::unnamed(raw, subsystem);
                };
                let named = Named {
                    name: self.names.get(name.as_bytes()),
                    subsystem,
                    source: NameSource::BACKEND,
                };
                DropReason::named(raw, named.into())
            }
        }
    }

    /// A reason that the backend gave by name. The resolver only adds its subsystem.
    fn told(&mut self, name: &str) -> Arc<Named> {
        if let Some(named) = self.told.get(name) {
            return Arc::clone(named);
        }
        let known = self.resolver.find(name);
        let subsystem = known.and_then(|known| known.subsystem.clone());
        let is_final = known.is_some();
        let named = Arc::new(Named {
            name: self.names.get(name.as_bytes()),
            subsystem,
            source: NameSource::BACKEND,
        });
        // Of a name that the resolver does not know yet it may know more later.
        if is_final {
            self.told.insert(name.into(), Arc::clone(&named));
        }
        named
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
}

/// Names of tasks, interfaces and what else comes as bytes, each made a text once.
#[derive(Debug, Default)]
struct Names {
    known: HashMap<Box<[u8]>, Arc<str>>,
    /// The last of each: drops come many from one task and one interface.
    last_task: Option<Arc<str>>,
    last_interface: Option<Arc<str>>,
}

impl Names {
    fn task(&mut self, name: &[u8]) -> Arc<str> {
        let mut last = self.last_task.take();
        let name = self.get_after(&mut last, name);
        self.last_task = last;
        name
    }

    fn interface(&mut self, name: &[u8]) -> Arc<str> {
        let mut last = self.last_interface.take();
        let name = self.get_after(&mut last, name);
        self.last_interface = last;
        name
    }

    fn get_after(&mut self, last: &mut Option<Arc<str>>, name: &[u8]) -> Arc<str> {
        match last {
            Some(last) if last.as_bytes() == name => Arc::clone(last),
            _ => Arc::clone(last.insert(self.get(name))),
        }
    }

    fn get(&mut self, name: &[u8]) -> Arc<str> {
        if let Some(name) = self.known.get(name) {
            return Arc::clone(name);
        }
        if self.known.len() >= MAX_NAMES {
            self.known.clear();
        }
        let text: Arc<str> = String::from_utf8_lossy(name).into();
        self.known.insert(name.into(), Arc::clone(&text));
        text
    }
}

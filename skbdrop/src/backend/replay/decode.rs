//! From a line of a recording to a record. Pure: no descriptor, no clock.

use super::{FORMAT, VERSION};
use crate::{
    BackendKind, Endpoint, Layer, Metadata, Socket,
    backend::record::{QdiscTold, Reason, Record, SymbolText, Time, Trap},
};
use serde::Deserialize;
use std::{net::IpAddr, time::SystemTime};

/// What a line is.
#[derive(Debug)]
pub(super) enum Line {
    /// An event. Boxed: it is much larger than the others.
    Event(Box<Event>),
    /// So many drops were lost after the last event.
    Lost(u64),
}

/// The first line.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

/// Checks the first line.
pub(super) fn header(line: &str) -> Result<(), String> {
    let header: Header = serde_json::from_str(line).map_err(|e| {
        format!("it does not begin with {{\"format\":\"{FORMAT}\",\"version\":{VERSION}}}: {e}")
    })?;
    if header.format != FORMAT {
        return Err(format!("its format is `{}`, not `{FORMAT}`", header.format));
    }
    if header.version != VERSION {
        return Err(format!(
            "its version is {}; this skbdrop reads version {VERSION}",
            header.version
        ));
    }
    Ok(())
}

/// Decodes any other line.
pub(super) fn line(line: &str) -> Result<Line, String> {
    #[derive(Deserialize)]
    struct Tail {
        lost: u64,
    }
    if line.starts_with("{\"lost\"") {
        return serde_json::from_str(line)
            .map(|tail: Tail| Line::Lost(tail.lost))
            .map_err(|e| e.to_string());
    }
    let raw: RawEvent = serde_json::from_str(line).map_err(|e| e.to_string())?;
    raw.check().map(|event| Line::Event(Box::new(event)))
}

/// An event as the line has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawEvent {
    timestamp_ns: Option<u64>,
    wall_time: Option<String>,
    reason: Option<RawReason>,
    location: RawLocation,
    protocol: Option<u16>,
    length: Option<u32>,
    src: Option<String>,
    dst: Option<String>,
    transport: Option<u8>,
    packet: RawPacket,
    ifindex: Option<u32>,
    ifname: Option<String>,
    iif: Option<u32>,
    device: Option<RawDevice>,
    netns: Option<RawNetNs>,
    socket: Option<Socket>,
    metadata: Option<Metadata>,
    qdisc: Option<RawQdisc>,
    stack: Vec<String>,
    cpu: Option<u32>,
    pid: Option<u32>,
    tid: Option<u32>,
    comm: Option<String>,
    skb_address: Option<String>,
    rx_sk_address: Option<String>,
    origin: Option<RawOrigin>,
    flow_action_cookie: Option<String>,
    count: Option<u64>,
    backend: Option<String>,
    lost_before: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawReason {
    name: Option<String>,
    raw: Option<u32>,
    subsystem: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawLocation {
    address: Option<String>,
    symbol: Option<String>,
    offset: Option<u64>,
    module: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawPacket {
    layer: Option<Layer>,
    network_offset: Option<usize>,
    bytes: String,
}

#[derive(Debug, Deserialize)]
struct RawQdisc {
    kind: String,
    handle: u32,
    parent: u32,
    reason: RawReason,
}

#[derive(Debug, Deserialize)]
struct RawNetNs {
    inode: u32,
    cookie: Option<u64>,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawDevice {
    index: u32,
    name: String,
    netns: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawOrigin {
    Software,
    Hardware { trap: String, group: Option<String> },
}

/// An event whose texts were understood.
#[derive(Debug)]
pub(super) struct Event {
    raw: RawEvent,
    time: Time,
    address: Option<u64>,
    skb_address: Option<u64>,
    rx_sk_address: Option<u64>,
    src: Option<(IpAddr, Option<u16>)>,
    dst: Option<(IpAddr, Option<u16>)>,
    stack: Vec<u64>,
    packet: Vec<u8>,
    cookie: Option<Vec<u8>>,
}

impl RawEvent {
    fn check(self) -> Result<Event, String> {
        let monotonic = self.timestamp_ns.ok_or("it has no `timestamp_ns`")?;
        let time = match &self.wall_time {
            None => Time::Monotonic(monotonic),
            Some(text) => {
                let wall = humantime::parse_rfc3339(text)
                    .ok()
                    .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
                    .and_then(|since| u64::try_from(since.as_nanos()).ok())
                    .ok_or_else(|| format!("`wall_time` is no RFC 3339 time in UTC: `{text}`"))?;
                Time::Both { monotonic, wall }
            }
        };
        Ok(Event {
            time,
            address: address("location.address", &self.location.address)?,
            skb_address: address("skb_address", &self.skb_address)?,
            rx_sk_address: address("rx_sk_address", &self.rx_sk_address)?,
            src: endpoint("src", &self.src)?,
            dst: endpoint("dst", &self.dst)?,
            stack: self
                .stack
                .iter()
                .map(|text| hexadecimal("stack", text))
                .collect::<Result<_, _>>()?,
            packet: bytes("packet.bytes", &self.packet.bytes)?,
            cookie: match &self.flow_action_cookie {
                Some(text) => Some(bytes("flow_action_cookie", text)?),
                None => None,
            },
            raw: self,
        })
    }
}

impl Event {
    /// When, for playing at the recorded pace: `CLOCK_MONOTONIC` of then, nanoseconds.
    pub(super) fn monotonic(&self) -> u64 {
        self.raw.timestamp_ns.unwrap_or(0)
    }

    pub(super) fn record(&self) -> Record<'_> {
        let raw = &self.raw;
        let mut record = Record::new(self.time);
        record.reason = raw.reason.as_ref().map(RawReason::known);
        record.location = self.address;
        record.symbol = raw.location.symbol.as_deref().map(|name| {
            SymbolText::new(
                name,
                raw.location.offset.unwrap_or(0),
                raw.location.module.as_deref(),
            )
        });
        record.skb_address = self.skb_address;
        record.rx_sk_address = self.rx_sk_address;
        record.protocol = raw.protocol;
        record.packet = &self.packet;
        record.layer = raw.packet.layer.unwrap_or(Layer::Data);
        record.network_offset = raw.packet.network_offset;
        record.endpoints = Some((self.src, self.dst, raw.transport));
        record.original_length = raw.length;
        record.ifindex = raw.ifindex;
        record.ifname = raw.ifname.as_deref().map(str::as_bytes);
        record.iif = raw.iif;
        record.device = raw
            .device
            .as_ref()
            .map(|device| (device.index, device.name.as_bytes(), device.netns));
        if let Some(netns) = &raw.netns {
            record.netns = Some(netns.inode);
            record.netns_cookie = netns.cookie;
            record.netns_name = netns.name.as_deref().map(str::as_bytes);
        }
        record.socket = raw.socket;
        record.metadata = raw.metadata;
        record.qdisc = raw.qdisc.as_ref().map(|qdisc| QdiscTold {
            kind: qdisc.kind.as_bytes(),
            handle: qdisc.handle,
            parent: qdisc.parent,
            reason: qdisc.reason.known(),
        });
        record.stack.clone_from(&self.stack);
        record.cpu = raw.cpu;
        record.pid = raw.pid;
        record.tid = raw.tid;
        record.comm = raw.comm.as_deref().map(str::as_bytes);
        record.trap = match &raw.origin {
            Some(RawOrigin::Hardware { trap, group }) => Some(Trap::new(
                trap.as_bytes(),
                group.as_deref().map(str::as_bytes),
            )),
            Some(RawOrigin::Software) | None => None,
        };
        record.flow_action_cookie = self.cookie.as_deref();
        record.count = raw.count.unwrap_or(1);
        record.lost_before = raw.lost_before;
        let all = [BackendKind::Ebpf, BackendKind::Perf, BackendKind::Netlink];
        record.seen_by = raw
            .backend
            .as_ref()
            .and_then(|name| all.into_iter().find(|kind| kind.name() == name));
        record
    }
}

impl RawReason {
    fn known(&self) -> Reason<'_> {
        Reason::Known {
            raw: self.raw,
            name: self.name.as_deref(),
            subsystem: self.subsystem.as_deref(),
        }
    }
}

fn address(key: &str, text: &Option<String>) -> Result<Option<u64>, String> {
    text.as_deref()
        .map(|text| hexadecimal(key, text))
        .transpose()
}

fn hexadecimal(key: &str, text: &str) -> Result<u64, String> {
    text.strip_prefix("0x")
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .ok_or_else(|| format!("`{key}` is no hexadecimal number: `{text}`"))
}

fn endpoint(key: &str, text: &Option<String>) -> Result<Option<(IpAddr, Option<u16>)>, String> {
    let Some(text) = text else { return Ok(None) };
    let endpoint: Endpoint = text
        .parse()
        .map_err(|_| format!("`{key}` is no address: `{text}`"))?;
    Ok(Some((endpoint.address, endpoint.port)))
}

fn bytes(key: &str, text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => Ok(digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()),
        _ => Err(format!("`{key}` is no hexadecimal text")),
    }
}

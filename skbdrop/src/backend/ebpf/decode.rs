//! From the bytes that the eBPF program wrote to a record. Pure: no descriptor, no clock.

use crate::{
    Error, Layer, Result,
    backend::{
        link::link_layer,
        record::{Reason, Record as Drop, Time, until_nul},
    },
};
use skbdrop_ebpf::{HEADER_NOT_SET, NAME_LEN, Record, flags};
use std::mem::offset_of;

/// One record, with what is only good to the source.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub(super) record: Drop<'a>,
    /// Records lost on this CPU since the program was loaded.
    pub(super) lost_on_cpu: u64,
    pub(super) cpu: u32,
}

/// Reads fields at the offsets of [`Record`].
struct Fields<'a>(&'a [u8; Record::SIZE]);

macro_rules! field {
    ($fields:expr, $field:ident: $type:ty) => {{
        const AT: usize = offset_of!(Record, $field);
        let mut bytes = [0; size_of::<$type>()];
        bytes.copy_from_slice(&$fields.0[AT..AT + size_of::<$type>()]);
        <$type>::from_ne_bytes(bytes)
    }};
    ($fields:expr, $field:ident) => {{
        const AT: usize = offset_of!(Record, $field);
        until_nul(&$fields.0[AT..AT + NAME_LEN])
    }};
}

/// Decodes one item of the ring buffer.
pub(super) fn decode(item: &[u8]) -> Result<Decoded<'_>> {
    let Some((header, rest)) = item.split_first_chunk::<{ Record::SIZE }>() else {
        return Err(Error::invalid_data(format!(
            "a record of the eBPF program is truncated: {} of {} bytes",
            item.len(),
            Record::SIZE
        )));
    };
    let fields = Fields(header);
    let known = field!(fields, flags: u32);
    let has = |flag: u32| known & flag != 0;
    let caplen = field!(fields, caplen: u32);
    let Some(packet) = rest.get(..caplen as usize) else {
        return Err(Error::invalid_data(format!(
            "a record of the eBPF program claims {caplen} bytes of the packet and holds {}",
            rest.len()
        )));
    };
    let cpu = field!(fields, cpu: u32);
    let place = Place {
        start: field!(fields, start: u32),
        mac: field!(fields, mac_header: u16),
        network: field!(fields, network_header: u16),
    };
    let protocol = field!(fields, protocol: u16).to_ne_bytes();
    let protocol = (has(flags::SKB) && protocol != [0, 0]).then_some(protocol);
    let layer = place.layer(packet, protocol);
    let data = field!(fields, data: u32);
    let before_data = i64::from(data) - i64::from(place.start);
    let length = i64::from(field!(fields, len: u32)) + before_data;
    let interface = Interface::of(&fields, known);
    let mut record = Drop::new(Time::Monotonic(field!(fields, timestamp_ns: u64)));
    record.reason = has(flags::REASON).then_some(Reason::Number(field!(fields, reason: u32)));
    record.location = Some(field!(fields, location: u64));
    record.skb_address = Some(field!(fields, skb: u64));
    record.rx_sk_address = Some(field!(fields, rx_sk: u64)).filter(|&address| address != 0);
    record.protocol = protocol.map(u16::from_be_bytes);
    record.packet = packet;
    record.layer = layer;
    record.network_offset = usize::from(place.network).checked_sub(place.start as usize);
    record.original_length = u32::try_from(length).ok().filter(|_| has(flags::SKB));
    record.ifindex = interface.index;
    record.ifname = interface.name;
    record.netns = interface.netns;
    record.cpu = Some(cpu);
    record.pid = Some(field!(fields, pid: u32));
    record.tid = Some(field!(fields, tid: u32));
    record.comm = Some(field!(fields, comm));
    Ok(Decoded {
        record,
        lost_on_cpu: field!(fields, lost: u64),
        cpu,
    })
}

/// Where the packet's headers are, as offsets from `skb->head`.
struct Place {
    start: u32,
    mac: u16,
    network: u16,
}

impl Place {
    /// What the bytes from `start` on are; `protocol` is in network byte order.
    fn layer(&self, packet: &[u8], protocol: Option<[u8; 2]>) -> Layer {
        let at = |header: u16| u32::from(header) == self.start;
        if self.network != 0 && at(self.network) {
            return Layer::Network;
        }
        if self.mac == HEADER_NOT_SET || !at(self.mac) {
            return Layer::Data;
        }
        link_layer(packet, protocol)
    }
}

/// The interface and the namespace, as far as they can be trusted.
struct Interface<'a> {
    index: Option<u32>,
    name: Option<&'a [u8]>,
    netns: Option<u32>,
}

impl<'a> Interface<'a> {
    /// Neither pointer says by itself what it is. `skb->dev` is not always a device: TCP's
    /// queues and UDP's receive path overlay the field. `skb->sk` is the sender's socket until the
    /// network layer takes the packet in, in the sender's namespace. Together with the index that
    /// the packet came in by, which the skb holds apart, they can be told.
    fn of(fields: &Fields<'a>, known: u32) -> Self {
        let has = |wanted: u32| known & wanted == wanted;
        let iif = Some(field!(fields, iif: u32)).filter(|&index| has(flags::IIF) && index != 0);
        let sk_netns = has(flags::SK_NETNS).then_some(field!(fields, sk_netns: u32));
        let name = field!(fields, dev_name);
        let index = field!(fields, dev_ifindex: u32);
        let dev_netns = field!(fields, dev_netns: u32);
        let dev =
            (has(flags::DEV | flags::DEV_NETNS) && index != 0 && dev_netns != 0 && is_name(name))
                .then_some(Device {
                    index,
                    netns: dev_netns,
                });
        let received = field!(fields, rx_sk: u64) != 0;
        // The device that it came in by is the one that it is at.
        let came_in = dev.filter(|dev| iif == Some(dev.index));
        let agreed = dev.filter(|dev| sk_netns == Some(dev.netns));
        let netns = match (came_in, dev) {
            _ if received => sk_netns,
            (Some(dev), _) => Some(dev.netns),
            // Elsewhere than where it came in, with a socket of another namespace: cannot tell.
            (None, Some(dev)) => sk_netns.filter(|&netns| netns == dev.netns),
            // Past the link layer: the socket is the receiver's by now.
            (None, None) => sk_netns,
        };
        let named = came_in.or(agreed.filter(|_| iif.is_none()));
        Self {
            index: iif.or(named.map(|dev| dev.index)),
            name: named.map(|_| name),
            netns,
        }
    }
}

/// What was read through `skb->dev`.
#[derive(Clone, Copy)]
struct Device {
    index: u32,
    netns: u32,
}

/// Whether the kernel would take this for an interface's name (`dev_valid_name` in
/// `net/core/dev.c`): not empty, shorter than its array, without slash, colon and space.
fn is_name(name: &[u8]) -> bool {
    let bad = |byte: &u8| matches!(byte, b'/' | b':') || byte.is_ascii_whitespace();
    !name.is_empty() && name.len() < NAME_LEN && !name.iter().any(bad)
}

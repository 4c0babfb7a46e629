//! From the bytes that the eBPF program wrote to a record. Pure: no descriptor, no clock.

use crate::{
    Error, Layer, Result,
    backend::{
        ebpf::groups::{Groups, number},
        link::link_layer,
        record::{Reason, Record as Drop, Time, until_nul},
    },
};
use skbdrop_ebpf::{Device, HEADER_NOT_SET, NAME_LEN, Record, flags};
use std::mem::offset_of;

/// One record, with what is only good to the source.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub(super) record: Drop<'a>,
    /// Low half of the number of records lost on this CPU since the program was loaded.
    pub(super) lost_on_cpu: u32,
    pub(super) cpu: u16,
}

/// Reads fields at the offsets of [`Record`].
struct Fields<'a>(&'a [u8; Record::SIZE]);

macro_rules! field {
    ($fields:expr, $field:ident: $type:ty) => {
        number!($fields.0, Record, $field: $type)
    };
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
    let known = field!(fields, flags: u16);
    let has = |flag: u16| known & flag != 0;
    let caplen = field!(fields, caplen: u16);
    let came_in = has(flags::IIF) && field!(fields, iif: u32) != 0;
    let Some((groups, rest)) = Groups::take(rest, known, came_in) else {
        return Err(Error::invalid_data(format!(
            "a record of the eBPF program is truncated: {} bytes hold not all that it says to have",
            item.len()
        )));
    };
    let Some(packet) = rest.get(..usize::from(caplen)) else {
        return Err(Error::invalid_data(format!(
            "a record of the eBPF program claims {caplen} bytes of the packet and holds {}",
            rest.len()
        )));
    };
    let cpu = field!(fields, cpu: u16);
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
    record.iif = interface.came_in_by;
    record.device = interface.device;
    record.netns = interface.netns;
    // The namespace is the device's or the socket's, whichever could be trusted, and goes by its number.
    record.netns_cookie = match record.netns {
        Some(netns) if has(flags::SK_NETNS) && netns == field!(fields, sk_netns: u32) => {
            groups.sk_net_cookie
        }
        Some(_) => groups.dev_net_cookie,
        None => None,
    };
    record.socket = groups.socket;
    record.metadata = groups.metadata;
    record.stack = from_location(groups.stack, record.location);
    record.qdisc = groups.qdisc;
    record.cpu = Some(cpu.into());
    record.pid = Some(field!(fields, pid: u32));
    record.tid = Some(field!(fields, tid: u32));
    record.comm = Some(field!(fields, comm));
    Ok(Decoded {
        record,
        lost_on_cpu: field!(fields, lost: u32),
        cpu,
    })
}

/// The stack from the place of the drop on. Before it come the functions that free a packet, and the program's own.
fn from_location(mut stack: Vec<u64>, location: Option<u64>) -> Vec<u64> {
    let at = stack.iter().position(|&frame| Some(frame) == location);
    stack.drain(..at.unwrap_or(0));
    stack
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
    came_in_by: Option<u32>,
    device: Option<(u32, &'a [u8], u32)>,
}

impl<'a> Interface<'a> {
    fn of(fields: &Fields<'a>, known: u16) -> Self {
        let number = |flag: u16, value: u32| if known & flag != 0 { value } else { 0 };
        let name = field!(fields, dev_name);
        let device = Device {
            index: number(flags::DEV, field!(fields, dev_ifindex: u32)),
            netns: number(flags::DEV_NETNS, field!(fields, dev_netns: u32)),
        };
        let is_device = device.index != 0 && device.netns != 0 && is_name(name);
        let device = is_device.then_some(device);
        let iif = number(flags::IIF, field!(fields, iif: u32));
        let sk_netns = number(flags::SK_NETNS, field!(fields, sk_netns: u32));
        let received = field!(fields, rx_sk: u64) != 0;
        let told = skbdrop_ebpf::Interface::tell(iif, device, || sk_netns, received);
        // What lies over the pointer elsewhere is no text behind it.
        let device = device.filter(|device| {
            let is_text = name.iter().all(u8::is_ascii_graphic);
            told.is_sure || (is_text && i32::try_from(device.index).is_ok())
        });
        let known = |number: u32| Some(number).filter(|&number| number != 0);
        Self {
            came_in_by: known(iif),
            device: device.map(|device| (device.index, name, device.netns)),
            index: known(told.index),
            name: told.is_device.then_some(name),
            netns: known(told.netns),
        }
    }
}

/// Whether the kernel would take this for an interface's name (`dev_valid_name` in
/// `net/core/dev.c`): not empty, shorter than its array, without slash, colon and space.
fn is_name(name: &[u8]) -> bool {
    let bad = |byte: &u8| matches!(byte, b'/' | b':') || byte.is_ascii_whitespace();
    !name.is_empty() && name.len() < NAME_LEN && !name.iter().any(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the program writes it, with `packet` behind it.
    fn record(packet: &[u8]) -> Record {
        Record {
            timestamp_ns: 5,
            skb: 0xffff_8881_0000_0000,
            location: 0xffff_ffff_8100_0042,
            rx_sk: 0,
            lost: 3,
            flags: flags::REASON
                | flags::SKB
                | flags::IIF
                | flags::DEV
                | flags::DEV_NETNS
                | flags::SK_NETNS,
            reason: 9,
            cpu: 1,
            pid: 2,
            tid: 3,
            len: 100,
            iif: 4,
            dev_ifindex: 4,
            dev_netns: 77,
            sk_netns: 88,
            data: 94,
            start: 80,
            caplen: packet.len() as u16,
            mac_header: 80,
            network_header: 94,
            protocol: 0x0800u16.to_be(),
            comm: *b"a task\0\0\0\0\0\0\0\0\0\0",
            dev_name: *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0",
        }
    }

    fn encode(record: &Record, packet: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [
            record.timestamp_ns,
            record.skb,
            record.location,
            record.rx_sk,
        ] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        for half in [
            record.reason,
            record.lost,
            record.pid,
            record.tid,
            record.len,
            record.iif,
            record.dev_ifindex,
            record.dev_netns,
            record.sk_netns,
            record.data,
            record.start,
        ] {
            bytes.extend_from_slice(&half.to_ne_bytes());
        }
        for short in [
            record.caplen,
            record.cpu,
            record.mac_header,
            record.network_header,
            record.protocol,
            record.flags,
        ] {
            bytes.extend_from_slice(&short.to_ne_bytes());
        }
        bytes.extend_from_slice(&record.comm);
        bytes.extend_from_slice(&record.dev_name);
        assert_eq!(bytes.len(), Record::SIZE);
        bytes.extend_from_slice(packet);
        bytes
    }

    /// Decodes and gives index, name and namespace.
    fn interface(record: &Record) -> (Option<u32>, Option<Vec<u8>>, Option<u32>) {
        let bytes = encode(record, &[]);
        let record = decode(&bytes).expect("a whole record").record;
        (
            record.ifindex,
            record.ifname.map(<[u8]>::to_vec),
            record.netns,
        )
    }

    #[test]
    fn a_record_says_what_the_program_wrote() {
        let mut packet = [0; 20];
        packet[12..14].copy_from_slice(&[8, 0]);
        let bytes = encode(&record(&packet), &packet);
        let decoded = decode(&bytes).expect("a whole record");
        assert_eq!((decoded.lost_on_cpu, decoded.cpu), (3, 1));
        let drop = decoded.record;
        assert_eq!(drop.time, Time::Monotonic(5));
        assert_eq!(drop.reason, Some(Reason::Number(9)));
        assert_eq!(drop.layer, Layer::Ethernet);
        assert_eq!(drop.network_offset, Some(14));
        assert_eq!(drop.original_length, Some(114));
        assert_eq!(drop.protocol, Some(0x0800));
        assert_eq!(drop.packet, packet);
        assert_eq!(drop.comm, Some(&b"a task"[..]));
        assert_eq!(drop.rx_sk_address, None);
    }

    #[test]
    fn the_device_is_believed_where_it_agrees() {
        let whole = record(&[]);
        let eth0 = || Some(b"eth0".to_vec());
        // It came in by this device; the socket is the sender's, elsewhere.
        assert_eq!(interface(&whole), (Some(4), eth0(), Some(77)));
        // A receiving socket knows best.
        assert_eq!(interface(&Record { rx_sk: 1, ..whole }).2, Some(88));
        // Elsewhere than where it came in, and the socket is of another namespace: cannot tell.
        assert_eq!(
            interface(&Record {
                dev_ifindex: 5,
                ..whole
            }),
            (Some(4), None, None)
        );
        // It never came in, and device and socket agree.
        let out = Record {
            iif: 0,
            sk_netns: 77,
            ..whole
        };
        assert_eq!(interface(&out), (Some(4), eth0(), Some(77)));
        // It never came in, and they do not.
        assert_eq!(interface(&Record { iif: 0, ..whole }), (None, None, None));
        // What is behind the pointer is no device: past the link layer, the socket is the receiver's.
        for overlaid in [
            Record {
                dev_name: [0; NAME_LEN],
                ..whole
            },
            Record {
                dev_name: [b'x'; NAME_LEN],
                ..whole
            },
            Record {
                dev_name: *b"a/b\0\0\0\0\0\0\0\0\0\0\0\0\0",
                ..whole
            },
            Record {
                dev_netns: 0,
                ..whole
            },
            Record {
                flags: whole.flags & !flags::DEV,
                ..whole
            },
        ] {
            assert_eq!(interface(&overlaid), (Some(4), None, Some(88)));
        }
        assert_eq!(interface(&Record { flags: 0, ..whole }), (None, None, None));
    }

    #[test]
    fn layers_by_where_the_headers_are() {
        let layer = |record: &Record| {
            let bytes = encode(record, &[]);
            decode(&bytes).expect("a whole record").record.layer
        };
        let whole = record(&[]);
        assert_eq!(layer(&whole), Layer::Link);
        assert_eq!(layer(&Record { start: 94, ..whole }), Layer::Network);
        let no_mac = Record {
            mac_header: HEADER_NOT_SET,
            network_header: 0,
            ..whole
        };
        assert_eq!(layer(&no_mac), Layer::Data);
    }

    #[test]
    fn cut_and_corrupt_records_do_no_harm() {
        let packet = [7; 40];
        let bytes = encode(&record(&packet), &packet);
        for end in (0..bytes.len()).step_by(STRIDE) {
            let error = decode(&bytes[..end]).expect_err("a truncated record");
            assert_eq!(error.kind(), crate::ErrorKind::InvalidData);
        }
        for bit in (0..8 * Record::SIZE).step_by(STRIDE) {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let _ = decode(&bad);
        }
    }

    /// Miri, which is a thousand times as slow, takes some of the lengths and bits: a prime, so that each bit of a byte comes.
    const STRIDE: usize = if cfg!(miri) { 17 } else { 1 };
}

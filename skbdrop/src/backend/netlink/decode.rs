//! From a message of drop_monitor to records. Pure: no descriptor, no clock.

use super::message::{Message, attributes, u16_of, u32_of, u64_of};
use crate::{
    Error, Result,
    backend::{
        link::link_layer,
        record::{Reason, Record, SymbolText, Time, Trap, until_nul},
    },
};

/// Commands of alerts (`enum` in `include/uapi/linux/net_dropmon.h`).
const CMD_ALERT: u8 = 1;
const CMD_PACKET_ALERT: u8 = 5;

/// Attributes of alerts (`enum net_dm_attr`).
mod attr {
    /// In a summary's alert, where nothing else begins at 0: `struct net_dm_alert_msg`.
    pub(super) const SUMMARY: u16 = 0;
    pub(super) const PC: u16 = 2;
    pub(super) const SYMBOL: u16 = 3;
    pub(super) const IN_PORT: u16 = 4;
    pub(super) const TIMESTAMP: u16 = 5;
    pub(super) const PROTO: u16 = 6;
    pub(super) const PAYLOAD: u16 = 7;
    pub(super) const ORIG_LEN: u16 = 10;
    pub(super) const ORIGIN: u16 = 14;
    pub(super) const HW_TRAP_GROUP_NAME: u16 = 15;
    pub(super) const HW_TRAP_NAME: u16 = 16;
    pub(super) const HW_ENTRIES: u16 = 17;
    pub(super) const HW_ENTRY: u16 = 18;
    pub(super) const HW_TRAP_COUNT: u16 = 19;
    pub(super) const FLOW_ACTION_COOKIE: u16 = 22;
    pub(super) const REASON: u16 = 23;
    /// Within `IN_PORT`, whose numbers begin at 0.
    pub(super) const PORT_IFINDEX: u16 = 0;
    pub(super) const PORT_NAME: u16 = 1;
}

/// Values of [`attr::ORIGIN`].
const ORIGIN_SOFTWARE: u16 = 0;
const ORIGIN_HARDWARE: u16 = 1;

/// `struct net_dm_drop_point`: eight bytes of address, four of count, not aligned.
const POINT_LEN: usize = 12;

/// The kernel cuts the symbol's text to this length (`NET_DM_MAX_SYMBOL_LEN`, less a NUL).
const MAX_SYMBOL_LEN: usize = 39;

/// What the records depend on besides the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Bytes of each packet to hand out: who listens to another's tracing may get more.
    pub(super) snap_len: usize,
    /// Whether drops in hardware are wanted: another listener may have asked for them.
    pub(super) hardware: bool,
    /// The time for summaries, which have none; nanoseconds since the epoch.
    pub(super) now: u64,
}

/// Decodes one message of family `family` and hands its records to `sink`: none, one, or a
/// summary's. After an error none was handed out.
pub(super) fn decode<'a>(
    message: &Message<'a>,
    family: u16,
    taken: Taken,
    sink: &mut dyn FnMut(Record<'a>),
) -> Result<()> {
    if message.kind != family {
        return Err(Error::invalid_data(format!(
            "a netlink message is of type {} and not of drop_monitor's {family}",
            message.kind
        )));
    }
    match message.generic()? {
        (CMD_PACKET_ALERT, attributes) => {
            if let Some(record) = packet(attributes, taken)? {
                sink(record);
            }
            Ok(())
        }
        (CMD_ALERT, attributes) => summary(attributes, taken, sink),
        (command, _) => Err(Error::invalid_data(format!(
            "drop_monitor sent the unknown command {command}"
        ))),
    }
}

/// The time in a packet's alert, without decoding the rest.
pub(super) fn time(message: &Message<'_>) -> Option<u64> {
    let (_, bytes) = message.generic().ok()?;
    let timestamp = attributes(bytes)
        .map_while(Result::ok)
        .find(|&(kind, _)| kind == attr::TIMESTAMP);
    u64_of(timestamp?.1).ok()
}

/// One dropped packet; `None` if it was not asked for.
fn packet(bytes: &[u8], taken: Taken) -> Result<Option<Record<'_>>> {
    let mut record = Record::new(Time::Wall(taken.now));
    let mut origin = ORIGIN_SOFTWARE;
    let (mut trap, mut group) = (None, None);
    let mut payload: &[u8] = &[];
    for attribute in attributes(bytes) {
        let (kind, value) = attribute?;
        match kind {
            attr::ORIGIN => origin = u16_of(value)?,
            attr::PC => record.location = Some(u64_of(value)?),
            attr::REASON => record.reason = Some(Reason::Name(text(value)?)),
            attr::SYMBOL => record.symbol = symbol(text(value)?),
            attr::IN_PORT => in_port(value, &mut record)?,
            attr::TIMESTAMP => record.time = Time::Wall(u64_of(value)?),
            attr::ORIG_LEN => record.original_length = Some(u32_of(value)?),
            attr::PROTO => record.protocol = Some(u16_of(value)?).filter(|&protocol| protocol != 0),
            attr::PAYLOAD => payload = value,
            attr::HW_TRAP_NAME => trap = Some(until_nul(value)),
            attr::HW_TRAP_GROUP_NAME => group = Some(until_nul(value)),
            attr::FLOW_ACTION_COOKIE => record.flow_action_cookie = Some(value),
            // Padding, and what later kernels tell.
            _ => {}
        }
    }
    record.packet = &payload[..payload.len().min(taken.snap_len)];
    // The alert's bytes begin at the MAC header; a packet that has none makes no alert.
    record.layer = link_layer(record.packet, record.protocol.map(u16::to_be_bytes));
    match (origin, trap) {
        (ORIGIN_SOFTWARE, _) => {}
        (ORIGIN_HARDWARE, _) if !taken.hardware => return Ok(None),
        (ORIGIN_HARDWARE, Some(name)) => record.trap = Some(Trap::new(name, group)),
        (ORIGIN_HARDWARE, None) => {
            return Err(Error::invalid_data(
                "drop_monitor tells of a drop in hardware without the trap's name",
            ));
        }
        (origin, _) => {
            return Err(Error::invalid_data(format!(
                "drop_monitor tells of a drop of the unknown origin {origin}"
            )));
        }
    }
    Ok(Some(record))
}

/// The function, unless its text may be cut: a piece of an offset would be a wrong one, and half a
/// module none. It is then looked up by its address.
fn symbol(text: &str) -> Option<SymbolText<'_>> {
    if text.len() >= MAX_SYMBOL_LEN && !text.ends_with(']') {
        return None;
    }
    SymbolText::parse(text)
}

fn in_port<'a>(nested: &'a [u8], record: &mut Record<'a>) -> Result<()> {
    for attribute in attributes(nested) {
        match attribute? {
            (attr::PORT_IFINDEX, value) => {
                // The kernel tells `skb_iif`, or the device's port in hardware.
                record.ifindex = Some(u32_of(value)?).filter(|&index| index != 0);
                record.iif = record.ifindex;
            }
            (attr::PORT_NAME, value) => record.ifname = Some(until_nul(value)),
            _ => {}
        }
    }
    Ok(())
}

/// Counts per place, in software or in hardware.
fn summary<'a>(bytes: &'a [u8], taken: Taken, sink: &mut dyn FnMut(Record<'a>)) -> Result<()> {
    let mut points: &[u8] = &[];
    let mut entries: &[u8] = &[];
    for attribute in attributes(bytes) {
        match attribute? {
            (attr::SUMMARY, value) => points = drop_points(value)?,
            (attr::HW_ENTRIES, value) => entries = value,
            _ => {}
        }
    }
    // All are read before any is handed out.
    for entry in attributes(entries) {
        trap_count(entry?)?;
    }
    for point in points.chunks_exact(POINT_LEN) {
        let (address, count) = point.split_at(8);
        let mut record = counted(taken, u32_of(count)?);
        // Without an address it is no place in the kernel, but a device's own counter.
        record.location = Some(u64_of(address)?).filter(|&address| address != 0);
        sink(record);
    }
    if taken.hardware {
        for entry in attributes(entries) {
            if let Some((name, count)) = trap_count(entry?)? {
                let mut record = counted(taken, count);
                record.trap = Some(Trap::new(name, None));
                sink(record);
            }
        }
    }
    Ok(())
}

/// The array after the number of its elements. The attribute may be longer: it was made with room.
fn drop_points(value: &[u8]) -> Result<&[u8]> {
    let truncated = || Error::invalid_data("a summary of drop_monitor is truncated");
    let (entries, points) = value.split_at_checked(4).ok_or_else(truncated)?;
    let len = (u32_of(entries)? as usize).checked_mul(POINT_LEN);
    len.and_then(|len| points.get(..len)).ok_or_else(truncated)
}

/// A trap's name and count.
fn trap_count((kind, entry): (u16, &[u8])) -> Result<Option<(&[u8], u32)>> {
    if kind != attr::HW_ENTRY {
        return Ok(None);
    }
    let (mut name, mut count) = (None, None);
    for attribute in attributes(entry) {
        match attribute? {
            (attr::HW_TRAP_NAME, value) => name = Some(until_nul(value)),
            (attr::HW_TRAP_COUNT, value) => count = Some(u32_of(value)?),
            _ => {}
        }
    }
    match (name, count) {
        (Some(name), Some(count)) => Ok(Some((name, count))),
        _ => Err(Error::invalid_data(
            "a summary of drop_monitor counts a trap without its name or its count",
        )),
    }
}

fn counted<'a>(taken: Taken, count: u32) -> Record<'a> {
    let mut record = Record::new(Time::Wall(taken.now));
    record.count = count.into();
    record
}

/// A string of the kernel's, which ends with a NUL.
fn text(value: &[u8]) -> Result<&str> {
    std::str::from_utf8(until_nul(value))
        .map_err(|e| Error::invalid_data("a string of drop_monitor is not text").caused_by(e))
}

#[cfg(test)]
mod tests;

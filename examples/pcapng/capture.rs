//! Events as blocks of pcapng.

use pcap_file::{
    DataLink, PcapError,
    pcapng::{
        PcapNgBlock as _, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};
use skbdrop::{DropEvent, EtherType, Layer};
use std::{
    collections::HashMap,
    io::{self, Write},
    time::SystemTime,
};

/// `if_tsresol`: times are in units of ten to the minus ninth second. The writer knows no other.
const NANOSECONDS: u8 = 9;
/// For packets of which it is not known what they begin with: Wireshark shows their bytes alone.
const UNKNOWN: DataLink = DataLink::USER0;

/// What makes an interface of a capture: pcapng gives each one kind of link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Interface {
    name: String,
    index: Option<u32>,
    netns: Option<u32>,
    link: u32,
}

/// A file of pcapng that is being written.
pub(crate) struct Capture<W: Write> {
    writer: PcapNgWriter<W>,
    /// By their numbers in the file.
    interfaces: HashMap<Interface, u32>,
    snap_len: u32,
    packets: u64,
}

impl<W: Write> Capture<W> {
    pub(crate) fn new(out: W, snap_len: usize) -> io::Result<Self> {
        Ok(Self {
            writer: PcapNgWriter::new(out).map_err(written)?,
            interfaces: HashMap::new(),
            snap_len: u32::try_from(snap_len).unwrap_or(u32::MAX),
            packets: 0,
        })
    }

    /// How many were written.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    /// How many interfaces were described.
    pub(crate) fn interfaces(&self) -> u64 {
        self.interfaces.len() as u64
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    pub(crate) fn write(&mut self, event: &DropEvent) -> io::Result<()> {
        let (link, bytes, length) = packet(event);
        let interface_id = self.interface(event, link)?;
        let since_1970 = event.wall_time.duration_since(SystemTime::UNIX_EPOCH);
        let mut options = vec![EnhancedPacketOption::Comment(comment(event).into())];
        if event.lost_before > 0 {
            // Of whichever interface: nothing is known of what was lost but that it was.
            options.push(EnhancedPacketOption::DropCount(event.lost_before));
        }
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: since_1970.unwrap_or_default(),
            original_len: length,
            data: bytes.into(),
            options,
        };
        self.writer
            .write_block(&block.into_block())
            .map_err(written)?;
        self.packets += 1;
        Ok(())
    }

    /// The number of the event's interface, which is described before its first packet.
    fn interface(&mut self, event: &DropEvent, link: DataLink) -> io::Result<u32> {
        let name = match (&event.ifname, event.ifindex) {
            (Some(name), _) => name.to_string(),
            (None, Some(index)) => format!("interface {index}"),
            (None, None) => "no interface".to_owned(),
        };
        let interface = Interface {
            name,
            index: event.ifindex,
            netns: event.netns.as_ref().map(|netns| netns.inode),
            link: link.into(),
        };
        if let Some(number) = self.interfaces.get(&interface) {
            return Ok(*number);
        }
        let mut options = vec![
            InterfaceDescriptionOption::IfName(interface.name.clone().into()),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        if let Some(netns) = &event.netns {
            let text = format!("in network namespace {netns}");
            options.push(InterfaceDescriptionOption::IfDescription(text.into()));
        }
        let block = InterfaceDescriptionBlock {
            linktype: link,
            snaplen: self.snap_len,
            options,
        };
        self.writer
            .write_block(&block.into_block())
            .map_err(written)?;
        let number = self.interfaces.len() as u32;
        self.interfaces.insert(interface, number);
        Ok(number)
    }
}

/// What the packet's bytes begin with, in pcapng's terms, the bytes, and how many there were of the whole packet.
fn packet(event: &DropEvent) -> (DataLink, &[u8], u32) {
    let packet = &event.packet;
    let is_ip = matches!(event.protocol, Some(EtherType::IPV4 | EtherType::IPV6));
    let (link, skipped) = match (packet.layer, packet.network_offset) {
        (Layer::Ethernet, _) => (DataLink::ETHERNET, 0),
        (Layer::Network, _) if is_ip => (DataLink::RAW, 0),
        // The kernel tells where the network layer begins, but not which of the many other links this is.
        (Layer::Link, Some(offset)) if is_ip && offset <= packet.bytes.len() => {
            (DataLink::RAW, offset)
        }
        _ => (UNKNOWN, 0),
    };
    let bytes = &packet.bytes[skipped..];
    let length = event.length.unwrap_or(0).saturating_sub(skipped as u32);
    (link, bytes, length.max(bytes.len() as u32))
}

/// `REASON at PLACE, netns …, cpu …, in PROCESS: what the reason means`.
fn comment(event: &DropEvent) -> String {
    let mut text = match &event.reason {
        Some(reason) => reason.to_string(),
        None => "dropped".to_owned(),
    };
    text += &format!(" at {}", event.location);
    if let Some(netns) = &event.netns {
        text += &format!(", netns {netns}");
    }
    if let Some(cpu) = event.cpu {
        text += &format!(", cpu {cpu}");
    }
    if let (Some(comm), Some(pid)) = (&event.comm, event.pid) {
        text += &format!(", in {comm}:{pid}");
    }
    if event.count > 1 {
        text += &format!(", {} times", event.count);
    }
    let explanation = event.reason.as_ref().and_then(|reason| reason.explain());
    if let Some(explanation) = explanation {
        let meaning = explanation.meaning();
        let end = meaning.find(". ").map_or(meaning.len(), |end| end + 1);
        text += &format!(": {}", &meaning[..end]);
    }
    text
}

/// That of writing: nothing that is given to the writer is invalid.
fn written(e: PcapError) -> io::Error {
    match e {
        PcapError::IoError(e) => e,
        e => io::Error::other(e),
    }
}

#[cfg(test)]
mod tests;

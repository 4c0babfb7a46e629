//! Recorded drops, written and read back. `tests/pcapng.rs` has tshark read real ones.

use super::*;
use pcap_file::pcapng::{Block, PcapNgReader};
use skbdrop::{Monitor, backend::replay::Replay};

fn recorded() -> DropEvent {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/drops.jsonl");
    let replay = Replay::from_path(path).expect("a recording");
    let mut monitor = Monitor::builder().source(replay).build().expect("a replay");
    let event = monitor.iter().next().expect("there is one");
    event.expect("it can be read")
}

/// What the blocks are that are written of events.
fn written(events: &[DropEvent]) -> Vec<Block<'static>> {
    let mut file = Vec::new();
    let mut capture = Capture::new(&mut file, 128).expect("it is memory");
    for event in events {
        capture.write(event).expect("it is memory");
    }
    let mut reader = PcapNgReader::new(&file[..]).expect("it is pcapng");
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block() {
        blocks.push(block.expect("it is pcapng").into_owned());
    }
    blocks
}

fn packets<'a>(
    blocks: &'a [Block<'static>],
) -> impl Iterator<Item = &'a EnhancedPacketBlock<'static>> {
    blocks.iter().filter_map(|block| match block {
        Block::EnhancedPacket(packet) => Some(packet),
        _ => None,
    })
}

#[test]
fn losses_are_told_by_the_packet_that_tells_them() {
    let mut events = [recorded(), recorded()];
    events[1].lost_before = 7;
    let blocks = written(&events);
    let losses: Vec<Option<u64>> = packets(&blocks)
        .map(|packet| {
            packet.options.iter().find_map(|option| match option {
                EnhancedPacketOption::DropCount(lost) => Some(*lost),
                _ => None,
            })
        })
        .collect();
    assert_eq!(losses, [None, Some(7)]);
}

#[test]
fn an_interface_is_one_kind_of_link_in_one_namespace() {
    let mut events = vec![recorded(); 4];
    // As if the kernel had taken the Ethernet header off, 14 bytes.
    events[1].packet.layer = Layer::Network;
    events[1].packet.bytes = events[0].packet.bytes.slice(14..);
    events[1].length = Some(60);
    // As if it was a header of another kind.
    events[2].packet.layer = Layer::Link;
    events[3].packet.layer = Layer::Data;
    let blocks = written(&events);
    let links: Vec<DataLink> = blocks
        .iter()
        .filter_map(|block| match block {
            Block::InterfaceDescription(interface) => Some(interface.linktype),
            _ => None,
        })
        .collect();
    assert_eq!(links, [DataLink::ETHERNET, DataLink::RAW, DataLink::USER0]);
    let packets: Vec<_> = packets(&blocks).collect();
    let shape = packets
        .iter()
        .map(|packet| (packet.interface_id, packet.data.len(), packet.original_len));
    assert_eq!(
        shape.collect::<Vec<_>>(),
        [(0, 74, 74), (1, 60, 60), (1, 60, 60), (2, 74, 74)]
    );
    // Both begin with the IP header.
    assert_eq!(packets[1].data, packets[2].data);
}

#[test]
fn an_event_without_a_packet_is_a_comment() {
    let mut event = recorded();
    event.packet.bytes = Default::default();
    event.packet.layer = Layer::Data;
    (event.length, event.ifname, event.ifindex, event.netns) = (None, None, None, None);
    let blocks = written(&[event]);
    let packet = packets(&blocks).next().expect("it is written");
    assert_eq!((packet.data.len(), packet.original_len), (0, 0));
    let EnhancedPacketOption::Comment(comment) = &packet.options[0] else {
        panic!("{packet:?}");
    };
    assert!(
        comment.starts_with("NO_SOCKET at __udp4_lib_rcv+0x4bc"),
        "{comment}"
    );
}

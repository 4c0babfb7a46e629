//! What a packet's bytes are, where they begin with the link layer.

use crate::Layer;

/// Length of an Ethernet header, and where its EtherType is (`struct ethhdr`).
const ETHERNET_LEN: usize = 14;
const ETHERTYPE_AT: usize = 12;
/// EtherTypes of VLAN tags, which stand before the packet's own: 802.1Q and 802.1ad.
const VLAN: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// Whether bytes from the MAC header on are Ethernet; `protocol` is in network byte order.
///
/// The device would tell, but its pointer is not to be trusted where packets are dropped. An Ethernet
/// header names the packet's own protocol, or a VLAN tag.
pub(crate) fn link_layer(packet: &[u8], protocol: Option<[u8; 2]>) -> Layer {
    let ethertype = packet.get(ETHERTYPE_AT..ETHERNET_LEN);
    let matches = |wanted: [u8; 2]| ethertype == Some(&wanted[..]);
    if protocol.is_some_and(matches) || VLAN.into_iter().any(matches) {
        Layer::Ethernet
    } else {
        Layer::Link
    }
}

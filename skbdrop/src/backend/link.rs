//! What a link-layer header is, without the device to tell.

use crate::Layer;

/// Length of an Ethernet header, and where its EtherType is (`struct ethhdr`).
const ETHERNET_LEN: usize = 14;
const ETHERTYPE_AT: usize = 12;
/// EtherTypes of VLAN tags, which stand before the packet's own: 802.1Q and 802.1ad.
const VLAN: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];
/// What the kernel calls the protocol of 802.3 frames, which have a length in place of the EtherType:
/// `ETH_P_802_3` and `ETH_P_802_2` in `include/uapi/linux/if_ether.h`.
const WITH_LENGTH: [[u8; 2]; 2] = [[0, 1], [0, 4]];
/// Lengths end here, EtherTypes begin (`ETH_P_802_3_MIN`).
const FIRST_ETHERTYPE: u16 = 0x0600;

/// The layer of `packet`, which begins at its link-layer header; `protocol` is `skb->protocol` in network
/// byte order. The device would tell, but its pointer is not to be trusted where packets are dropped. An
/// Ethernet header names the packet's own protocol, or a VLAN tag, or has a length.
pub(super) fn link_layer(packet: &[u8], protocol: Option<[u8; 2]>) -> Layer {
    let Some(ethertype) = packet.get(ETHERTYPE_AT..ETHERNET_LEN) else {
        return Layer::Link;
    };
    let matches = |wanted: [u8; 2]| ethertype == wanted;
    let length = u16::from_be_bytes([ethertype[0], ethertype[1]]) < FIRST_ETHERTYPE;
    let with_length = length && protocol.is_some_and(|protocol| WITH_LENGTH.contains(&protocol));
    if protocol.is_some_and(matches) || VLAN.into_iter().any(matches) || with_length {
        Layer::Ethernet
    } else {
        Layer::Link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_is_known_by_what_it_names() {
        let frame = |ethertype: [u8; 2]| {
            let mut frame = [0; 20];
            frame[ETHERTYPE_AT..ETHERNET_LEN].copy_from_slice(&ethertype);
            frame
        };
        assert_eq!(link_layer(&frame([8, 0]), Some([8, 0])), Layer::Ethernet);
        assert_eq!(link_layer(&frame([0x81, 0]), Some([8, 0])), Layer::Ethernet);
        assert_eq!(link_layer(&frame([0, 38]), Some([0, 4])), Layer::Ethernet);
        assert_eq!(link_layer(&frame([0, 38]), Some([8, 0])), Layer::Link);
        assert_eq!(link_layer(&frame([9, 9]), Some([8, 0])), Layer::Link);
        assert_eq!(link_layer(&frame([8, 0])[..13], Some([8, 0])), Layer::Link);
        assert_eq!(link_layer(&[], None), Layer::Link);
    }
}

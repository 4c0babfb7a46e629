//! What people call noise.

/// Reasons that are noise by name, each with why, as a slice and as rows of a table.
macro_rules! noise {
    ($($name:literal: $why:literal,)*) => {
        /// The reasons that are noise. No kernel has all of them.
        pub(super) const NOISE: &[&str] = &[$($name),*];

        /// The rows of the table in the documentation.
        macro_rules! table {
            () => {
                concat!($("| `", $name, "` | ", $why, " |\n"),*)
            };
        }
    };
}

noise! {
    "OTHERHOST": "the frame was for another host; a switch floods such, or the interface is promiscuous",
    "UNICAST_IN_L2_MULTICAST": "a packet for one host in a frame for many",
    "UNHANDLED_PROTO": "nobody here handles the EtherType: LLDP, spanning tree, other vendors' discovery",
    "MAC_IEEE_MAC_CONTROL": "a pause frame or the like, which is for the device",
    "IPV6DISABLED": "IPv6 is switched off on the interface, and others speak it",
    "IPV6_NDISC_NS_OTHERHOST": "a neighbour solicitation for another host",
    "ARP_PVLAN_DISABLE": "an ARP request within a private VLAN, which this host does not answer for others",
    "BRIDGE_INGRESS_STP_STATE": "the bridge's port is blocked by spanning tree, as it should be",
    "PACKET_SOCK_ERROR": "a packet socket's own copy, which the socket did not take",
    "TCP_OLD_DATA": "TCP has these bytes already: a retransmission that was not needed",
    "TCP_OLD_SEQUENCE": "as before, told by the sequence number",
    "TCP_OLD_ACK": "an acknowledgement that a later one has overtaken",
    "TCP_OFOMERGE": "these bytes are in TCP's queue of early segments already",
    "TCP_RFC7323_PAWS": "a duplicate from before, told by its timestamp",
    "TCP_RFC7323_PAWS_ACK": "an acknowledgement from before, told by its timestamp",
    "TCP_ACK_UNSENT_DATA": "an acknowledgement of what was not sent yet: a stray from an older connection",
    "TCP_INVALID_SEQUENCE": "out of the window, as retransmissions of a closed connection are",
}

#[expect(
    clippy::single_component_path_imports,
    reason = "a macro is not reached by its module's path otherwise"
)]
pub(super) use table;

//! Ethernet and VLAN tags.

use crate::EtherType;
use etherparse::{Ethernet2Slice, LaxSlicedPacket, SingleVlanSlice};
use std::{fmt, ops::Deref};

/// An Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ethernet {
    /// Sender.
    pub source: MacAddress,
    /// Receiver.
    pub destination: MacAddress,
    /// What follows: a VLAN tag or the network header; below 1536 it is a length (IEEE 802.3).
    pub protocol: EtherType,
}

/// A hardware address of 48 bits. `Display` is `00:00:5e:00:53:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it is a group's, broadcast included.
    #[must_use]
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A VLAN tag (IEEE 802.1Q).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct VlanTag {
    /// Kind of tag: [`EtherType::VLAN`] or [`EtherType::QINQ`]. `None` if what was before the tag is not in the bytes.
    pub protocol: Option<EtherType>,
    /// Number of the VLAN, 0 to 4095.
    pub id: u16,
    /// Priority, 0 to 7.
    pub priority: u8,
    /// May be dropped first when there is congestion.
    pub drop_eligible: bool,
}

impl VlanTag {
    /// Of the tag's 16 bits (`TCI`), host byte order.
    #[cfg_attr(not(feature = "ebpf"), expect(dead_code))]
    pub(crate) fn of_tci(protocol: Option<EtherType>, tci: u16) -> Self {
        Self {
            protocol,
            id: tci & 0xfff,
            priority: (tci >> 13) as u8,
            drop_eligible: tci & 0x1000 != 0,
        }
    }

    pub(super) fn of(protocol: Option<EtherType>, tag: &SingleVlanSlice<'_>) -> Self {
        Self {
            protocol,
            id: tag.vlan_identifier().value(),
            priority: tag.priority_code_point().value(),
            drop_eligible: tag.drop_eligible_indicator(),
        }
    }
}

/// The VLAN tags of a packet, the outer one first: a slice of at most three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlanTags {
    tags: [VlanTag; LaxSlicedPacket::LINK_EXTS_CAP],
    len: usize,
}

impl VlanTags {
    /// There is room for as many as the parser gives.
    pub(super) fn push(&mut self, tag: VlanTag) {
        if let Some(free) = self.tags.get_mut(self.len) {
            *free = tag;
            self.len += 1;
        }
    }
}

impl Deref for VlanTags {
    type Target = [VlanTag];

    fn deref(&self) -> &[VlanTag] {
        &self.tags[..self.len]
    }
}

impl Ethernet {
    pub(super) fn of(header: &Ethernet2Slice<'_>) -> Self {
        Self {
            source: MacAddress(header.source()),
            destination: MacAddress(header.destination()),
            protocol: EtherType(header.ether_type().0),
        }
    }
}

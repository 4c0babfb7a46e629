//! Netlink messages and their attributes, as bytes. Pure.

use crate::{Error, Result};
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable as _, NetlinkBuffer, NetlinkHeader, NlasIterator,
};

/// Length of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Length of `struct genlmsghdr`: command, version, two bytes of nothing.
const GENERIC_LEN: usize = 4;

/// A netlink message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// A family's number, or one of netlink's own below 16.
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message of `bytes`, and what follows it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let header = NetlinkBuffer::new_checked(bytes).map_err(malformed)?;
        let len = header.length() as usize;
        let message = Self {
            kind: header.message_type(),
            flags: header.flags(),
            sequence: header.sequence_number(),
            payload: &bytes[HEADER_LEN..len],
        };
        let next = len.next_multiple_of(4).min(bytes.len());
        Ok((message, &bytes[next..]))
    }

    /// The generic netlink command and the attributes.
    pub(super) fn generic(&self) -> Result<(u8, &'a [u8])> {
        match self.payload.split_at_checked(GENERIC_LEN) {
            Some((header, attributes)) => Ok((header[0], attributes)),
            None => Err(Error::invalid_data(
                "a generic netlink message is shorter than its header",
            )),
        }
    }
}

/// The attributes one after the other: type without its flags, and value.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8])>> {
    NlasIterator::new(bytes).map(|attribute| {
        let attribute = attribute.map_err(malformed)?;
        let (kind, len) = (attribute.kind(), attribute.length() as usize);
        // The buffer reaches to the end of all attributes; its length was checked.
        Ok((kind, &attribute.into_inner()[len.min(4)..len]))
    })
}

/// A request to a generic netlink family.
pub(super) fn request(
    family: u16,
    flags: u16,
    sequence: u32,
    (command, version): (u8, u8),
    attributes: &[DefaultNla],
) -> Vec<u8> {
    let len = HEADER_LEN + GENERIC_LEN + attributes.buffer_len();
    let mut header = NetlinkHeader::default();
    header.length = len as u32; // some dozen bytes
    header.message_type = family;
    header.flags = flags;
    header.sequence_number = sequence;
    let mut bytes = vec![0; len];
    header.emit(&mut bytes);
    bytes[HEADER_LEN] = command;
    bytes[HEADER_LEN + 1] = version;
    attributes.emit(&mut bytes[HEADER_LEN + GENERIC_LEN..]);
    bytes
}

/// An integer of exactly this size, in the CPU's byte order as netlink has it.
macro_rules! integer {
    ($name:ident, $type:ty) => {
        pub(super) fn $name(value: &[u8]) -> Result<$type> {
            match value.try_into() {
                Ok(bytes) => Ok(<$type>::from_ne_bytes(bytes)),
                Err(_) => Err(Error::invalid_data(format!(
                    "a netlink attribute has {} bytes where {} were expected",
                    value.len(),
                    size_of::<$type>()
                ))),
            }
        }
    };
}
integer!(u8_of, u8);
integer!(u16_of, u16);
integer!(u32_of, u32);
integer!(u64_of, u64);

fn malformed(error: DecodeError) -> Error {
    Error::invalid_data("a netlink message is malformed").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back() {
        let wanted = [
            DefaultNla::new(20, Vec::new()),
            DefaultNla::new(1, vec![7]),
            DefaultNla::new(0, vec![1, 2, 3, 4]),
        ];
        let bytes = request(32, 5, 9, (3, 2), &wanted);
        let (message, rest) = Message::parse(&bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!((message.kind, message.flags, message.sequence), (32, 5, 9));
        let (command, attrs) = message.generic().unwrap();
        assert_eq!(command, 3);
        let attrs: Vec<_> = attributes(attrs).map(Result::unwrap).collect();
        assert_eq!(
            attrs,
            [(20, &[][..]), (1, &[7][..]), (0, &[1, 2, 3, 4][..])]
        );
    }

    #[test]
    fn flags_are_no_part_of_the_type() {
        let head = [8u16, 4 | 0x8000].map(u16::to_ne_bytes);
        let nested = [head.as_flattened(), &[1, 0, 0, 0]].concat();
        let attrs: Vec<_> = attributes(&nested).map(Result::unwrap).collect();
        assert_eq!(attrs, [(4, &[1, 0, 0, 0][..])]);
    }

    #[test]
    fn lengths_that_lie_are_told() {
        for bytes in [&[3, 0, 1, 0][..], &[9, 0, 1, 0, 1, 2, 3, 4], &[4, 0, 1]] {
            assert!(attributes(bytes).any(|attribute| attribute.is_err()));
        }
        for len in [0u32, 15, 17] {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert!(Message::parse(&bytes).is_err(), "{len}");
        }
    }
}

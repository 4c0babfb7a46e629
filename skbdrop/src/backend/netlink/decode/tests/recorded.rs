//! Messages that little-endian machines recorded, as a kernel of this machine's byte order sends them.

use super::super::{POINT_LEN, attr};

/// Whose attributes they are: each has its own from 0 on.
#[derive(Clone, Copy)]
enum Parent {
    Message,
    Port,
}

pub(super) fn to_own_byte_order(message: &mut [u8]) {
    if cfg!(target_endian = "big") {
        reverse_message(message);
    }
}

fn reverse_message(message: &mut [u8]) {
    // `struct nlmsghdr`; what follows it, `struct genlmsghdr`, is of bytes.
    for field in [0..4, 4..6, 6..8, 8..12, 12..16] {
        message[field].reverse();
    }
    reverse_attributes(&mut message[20..], Parent::Message);
}

fn reverse_attributes(mut bytes: &mut [u8], parent: Parent) {
    while let Some(&[a, b, c, d]) = bytes.first_chunk() {
        let len = usize::from(u16::from_le_bytes([a, b]));
        // Without its flags.
        let kind = u16::from_le_bytes([c, d]) & 0x3fff;
        bytes[..2].reverse();
        bytes[2..4].reverse();
        reverse_value(&mut bytes[4..len], kind, parent);
        let next = len.next_multiple_of(4).min(bytes.len());
        bytes = &mut bytes[next..];
    }
}

fn reverse_value(value: &mut [u8], kind: u16, parent: Parent) {
    match (parent, kind) {
        (Parent::Message, attr::IN_PORT) => reverse_attributes(value, Parent::Port),
        (Parent::Message, attr::HW_ENTRIES | attr::HW_ENTRY) => {
            reverse_attributes(value, Parent::Message);
        }
        (Parent::Message, attr::SUMMARY) => {
            let (count, points) = value.split_at_mut(4);
            count.reverse();
            for point in points.chunks_exact_mut(POINT_LEN) {
                point[..8].reverse();
                point[8..].reverse();
            }
        }
        // Numbers of any size.
        (
            Parent::Message,
            attr::PC
            | attr::TIMESTAMP
            | attr::PROTO
            | attr::ORIG_LEN
            | attr::ORIGIN
            | attr::HW_TRAP_COUNT,
        )
        | (Parent::Port, attr::PORT_IFINDEX) => value.reverse(),
        _ => {}
    }
}

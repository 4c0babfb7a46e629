//! Netlink messages, and the kernel's lists of sockets, for fuzzing.

use super::{
    answer::{self, outcome},
    decode::{Taken, decode, time},
    heritage, members,
    message::{Message, attributes},
};
use crate::{BackendKind, fuzz::delivered};

/// Decodes `data` as what one receive gives: messages one after the other, of drop_monitor or in answer
/// to a request.
pub fn netlink(data: &[u8]) {
    let mut rest = data;
    while let Ok((message, next)) = Message::parse(rest) {
        assert!(next.len() < rest.len(), "no end");
        rest = next;
        assert!(message.payload.len() < data.len());
        let _ = time(&message);
        let _ = outcome(&message).map_err(|refusal| refusal.when("cannot fuzz").to_string());
        if let Ok((_, bytes)) = message.generic() {
            let _ = answer::family(bytes);
            let values = attributes(bytes).map_while(Result::ok);
            assert!(values.map(|(_, value)| value.len()).sum::<usize>() <= bytes.len());
        }
        for (snap_len, hardware) in [(0, false), (16384, true)] {
            alert(
                &message,
                Taken {
                    snap_len,
                    hardware,
                    now: 7,
                },
            );
        }
    }
}

fn alert(message: &Message<'_>, taken: Taken) {
    let mut records = Vec::new();
    let decoded = decode(message, message.kind, taken, &mut |record| {
        records.push(record)
    });
    assert!(decoded.is_ok() || records.is_empty(), "half of a message");
    for record in &records {
        assert!(record.packet.len() <= taken.snap_len);
        assert!(taken.hardware || record.trap.is_none());
    }
    let other = decode(message, !message.kind, taken, &mut |_| {
        panic!("another family's")
    });
    assert!(other.is_err());
    delivered(records, BackendKind::Netlink);
}

/// Reads `text` as the lists of netlink's and of UNIX's sockets.
pub(crate) fn sockets(text: &str) {
    for group in [0, 1, 32, 33, u32::MAX] {
        assert!(members::count(text, group) <= text.lines().count());
    }
    for name in heritage::names(text) {
        assert!(text.contains(name));
        let _ = heritage::read(name);
    }
}

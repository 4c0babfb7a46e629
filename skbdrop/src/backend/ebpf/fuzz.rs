//! Items of the ring buffer, for fuzzing.

use super::decode::decode;
use crate::{BackendKind, fuzz::delivered};

/// Decodes `data` as an item of the ring buffer.
pub fn record(data: &[u8]) {
    let Ok(decoded) = decode(data) else {
        return;
    };
    let record = decoded.record;
    let (item, packet) = (data.as_ptr_range(), record.packet.as_ptr_range());
    assert!(item.start <= packet.start && packet.end <= item.end);
    assert_eq!(record.cpu, Some(decoded.cpu.into()));
    delivered(vec![record], BackendKind::Ebpf);
}

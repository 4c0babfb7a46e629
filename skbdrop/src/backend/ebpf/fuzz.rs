//! Items of the ring buffer, and filters' code, for fuzzing.

use super::{decode::decode, filter::compile};
use crate::{BackendKind, filter::Plan, fuzz::delivered};

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

/// Compiles a plan for the kernel.
pub(crate) fn filter(plan: &Plan) {
    let Ok(compiled) = compile(plan) else {
        return;
    };
    let code = compiled.instructions;
    // `BPF_JMP | BPF_EXIT`: it does not run on into what comes behind.
    assert_eq!(code.last().map(|last| last.code), Some(0x95));
}

//! Items of the ring buffer, and filters' code, for fuzzing.

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

/// Compiles a plan for the kernel.
#[cfg(feature = "replay")] // whose fuzzing has plans
pub(crate) fn filter(plan: &crate::filter::Plan) {
    use super::filter::compile;
    use aya_obj::generated::{BPF_CALL, BPF_EXIT, BPF_JMP, BPF_JMP32};

    let Ok(compiled) = compile(plan) else {
        return;
    };
    let code = compiled.instructions;
    for (at, it) in code.iter().enumerate() {
        let code_of = u32::from(it.code);
        let is_jump =
            matches!(code_of & 0x07, BPF_JMP | BPF_JMP32) && code_of != BPF_JMP | BPF_CALL;
        // It leaves by its end alone.
        assert_ne!(code_of, BPF_JMP | BPF_EXIT);
        let to = at as i64 + 1 + i64::from(it.off);
        assert!(!is_jump || ((at as i64) < to && to <= code.len() as i64));
    }
}

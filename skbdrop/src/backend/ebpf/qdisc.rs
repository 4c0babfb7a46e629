//! What the programs have to know of the tracepoint `qdisc:qdisc_drop`, out of the kernel's BTF.

use crate::{
    Result,
    btf::{Argument, DropTypes, Tracepoint},
};
use skbdrop_ebpf::Config;

/// The tracepoint and the types that it leads to, on a kernel that has them all: since Linux 7.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct QdiscFacts {
    /// Number of the tracepoint's prototype in the BTF that was read.
    pub(super) tracepoint_id: u32,
    arg_qdisc: u32,
    arg_skb: u32,
    arg_reason: u32,
    ops: u32,
    handle: u32,
    parent: u32,
    kind: u32,
    /// The core's reason with which the packet is freed.
    core_reason: u32,
}

impl QdiscFacts {
    /// Looks them up; `None` if this kernel has them not.
    pub(super) fn of(types: &DropTypes) -> Result<Option<Self>> {
        let Some(tracepoint_id) = types.tracepoint_id(Tracepoint::QdiscDrop) else {
            return Ok(None);
        };
        let arguments = types.arguments(Tracepoint::QdiscDrop)?.unwrap_or_default();
        let argument = |wanted| {
            let at = arguments.iter().position(|&argument| argument == wanted);
            at.map(|at| at as u32)
        };
        let qdisc = |name| types.offset("Qdisc", &[name]);
        let core_reason = types.enums()?.into_iter().find_map(|found| {
            let mut values = found.values.into_iter();
            let reason = values.find(|(name, _)| name == "SKB_DROP_REASON_QDISC_DROP")?;
            u32::try_from(reason.1).ok()
        });
        let found = (
            (argument(Argument::Qdisc), argument(Argument::Skb)),
            argument(Argument::QdiscReason),
            (qdisc("ops")?, qdisc("handle")?, qdisc("parent")?),
            types.offset("Qdisc_ops", &["id"])?,
            core_reason,
        );
        let (
            (Some(arg_qdisc), Some(arg_skb)),
            Some(arg_reason),
            (Some(ops), Some(handle), Some(parent)),
            Some(kind),
            Some(core_reason),
        ) = found
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            tracepoint_id,
            arg_qdisc,
            arg_skb,
            arg_reason,
            ops,
            handle,
            parent,
            kind,
            core_reason,
        }))
    }

    /// Puts them into the programs' configuration.
    pub(super) fn put(self, config: &mut Config) {
        config.qdisc_drop = self.core_reason;
        config.arg_qdisc = self.arg_qdisc;
        config.arg_qdisc_skb = self.arg_skb;
        config.arg_qdisc_reason = self.arg_reason;
        config.qdisc_ops = self.ops;
        config.qdisc_handle = self.handle;
        config.qdisc_parent = self.parent;
        config.qdisc_ops_id = self.kind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skbdrop_ebpf::ABSENT;

    const STRUCT: u32 = 4 << 24;
    const ENUM: u32 = 6 << 24 | 1;
    const POINTER: u32 = 2 << 24;

    /// The types of a kernel whose core reason has this name.
    fn types(core_reason: &str) -> DropTypes {
        let mut strings = vec![0];
        let mut name = |text: &str| {
            let at = strings.len() as u32;
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        let parts: [Vec<u32>; 11] = [
            // Members: name, type, bits from the start.
            [name("Qdisc"), STRUCT | 3, 64]
                .into_iter()
                .chain([name("ops"), 0, 64, name("handle"), 0, 128])
                .chain([name("parent"), 0, 160])
                .collect(),
            vec![name("Qdisc_ops"), STRUCT | 1, 40, name("id"), 0, 192],
            vec![0, POINTER, 1],
            vec![name("sk_buff"), STRUCT, 8],
            vec![0, POINTER, 4],
            vec![
                name("qdisc_drop_reason"),
                ENUM,
                4,
                name("QDISC_DROP_OVERLIMIT"),
                7,
            ],
            vec![name("skb_drop_reason"), ENUM, 4, name(core_reason), 77],
            // The probe's own data, the discipline, two that do not matter, the packet, the reason.
            vec![0, 13 << 24 | 6, 0, 0, 9, 0, 3, 0, 9, 0, 9, 0, 5, 0, 6],
            vec![0, POINTER, 0],
            vec![0, POINTER, 8],
            vec![name("btf_trace_qdisc_drop"), 8 << 24, 10],
        ];
        let words = parts.concat();
        let len = 4 * words.len() as u32;
        let mut btf = b"\x9f\xeb\x01\0".to_vec();
        let header = [24, 0, len, len, strings.len() as u32];
        btf.extend(header.into_iter().chain(words).flat_map(u32::to_le_bytes));
        btf.extend_from_slice(&strings);
        DropTypes::parse(&btf).expect("good BTF")
    }

    #[test]
    fn all_of_it_is_found_or_none() {
        let all = QdiscFacts::of(&types("SKB_DROP_REASON_QDISC_DROP"));
        let facts = all.expect("good BTF").expect("all there");
        assert_eq!(facts.tracepoint_id, 11);
        let mut config = Config::EMPTY;
        facts.put(&mut config);
        let arguments = (
            config.arg_qdisc,
            config.arg_qdisc_skb,
            config.arg_qdisc_reason,
        );
        assert_eq!(arguments, (0, 3, 4));
        let offsets = (
            config.qdisc_ops,
            config.qdisc_handle,
            config.qdisc_parent,
            config.qdisc_ops_id,
        );
        assert_eq!(offsets, (8, 16, 20, 24));
        assert_eq!((config.qdisc_drop, config.qdisc_at), (77, ABSENT));
        let none = QdiscFacts::of(&types("SKB_DROP_REASON_OTHER"));
        assert_eq!(none.expect("good BTF"), None);
    }
}

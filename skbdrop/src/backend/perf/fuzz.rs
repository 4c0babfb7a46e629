//! Records of perf's rings and the text that describes them, for fuzzing.

use super::{
    decode::{Item, decode},
    format::Format,
};
use crate::{
    BackendKind,
    backend::{Reason, Time},
    fuzz::delivered,
};

/// Reads `data` as the tracepoint's `format`, a NUL, and records as they are in a ring.
pub fn perf(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let Ok(format) = Format::parse(&text) else {
        return;
    };
    let mut rest = parts.next().unwrap_or_default();
    let (mut records, mut lost) = (Vec::new(), 0u64);
    // `struct perf_event_header`: type, two bytes of no matter here, size.
    while let Some((&[a, b, c, d, _, _, e, f], after)) = rest.split_first_chunk() {
        let (kind, size) = (u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]));
        let len = usize::from(size).saturating_sub(8).min(after.len());
        let (body, next) = after.split_at(len);
        rest = next;
        match decode(kind, body, &format) {
            Ok(Item::Sample(sample)) => {
                let record = sample.record();
                let raw = &body[28..];
                let told =
                    |field: Option<super::format::Field>| field.and_then(|field| field.read(raw));
                assert_eq!(record.time, Time::Monotonic(sample.time));
                assert_eq!(record.location, told(Some(format.location)));
                let reason = match record.reason {
                    Some(Reason::Number(number)) => Some(u64::from(number)),
                    None => None,
                    other => panic!("perf has no names: {other:?}"),
                };
                assert_eq!(
                    reason,
                    told(format.reason),
                    "another number than the kernel's"
                );
                let protocol = told(format.protocol).filter(|&protocol| protocol != 0);
                assert_eq!(record.protocol.map(u64::from), protocol);
                records.push(record);
            }
            Ok(Item::Lost(count)) => lost = lost.saturating_add(count),
            Ok(Item::Other) | Err(_) => {}
        }
    }
    if let Some(first) = records.first_mut() {
        first.lost_before = lost;
    }
    delivered(records, BackendKind::Perf);
}

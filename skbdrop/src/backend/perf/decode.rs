//! From the bytes of a perf record to what it says. Pure: no descriptor, no clock.
//!
//! The layout of a record is that of perf_event_open(2) for the sample type that `source.rs` asks
//! for, and inside it that of the tracepoint, which tracefs describes.

use super::format::{Field, Format};
use crate::{
    Error, Result,
    backend::record::{Reason, Record, Time},
};

/// `PERF_RECORD_LOST` and `PERF_RECORD_SAMPLE` in `include/uapi/linux/perf_event.h`.
const LOST: u32 = 2;
const SAMPLE: u32 = 9;

/// What a record of the ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A drop.
    Sample(Sample),
    /// So many drops before the next one were lost.
    Lost(u64),
    /// Nothing that matters here.
    Other,
}

/// A drop as perf tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) pid: u32,
    pub(super) tid: u32,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub(super) time: u64,
    pub(super) cpu: u32,
    skbaddr: u64,
    location: u64,
    rx_sk: Option<u64>,
    protocol: Option<u16>,
    reason: Option<u32>,
}

/// Decodes the body of a record of type `ty`, what follows its header.
pub(super) fn decode(ty: u32, body: &[u8], format: &Format) -> Result<Item> {
    let truncated = |what: &str| {
        Error::invalid_data(format!(
            "a perf record is truncated: {} bytes end before its {what}",
            body.len()
        ))
    };
    match ty {
        SAMPLE => Sample::decode(body, format, truncated).map(Item::Sample),
        // An identifier, then the number.
        LOST => word(body, 8)
            .map(Item::Lost)
            .ok_or_else(|| truncated("count")),
        _ => Ok(Item::Other),
    }
}

impl Sample {
    /// `PERF_SAMPLE_TID`, `_TIME`, `_CPU` and `_RAW`, in the order that the kernel has for them.
    fn decode(body: &[u8], format: &Format, truncated: impl Fn(&str) -> Error) -> Result<Self> {
        let short = |at: usize, what: &str| half(body, at).ok_or_else(|| truncated(what));
        let raw_len = short(24, "raw data")? as usize;
        let raw = body.get(28..).and_then(|rest| rest.get(..raw_len));
        let raw = raw.ok_or_else(|| truncated("raw data"))?;
        let field = |field: Field, what: &str| field.read(raw).ok_or_else(|| truncated(what));
        let optional = |wanted: Option<Field>, what: &str| {
            wanted.map(|wanted| field(wanted, what)).transpose()
        };
        Ok(Self {
            pid: short(0, "process")?,
            tid: short(4, "thread")?,
            time: word(body, 8).ok_or_else(|| truncated("time"))?,
            cpu: short(16, "CPU")?,
            skbaddr: field(format.skbaddr, "skbaddr")?,
            location: field(format.location, "location")?,
            rx_sk: optional(format.rx_sk, "rx_sk")?,
            protocol: fitting(optional(format.protocol, "protocol")?, "protocol")?,
            reason: fitting(optional(format.reason, "reason")?, "reason")?,
        })
    }

    /// One of which nothing else is known.
    #[cfg(test)]
    pub(super) fn at(time: u64) -> Self {
        Self {
            time,
            ..Self::default()
        }
    }

    /// The record that it stands for.
    pub(super) fn record(&self) -> Record<'static> {
        let mut record = Record::new(Time::Monotonic(self.time));
        record.reason = self.reason.map(Reason::Number);
        record.location = Some(self.location);
        record.skb_address = Some(self.skbaddr);
        record.rx_sk_address = self.rx_sk.filter(|&address| address != 0);
        // The kernel turns it into host byte order for the trace; 0 is no protocol.
        record.protocol = self.protocol.filter(|&protocol| protocol != 0);
        record.cpu = Some(self.cpu);
        record.pid = Some(self.pid);
        record.tid = Some(self.tid);
        record
    }
}

/// A number cut to its lower half would be another one.
fn fitting<T: TryFrom<u64>>(number: Option<u64>, what: &str) -> Result<Option<T>> {
    let fits = number.map(T::try_from).transpose();
    fits.map_err(|_| {
        Error::invalid_data(format!(
            "a perf record has a {what} of more bits than the kernel's have"
        ))
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format() -> Format {
        let field = |offset, size| Field { offset, size };
        Format {
            id: 1,
            skbaddr: field(8, 8),
            location: field(16, 8),
            protocol: Some(field(32, 2)),
            rx_sk: Some(field(24, 8)),
            reason: Some(field(36, 4)),
        }
    }

    /// A sample's body with the tracepoint's record as of Linux 6.18.
    fn body() -> Vec<u8> {
        let mut body = Vec::new();
        for half in [10u32, 11] {
            body.extend_from_slice(&half.to_ne_bytes());
        }
        body.extend_from_slice(&123_456u64.to_ne_bytes());
        for half in [3u32, 0, 44] {
            body.extend_from_slice(&half.to_ne_bytes());
        }
        let mut raw = [0; 44];
        raw[8..16].copy_from_slice(&0xffff_8881_0000_0000u64.to_ne_bytes());
        raw[16..24].copy_from_slice(&0xffff_ffff_8100_0042u64.to_ne_bytes());
        raw[32..34].copy_from_slice(&0x86ddu16.to_ne_bytes());
        raw[36..40].copy_from_slice(&7u32.to_ne_bytes());
        body.extend_from_slice(&raw);
        body
    }

    #[test]
    fn a_sample_says_what_the_kernel_wrote() {
        let Ok(Item::Sample(sample)) = decode(SAMPLE, &body(), &format()) else {
            panic!("a good sample");
        };
        let record = sample.record();
        assert_eq!(record.time, Time::Monotonic(123_456));
        assert_eq!(
            (record.pid, record.tid, record.cpu),
            (Some(10), Some(11), Some(3))
        );
        assert_eq!(record.reason, Some(Reason::Number(7)));
        assert_eq!(record.location, Some(0xffff_ffff_8100_0042));
        assert_eq!(record.protocol, Some(0x86dd));
        assert_eq!(record.rx_sk_address, None);
    }

    #[test]
    fn a_kernel_without_reasons_gives_none() {
        let old = Format {
            reason: None,
            rx_sk: None,
            ..format()
        };
        let Ok(Item::Sample(sample)) = decode(SAMPLE, &body(), &old) else {
            panic!("a good sample");
        };
        assert_eq!(sample.record().reason, None);
    }

    #[test]
    fn a_number_of_too_many_bits_is_not_cut() {
        let wide = |reason| Format {
            reason: Some(Field {
                offset: reason,
                size: 8,
            }),
            ..format()
        };
        // The lower half of the socket's address would be a good number.
        let mut body = body();
        body[28 + 24..28 + 32].copy_from_slice(&(7u64 | 1 << 32).to_ne_bytes());
        assert!(decode(SAMPLE, &body, &wide(24)).is_err());
        let protocol = Format {
            protocol: Some(Field {
                offset: 12,
                size: 4,
            }),
            ..format()
        };
        assert!(decode(SAMPLE, &body, &protocol).is_err());
        let Ok(Item::Sample(sample)) = decode(SAMPLE, &body, &wide(36)) else {
            panic!("a number of eight bytes that fits");
        };
        assert_eq!(sample.record().reason, Some(Reason::Number(7)));
    }

    #[test]
    fn truncated_and_hostile_records_are_errors() {
        let whole = body();
        for end in 0..whole.len() {
            let result = decode(SAMPLE, &whole[..end], &format());
            assert!(result.is_err(), "{end} bytes");
        }
        for end in 0..16 {
            assert!(decode(LOST, &whole[..end], &format()).is_err());
        }
        let mut endless = whole.clone();
        endless[24..28].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(decode(SAMPLE, &endless, &format()).is_err());
        assert_eq!(
            decode(u32::MAX, &[], &format()).expect("unknown types pass"),
            Item::Other
        );
    }
}

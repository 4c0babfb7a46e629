//! The layout of the tracepoint's records, as tracefs's `format` describes it.

use crate::{Error, Result};

/// The layout of the tracepoint's records, as `format` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// The number by which perf_event_open(2) knows the tracepoint.
    pub(super) id: u64,
    pub(super) skbaddr: Field,
    pub(super) location: Field,
    pub(super) protocol: Option<Field>,
    /// Since Linux 6.11.
    pub(super) rx_sk: Option<Field>,
    /// Since Linux 5.17.
    pub(super) reason: Option<Field>,
}

/// Where an integer is in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) offset: usize,
    /// Bytes: 1, 2, 4 or 8.
    pub(super) size: usize,
}

impl Format {
    /// Parses the text of a `format` file.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| {
            Error::invalid_data(format!(
                "not the `format` of the tracepoint skb:kfree_skb: it has no {what}"
            ))
        };
        if !text.starts_with("name: kfree_skb\n") {
            return Err(bad("`name: kfree_skb`"));
        }
        let id = text.lines().find_map(|line| line.strip_prefix("ID: "));
        let id = id
            .and_then(|id| id.trim().parse().ok())
            .ok_or_else(|| bad("`ID`"))?;
        let field = |name: &str| text.lines().find_map(|line| parse_field(line, name));
        Ok(Self {
            id,
            skbaddr: field("skbaddr").ok_or_else(|| bad("field `skbaddr`"))?,
            location: field("location").ok_or_else(|| bad("field `location`"))?,
            protocol: field("protocol"),
            rx_sk: field("rx_sk"),
            reason: field("reason"),
        })
    }
}

impl Field {
    /// Reads it from a record, native byte order; `None` if the record ends before it.
    pub(super) fn read(self, record: &[u8]) -> Option<u64> {
        let bytes = record.get(self.offset..self.offset.checked_add(self.size)?)?;
        Some(match self.size {
            1 => bytes[0].into(),
            2 => u16::from_ne_bytes(bytes.try_into().ok()?).into(),
            4 => u32::from_ne_bytes(bytes.try_into().ok()?).into(),
            8 => u64::from_ne_bytes(bytes.try_into().ok()?),
            _ => return None,
        })
    }
}

/// Parses a line like `field:void * skbaddr; offset:8; size:8; signed:0;` (with tabs) if it is of
/// the field `name`.
fn parse_field(line: &str, name: &str) -> Option<Field> {
    let mut parts = line.trim().strip_prefix("field:")?.split(';');
    let declared = parts.next()?.rsplit([' ', '*']).next()?;
    if declared != name {
        return None;
    }
    let mut number = |key: &str| {
        parts
            .next()?
            .trim()
            .strip_prefix(key)?
            .parse::<usize>()
            .ok()
    };
    let (offset, size) = (number("offset:")?, number("size:")?);
    matches!(size, 1 | 2 | 4 | 8).then_some(Field { offset, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: kfree_skb\nID: 1234\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:void * location;\toffset:16;\tsize:8;\tsigned:0;\n\
        \tfield:void *rx_sk;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned short protocol;\toffset:32;\tsize:2;\tsigned:0;\n\
        \tfield:enum skb_drop_reason reason;\toffset:36;\tsize:4;\tsigned:0;\n";

    #[test]
    fn fields_are_where_the_kernel_says() {
        let format = Format::parse(FORMAT).expect("a good format");
        assert_eq!(format.id, 1234);
        assert_eq!(
            format.rx_sk,
            Some(Field {
                offset: 24,
                size: 8
            })
        );
        assert_eq!(
            format.reason,
            Some(Field {
                offset: 36,
                size: 4
            })
        );
        let mut record = [0; 40];
        record[36..].copy_from_slice(&7u32.to_ne_bytes());
        assert_eq!(format.reason.and_then(|field| field.read(&record)), Some(7));
        assert_eq!(
            format.reason.and_then(|field| field.read(&record[..39])),
            None
        );
        let far = Field {
            offset: usize::MAX,
            size: 4,
        };
        assert_eq!(far.read(&record), None);
    }

    #[test]
    fn old_and_bad_formats() {
        let old = FORMAT
            .lines()
            .filter(|line| !line.contains("reason") && !line.contains("rx_sk"));
        let old = Format::parse(&old.collect::<Vec<_>>().join("\n")).expect("as on 5.10");
        assert_eq!((old.reason, old.rx_sk), (None, None));
        for end in 0..FORMAT.len() - 200 {
            let _ = Format::parse(&FORMAT[..end]);
        }
        for missing in [
            "name:",
            "ID:",
            "skbaddr",
            "location",
            "offset:8;",
            "size:8;",
        ] {
            let text = FORMAT.replace(missing, "other");
            Format::parse(&text).expect_err(missing);
        }
    }
}

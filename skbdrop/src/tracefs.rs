//! tracefs: where it is mounted, and what `events/skb/kfree_skb/format` says.

use crate::{Error, ErrorKind, Result};
use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// The tracepoint's folder below tracefs.
const EVENT: &str = "events/skb/kfree_skb";
/// Where the kernel lists this process's mounts.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The text of the tracepoint's `format` file.
pub(crate) fn kfree_skb_format() -> Result<String> {
    read(&mounted_at()?, "format")
}

/// Where tracefs is mounted in this process's mount namespace.
pub(crate) fn mounted_at() -> Result<PathBuf> {
    mount_point(Path::new(MOUNTINFO))
}

/// A file of the tracepoint in the tracefs at `root`.
fn read(root: &Path, file: &str) -> Result<String> {
    let path = root.join(EVENT).join(file);
    fs::read_to_string(&path).map_err(|e| {
        let path = path.display();
        let context = match e.kind() {
            std::io::ErrorKind::PermissionDenied => format!(
                "cannot read `{path}` (tracefs is root's alone by default: needs CAP_DAC_READ_SEARCH, \
                 or a mount with gid= of this user)"
            ),
            std::io::ErrorKind::NotFound => format!(
                "the tracepoint skb:kfree_skb is not in tracefs: no `{path}` (needs \
                 CONFIG_EVENT_TRACING; under lockdown=confidentiality tracefs is empty)"
            ),
            _ => format!("cannot read `{path}`"),
        };
        Error::io(context, e)
    })
}

/// Where tracefs is mounted, from a `mountinfo` file as of `/proc/self`.
fn mount_point(mountinfo: &Path) -> Result<PathBuf> {
    let text = fs::read(mountinfo).map_err(|e| {
        Error::io(
            format!("cannot read `{}` (is /proc mounted?)", mountinfo.display()),
            e,
        )
    })?;
    find_mount(&text).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            "tracefs is not mounted (mount -t tracefs none /sys/kernel/tracing)",
        )
    })
}

/// Finds the first mount of tracefs whose root is visible. Fields as in proc_pid_mountinfo(5): the mount
/// point is the fifth, the type the first after a lone hyphen.
fn find_mount(mountinfo: &[u8]) -> Option<PathBuf> {
    let mut lines = mountinfo.split(|&byte| byte == b'\n');
    lines.find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let hyphen = fields.iter().position(|field| field == b"-")?;
        if *fields.get(3)? != b"/" || *fields.get(hyphen + 1)? != b"tracefs" {
            return None;
        }
        Some(PathBuf::from(OsString::from_vec(unescape(fields.get(4)?)?)))
    })
}

/// Mount points escape space, tab, newline and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'\\' && rest.len() >= 3 {
            let digits = std::str::from_utf8(&rest[..3]).ok()?;
            plain.push(u8::from_str_radix(digits, 8).ok()?);
            rest = &rest[3..];
        } else {
            plain.push(byte);
        }
    }
    Some(plain)
}

/// The layout of the tracepoint's records, as `format` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// The number by which perf_event_open(2) knows the tracepoint.
    pub(crate) id: u64,
    pub(crate) skbaddr: Field,
    pub(crate) location: Field,
    pub(crate) protocol: Option<Field>,
    /// Since Linux 6.11.
    pub(crate) rx_sk: Option<Field>,
    /// Since Linux 5.17.
    pub(crate) reason: Option<Field>,
}

/// Where an integer is in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) offset: usize,
    /// Bytes: 1, 2, 4 or 8.
    pub(crate) size: usize,
}

impl Format {
    /// Parses the text of a `format` file.
    pub(crate) fn parse(text: &str) -> Result<Self> {
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
    pub(crate) fn read(self, record: &[u8]) -> Option<u64> {
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

/// The pairs of number and name that `print fmt` gives for the field `reason`; empty where the
/// tracepoint has no such field (before Linux 5.17).
pub(crate) fn reason_symbols(format: &str) -> Result<Vec<(u32, String)>> {
    let print = format
        .lines()
        .find_map(|line| line.strip_prefix("print fmt: "));
    let Some(print) = print.filter(|_| format.starts_with("name: kfree_skb")) else {
        return Err(Error::invalid_data(
            "not the `format` of the tracepoint skb:kfree_skb: it has no `name: kfree_skb` or no `print fmt`",
        ));
    };
    let Some((_, list)) = print.split_once("__print_symbolic(REC->reason,") else {
        return Ok(Vec::new());
    };
    let mut symbols = Vec::new();
    let mut rest = list.trim_start();
    while let Some(pair) = rest.strip_prefix('{') {
        let parsed = pair.split_once('}').and_then(|(pair, tail)| {
            let (number, name) = pair.split_once(',')?;
            let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
            Some((parse_number(number.trim())?, name.to_owned(), tail))
        });
        let Some((number, name, tail)) = parsed else {
            return Err(Error::invalid_data(format!(
                "cannot parse `print fmt` of the tracepoint skb:kfree_skb at `{{{}`",
                pair.chars().take(40).collect::<String>()
            )));
        };
        symbols.push((number, name));
        rest = tail.trim_start().trim_start_matches(',').trim_start();
    }
    Ok(symbols)
}

fn parse_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_is_found_wherever_it_is() {
        let text = b"22 27 0:21 / /proc rw - proc proc rw\n\
            40 23 0:12 / /sys/kernel/debug/a\\040b rw,relatime shared:5 - tracefs none rw\n";
        assert_eq!(
            find_mount(text),
            Some(PathBuf::from("/sys/kernel/debug/a b"))
        );
        assert_eq!(find_mount(b"22 27 0:21 / /proc rw - proc proc rw\n"), None);
        assert_eq!(find_mount(b"- - - tracefs"), None);
        assert_eq!(find_mount(b""), None);
    }

    #[test]
    fn missing_tracefs_says_how_to_mount_it() {
        let error = mount_point(Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("mount -t tracefs"), "{error}");
    }

    #[test]
    fn kernel_without_the_tracepoint_is_told() {
        let error = read(Path::new("/proc/self/fd"), "format").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("skb:kfree_skb is not in tracefs"),
            "{error}"
        );
    }

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

    #[test]
    fn symbols_of_the_reason_field() {
        let head = "name: kfree_skb\nID: 1\nformat:\n\n";
        let with = format!(
            "{head}print fmt: \"reason: %s\", REC->skbaddr, __print_symbolic(REC->reason, {{ 2, \"A\" }}, {{0x3,\"B_C\"}}, {{4, \"MAX\" }})\n"
        );
        let expected = [(2, "A"), (3, "B_C"), (4, "MAX")].map(|(n, s)| (n, s.to_owned()));
        assert_eq!(reason_symbols(&with).expect("a good format"), expected);
        let without = format!("{head}print fmt: \"skbaddr=%p\", REC->skbaddr\n");
        assert_eq!(reason_symbols(&without).expect("5.10 has none"), []);
        for bad in [
            "",
            "name: other\nprint fmt: x",
            &with[..with.len() - 20],
            &with.replace("{ 2", "{ -2"),
        ] {
            reason_symbols(bad).expect_err(bad);
        }
    }
}

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

/// The text of the tracepoint's `format` file, and where that is.
pub(crate) fn kfree_skb_format() -> Result<(String, PathBuf)> {
    let root = mounted_at()?;
    let text = read(&root, "format")?;
    Ok((text, root.join(EVENT).join("format")))
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
    let is_reachable = |root: &Path| root.join("events").is_dir();
    find_mount(&text, is_reachable).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            "tracefs is not mounted (mount -t tracefs none /sys/kernel/tracing)",
        )
    })
}

/// The first mount that can be reached: what is mounted over another hides it. Where there is none, the first,
/// for the error to name.
fn find_mount(mountinfo: &[u8], is_reachable: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    mounts(mountinfo)
        .find(|root| is_reachable(root))
        .or_else(|| mounts(mountinfo).next())
}

/// All mounts of tracefs's root. Fields as in proc_pid_mountinfo(5): the mount point is the fifth, the type the
/// first after a lone hyphen.
pub(crate) fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = PathBuf> {
    let lines = mountinfo.split(|&byte| byte == b'\n');
    lines.filter_map(|line| {
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
    let truncated = || {
        Error::invalid_data(
            "`print fmt` of the tracepoint skb:kfree_skb is truncated: its list of reasons has no end",
        )
    };
    let Some((_, list)) = print.split_once("__print_symbolic(REC->reason,") else {
        return if format.contains(" reason;") {
            Err(truncated())
        } else {
            Ok(Vec::new())
        };
    };
    let mut symbols = Vec::new();
    let mut rest = list.trim_start();
    while let Some(pair) = rest.strip_prefix('{') {
        let parsed = pair.split_once(',').and_then(|(number, tail)| {
            let (name, tail) = tail.trim_start().strip_prefix('"')?.split_once('"')?;
            let tail = tail.trim_start().strip_prefix('}')?;
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
    if !rest.starts_with(')') {
        return Err(truncated());
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
        let find = |text| find_mount(text, |_| true);
        assert_eq!(find(text), Some(PathBuf::from("/sys/kernel/debug/a b")));
        assert_eq!(find(b"22 27 0:21 / /proc rw - proc proc rw\n"), None);
        assert_eq!(find(b"- - - tracefs"), None);
        assert_eq!(find(b""), None);
    }

    #[test]
    fn a_mount_under_another_is_passed_over() {
        let text = b"40 23 0:12 / /hidden rw - tracefs none rw\n\
            41 23 0:12 / /shown rw - tracefs none rw\n\
            42 23 0:12 / /other rw - tracefs none rw\n";
        let among = |reachable: &[&str]| {
            let found = find_mount(text, |root| {
                reachable.iter().any(|it| root == Path::new(it))
            });
            found.expect("tracefs is mounted")
        };
        assert_eq!(among(&["/shown", "/other"]), Path::new("/shown"));
        assert_eq!(among(&["/hidden", "/shown"]), Path::new("/hidden"));
        // An error has to name one of them.
        assert_eq!(among(&[]), Path::new("/hidden"));
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

//! Where distributions put debug information.

use super::hex;
use crate::{Error, Result};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Of a kernel, the surest first.
pub(super) fn of_kernel(build_id: &[u8], release: &str) -> Vec<PathBuf> {
    vec![
        by_build_id(Path::new("/"), build_id),
        format!("/usr/lib/debug/boot/vmlinux-{release}").into(),
        format!("/usr/lib/debug/lib/modules/{release}/vmlinux").into(),
        format!("/usr/lib/debug/usr/lib/modules/{release}/vmlinux").into(),
        format!("/lib/modules/{release}/build/vmlinux").into(),
    ]
}

/// Of a kernel's modules, the surest first. A module itself has it as well, where it is not stripped.
pub(super) fn of_modules(root: &Path, release: &str, build_id: Option<&[u8]>) -> Vec<Folder> {
    let by_build_id = build_id.map(|it| Folder::File(by_build_id(root, it)));
    let by_name = [
        "usr/lib/debug/lib/modules",
        "usr/lib/debug/usr/lib/modules",
        "lib/modules",
    ];
    let by_name = by_name.map(|it| Folder::Tree(root.join(it).join(release)));
    by_build_id.into_iter().chain(by_name).collect()
}

/// Where files of a module may be.
pub(super) enum Folder {
    /// This one, if it is there.
    File(PathBuf),
    /// In a folder or one below it, by the module's name.
    Tree(PathBuf),
}

impl Folder {
    /// The files that are there.
    pub(super) fn files(&self, module: &str) -> Result<Vec<PathBuf>> {
        match self {
            Self::File(path) => Ok(path.is_file().then(|| path.clone()).into_iter().collect()),
            Self::Tree(top) => files_below(top, module).map_err(|e| {
                let top = top.display();
                Error::io(
                    format!("cannot look for the module `{module}` in `{top}`"),
                    e,
                )
            }),
        }
    }
}

/// Files of this module in a folder and those below it. Links to folders are not followed: they lead to the kernel's sources.
fn files_below(top: &Path, module: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // Not installed, or just removed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry
                .file_name()
                .to_str()
                .is_some_and(|it| is_of(it, module))
                && entry.path().is_file()
            {
                found.push(entry.path());
            }
        }
    }
    // The order of a folder's entries is the file system's own.
    found.sort();
    Ok(found)
}

/// Whether a file of this name has a module. In file names may be `-` where the kernel has `_`.
fn is_of(file_name: &str, module: &str) -> bool {
    let name = PACKED.iter().find_map(|end| file_name.strip_suffix(end));
    let name = name.unwrap_or(file_name);
    let name = name.strip_suffix(".debug").unwrap_or(name);
    let same = |(one, other)| one == other || matches!((one, other), (b'-' | b'_', b'-' | b'_'));
    name.strip_suffix(".ko").is_some_and(|name| {
        name.len() == module.len() && name.bytes().zip(module.bytes()).all(same)
    })
}

/// How packed modules' files end. They are mostly stripped, so that without decoders there is nothing to miss.
#[cfg(feature = "image")]
const PACKED: &[&str] = &[".gz", ".xz", ".zst"];
#[cfg(not(feature = "image"))]
const PACKED: &[&str] = &[];

/// Whether it is a name that leads nowhere else in a path.
pub(super) fn is_plain(module: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !module.is_empty() && module.bytes().all(is_part)
}

fn by_build_id(root: &Path, build_id: &[u8]) -> PathBuf {
    let digits = hex(build_id);
    let (first, rest) = digits.split_at(digits.len().min(2));
    root.join(format!("usr/lib/debug/.build-id/{first}/{rest}.debug"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_place_is_the_first() {
        let places = of_kernel(&[0xab, 0xcd, 0x01], "6.1.0");
        assert_eq!(
            places[0],
            Path::new("/usr/lib/debug/.build-id/ab/cd01.debug")
        );
        assert_eq!(places[1], Path::new("/usr/lib/debug/boot/vmlinux-6.1.0"));
        assert_eq!(of_kernel(&[], "").len(), places.len());
    }

    #[test]
    fn names_of_files() {
        for file in [
            "nf-log_syslog.ko",
            "nf_log_syslog.ko.debug",
            "nf-log-syslog.ko",
        ] {
            assert!(is_of(file, "nf_log_syslog"), "{file}");
        }
        for file in [
            "nf_log_syslog",
            "nf_log_syslog.o",
            "nf_log.ko",
            "xnf_log_syslog.ko",
            ".ko",
            "",
        ] {
            assert!(!is_of(file, "nf_log_syslog"), "{file}");
        }
        for packed in [
            "veth.ko.xz",
            "veth.ko.zst",
            "veth.ko.gz",
            "veth.ko.debug.xz",
        ] {
            assert_eq!(is_of(packed, "veth"), cfg!(feature = "image"), "{packed}");
        }
        assert!(is_plain("nf_log-syslog2"));
        for name in ["", ".", "..", "../x", "a/b", "a\0b"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}

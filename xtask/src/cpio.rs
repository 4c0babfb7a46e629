//! A tree of files, written as the `newc` cpio archive that the kernel unpacks as its first root.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

/// What will be there when the guest starts. Paths are absolute; folders on the way to a file are
/// made with it. As on Debian `/bin`, `/sbin` and `/lib` lead into `/usr`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    // Sorted by path, so that a folder comes before what is in it, as the kernel needs it.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    mode: u32,
    content: Vec<u8>,
    /// Major and minor number of a device.
    device: (u32, u32),
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut tree = Self::default();
        for name in MERGED {
            tree.folder(&format!("/usr/{name}"));
            tree.put(
                name.to_owned(),
                S_IFLNK | 0o777,
                format!("usr/{name}").into_bytes(),
            );
        }
        tree
    }

    pub(crate) fn folder(&mut self, path: &str) {
        let path = normal(path);
        self.parents(&path);
        self.put(path, S_IFDIR | 0o755, Vec::new());
    }

    /// A file with its permissions.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, content: Vec<u8>) {
        let path = normal(path);
        self.parents(&path);
        self.put(path, S_IFREG | permissions & 0o7777, content);
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, to: &str) {
        let path = normal(path);
        self.parents(&path);
        self.put(path, S_IFLNK | 0o777, to.as_bytes().to_vec());
    }

    /// A character device.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) {
        let path = normal(path);
        self.parents(&path);
        let entry = Entry {
            mode: S_IFCHR | 0o600,
            content: Vec::new(),
            device: (major, minor),
        };
        self.entries.insert(path, entry);
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(&normal(path))
    }

    /// Whether a program of this name is in one of the folders where a shell looks.
    pub(crate) fn has_program(&self, name: &str) -> bool {
        ["bin", "sbin"]
            .iter()
            .any(|folder| self.has(&format!("/usr/{folder}/{name}")))
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            record(out, number, path, entry)?;
        }
        let end = Entry {
            mode: 0,
            content: Vec::new(),
            device: (0, 0),
        };
        record(out, 0, "TRAILER!!!", &end)
    }

    fn put(&mut self, path: String, mode: u32, content: Vec<u8>) {
        let device = (0, 0);
        self.entries.insert(
            path,
            Entry {
                mode,
                content,
                device,
            },
        );
    }

    fn parents(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            if !self.entries.contains_key(parent) {
                self.put(parent.to_owned(), S_IFDIR | 0o755, Vec::new());
            }
        }
    }
}

/// One file of the archive: header, name, content, the last two padded to four bytes. Everything
/// belongs to root and is as old as the epoch, so that the same tree makes the same bytes.
fn record(out: &mut impl Write, inode: u32, path: &str, entry: &Entry) -> io::Result<()> {
    let too_large = |_| io::Error::other(format!("`{path}` does not fit into a cpio archive"));
    let size = u32::try_from(entry.content.len()).map_err(too_large)?;
    let name_size = u32::try_from(path.len() + 1).map_err(too_large)?;
    let (major, minor) = entry.device;
    let fields = [
        inode, entry.mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0,
    ];
    out.write_all(b"070701")?;
    for field in fields {
        write!(out, "{field:08X}")?;
    }
    out.write_all(path.as_bytes())?;
    out.write_all(b"\0")?;
    pad(out, HEADER + path.len() + 1)?;
    out.write_all(&entry.content)?;
    pad(out, entry.content.len())
}

fn pad(out: &mut impl Write, length: usize) -> io::Result<()> {
    out.write_all(&[0; 3][..length.next_multiple_of(4) - length])
}

/// `path` without its first slash and through `/usr`, as archives name files.
fn normal(path: &str) -> String {
    let path = path.trim_start_matches('/').trim_end_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// The magic number and thirteen fields of eight digits.
const HEADER: usize = 6 + 13 * 8;
const S_IFCHR: u32 = 0o020_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        tree.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_file_is_header_name_and_content_each_padded_to_four() {
        let mut tree = Tree::default();
        tree.file("/init", 0o755, b"hello".to_vec());
        let bytes = archive(&tree);
        let header = "070701\
            00000001000081ED00000000000000000000000100000000\
            00000005000000000000000000000000000000000000000500000000";
        assert_eq!(&bytes[..HEADER], header.as_bytes());
        assert_eq!(&bytes[HEADER..HEADER + 6], b"init\0\0");
        let content = (HEADER + 5).next_multiple_of(4);
        assert_eq!(&bytes[content..content + 8], b"hello\0\0\0");
        assert!(bytes.len().is_multiple_of(4));
        let trailer = &bytes[content + 8..];
        assert!(trailer.starts_with(b"070701"));
        assert_eq!(&trailer[HEADER..HEADER + 11], b"TRAILER!!!\0");
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_lead_through_usr() {
        let mut tree = Tree::new();
        tree.file("/lib/modules/6.1/a.ko", 0o644, Vec::new());
        tree.device("/dev/console", 5, 1);
        let paths: Vec<&str> = tree.entries.keys().map(String::as_str).collect();
        let place = |path| paths.iter().position(|other| *other == path).unwrap();
        assert!(place("usr/lib/modules/6.1") < place("usr/lib/modules/6.1/a.ko"));
        assert!(place("usr/lib") < place("usr/lib/modules"));
        assert!(place("dev") < place("dev/console"));
        assert_eq!(tree.entries["lib"].content, b"usr/lib");
        assert!(tree.has("/usr/lib/modules/6.1/a.ko") && tree.has("lib/modules"));
    }

    #[test]
    fn a_program_is_found_wherever_it_was_put() {
        let mut tree = Tree::new();
        tree.file("/sbin/ip", 0o755, Vec::new());
        assert!(tree.has_program("ip"));
        assert!(!tree.has_program("tc"));
    }
}

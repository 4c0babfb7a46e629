//! What `readelf` says of a program of any architecture: `ldd`, which would run its loader, does for this machine's alone.

use crate::{Result, host};
use std::{path::Path, process::Command};

/// What a program or a library is linked to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Linked {
    /// The processor that it is for, as `readelf` calls it.
    pub(crate) machine: String,
    /// Names.
    pub(crate) libraries: Vec<String>,
    /// Path of what loads them.
    pub(crate) loader: Option<String>,
}

impl Linked {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        host::need(&[("readelf", "binutils")])?;
        let mut command = Command::new("readelf");
        command
            .args(["--file-header", "--program-headers", "--dynamic", "--wide"])
            .arg(path)
            .env("LC_ALL", "C");
        host::output(&mut command)
            .map(|text| Self::parse(&text))
            .ok_or_else(|| format!("`readelf` does not read `{}`", path.display()))
    }

    fn parse(text: &str) -> Self {
        let mut linked = Self::default();
        let between = |line: &str, before: &str| {
            let (_, rest) = line.split_once(before)?;
            Some(rest.strip_suffix(']')?.to_owned())
        };
        for line in text.lines().map(str::trim) {
            if let Some(machine) = line.strip_prefix("Machine:") {
                machine.trim().clone_into(&mut linked.machine);
            } else if let Some(path) = between(line, "[Requesting program interpreter: ") {
                linked.loader = Some(path);
            } else if line.contains("(NEEDED)") {
                linked.libraries.extend(between(line, "["));
            }
        }
        linked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_libraries_and_loader_are_read() {
        let text = "ELF Header:\n  Class:                             ELF64\n\
            \x20 Machine:                           AArch64\n\
            Program Headers:\n\
            \x20     [Requesting program interpreter: /lib/ld-linux-aarch64.so.1]\n\
            Dynamic section at offset 0xfab0 contains 27 entries:\n\
            \x20 Tag        Type                         Name/Value\n\
            \x200x0000000000000001 (NEEDED)             Shared library: [libmnl.so.0]\n\
            \x200x0000000000000001 (NEEDED)             Shared library: [libc.so.6]\n\
            \x200x000000000000001d (RUNPATH)            Library runpath: [/x]\n";
        let expected = Linked {
            machine: "AArch64".to_owned(),
            libraries: vec!["libmnl.so.0".to_owned(), "libc.so.6".to_owned()],
            loader: Some("/lib/ld-linux-aarch64.so.1".to_owned()),
        };
        assert_eq!(Linked::parse(text), expected);
    }

    #[test]
    fn a_static_program_needs_none() {
        let linked =
            Linked::parse("  Machine:   AArch64\nThere is no dynamic section in this file.\n");
        assert_eq!((linked.libraries, linked.loader), (Vec::new(), None));
    }
}

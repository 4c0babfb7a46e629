//! Which QEMU is a kind of machine: this machine's, or where that is too old, the one of Debian's backports.

use crate::{
    Result,
    architecture::{Architecture, Emulator},
    deb::Suite,
    host,
};
use std::{fs, path::PathBuf, process::Command};

/// A QEMU that can be started.
#[derive(Debug)]
pub(crate) struct Qemu {
    program: PathBuf,
    /// Whether it lies in the cache, where it does not find its firmware.
    is_unpacked: bool,
}

impl Qemu {
    /// Sees to it that there is one that is this machine rightly.
    pub(crate) fn find(emulator: &Emulator) -> Result<Self> {
        let (name, package) = emulator.program;
        // Also where a newer one is taken: it brings the libraries and the firmware, which serve that too.
        host::need(&[(name, package)])?;
        let program = host::program(name).ok_or_else(|| format!("`{package}` has no `{name}`"))?;
        let said = host::output(Command::new(&program).arg("--version"));
        let version = said.as_deref().and_then(major);
        let version = version.ok_or_else(|| format!("`{name}` does not say its version"))?;
        if version >= emulator.least {
            return Ok(Self {
                program,
                is_unpacked: false,
            });
        }
        let newer = Self::backported(name).map_err(|why| {
            let least = emulator.least;
            format!("`{name}` is of QEMU {version} and wrong (needs {least} or newer, installed or in backports): {why}")
        })?;
        Ok(Self {
            program: newer,
            is_unpacked: true,
        })
    }

    /// The package of backports that is named like the program, unpacked into the cache.
    fn backported(name: &str) -> Result<PathBuf> {
        let release = fs::read_to_string(OS_RELEASE)
            .map_err(|e| format!("cannot read `{OS_RELEASE}`: {e}"))?;
        let codename = codename(&release)
            .ok_or_else(|| format!("`{OS_RELEASE}` names no release of Debian's"))?;
        let suite = format!("{codename}-backports");
        let folder = Suite::open(&suite, Architecture::own()?)?.unpacked(name)?;
        Ok(folder.join("usr/bin").join(name))
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if self.is_unpacked {
            command.args(["-L", FIRMWARE]);
        }
        command
    }
}

/// The first number of a version, in what QEMU says of it.
fn major(said: &str) -> Option<u32> {
    let (_, version) = said.split_once(" version ")?;
    version.split('.').next()?.parse().ok()
}

fn codename(os_release: &str) -> Option<&str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"'))
}

const OS_RELEASE: &str = "/etc/os-release";
/// Where Debian's packages have it.
const FIRMWARE: &str = "/usr/share/qemu";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let said = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003";
        assert_eq!(major(said), Some(10));
        assert_eq!(major("QEMU emulator version 7.2.22\n"), Some(7));
        assert_eq!(major("QEMU emulator\n"), None);
    }

    #[test]
    fn releases_are_told_by_their_codename() {
        let debian = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        assert_eq!(codename(debian), Some("bookworm"));
        assert_eq!(codename("VERSION_CODENAME=\"trixie\""), Some("trixie"));
        assert_eq!(codename("ID=arch\n"), None);
    }
}

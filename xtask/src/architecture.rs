//! What differs between the processors that our kernels are for.

use crate::Result;
use std::env::consts::ARCH;

/// A kind of processor: whose names for it are whose, and how QEMU is one.
#[derive(Debug)]
pub(crate) struct Architecture {
    /// As Debian calls it.
    pub(crate) name: &'static str,
    /// As Rust calls it, in `target_arch`.
    arch: &'static str,
    /// The target that tests are built for.
    pub(crate) target: &'static str,
    /// Folder of its libraries below `/usr/lib`, and what the names of its compiler begin with.
    pub(crate) triplet: &'static str,
    /// The compiler on other machines, which links for it, and libc to link with.
    pub(crate) compiler: [(&'static str, &'static str); 2],
    /// As `readelf` calls it.
    pub(crate) elf: &'static str,
    /// The suite that its guests' programs are of, which run on any kernel.
    pub(crate) suite: &'static str,
    pub(crate) machine: Emulator,
}

/// How QEMU is such a machine.
#[derive(Debug)]
pub(crate) struct Emulator {
    /// The program, and the package that has it.
    pub(crate) program: (&'static str, &'static str),
    /// The first version of QEMU that is known to be the machine rightly; 0 if none is known not to be.
    pub(crate) least: u32,
    /// The machine, and its serial ports: for the character devices `console`, where the kernel's log goes, and
    /// `command`, where the command's output goes.
    pub(crate) arguments: &'static [&'static str],
    /// Words of the kernel's command line.
    pub(crate) append: &'static str,
    /// The second port in the guest, below `/dev`.
    pub(crate) command: &'static str,
}

pub(crate) static AMD64: Architecture = Architecture {
    name: "amd64",
    arch: "x86_64",
    target: "x86_64-unknown-linux-gnu",
    triplet: "x86_64-linux-gnu",
    compiler: [
        ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
        ("/usr/x86_64-linux-gnu/lib/libc.a", "libc6-dev-amd64-cross"),
    ],
    elf: "Advanced Micro Devices X86-64",
    suite: "trixie",
    machine: Emulator {
        program: ("qemu-system-x86_64", "qemu-system-x86"),
        least: 0,
        arguments: &[
            "-cpu",
            "max",
            "-serial",
            "chardev:console",
            "-serial",
            "chardev:command",
        ],
        // On a busy host the emulated timer may fail the kernel's check of it, which is made for broken boards.
        append: "console=ttyS0 no_timer_check",
        command: "ttyS1",
    },
};

pub(crate) static ARM64: Architecture = Architecture {
    name: "arm64",
    arch: "aarch64",
    target: "aarch64-unknown-linux-gnu",
    triplet: "aarch64-linux-gnu",
    compiler: [
        ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
    ],
    elf: "AArch64",
    suite: "trixie",
    machine: Emulator {
        program: ("qemu-system-aarch64", "qemu-system-arm"),
        least: 0,
        // A processor of servers. `max` has addresses of 52 bits, with which 5.10 does not boot.
        arguments: &[
            "-machine",
            "virt",
            "-cpu",
            "neoverse-n1",
            "-serial",
            "chardev:console",
            "-device",
            "pci-serial,chardev=command",
        ],
        append: "console=ttyAMA0",
        command: "ttyS0",
    },
};

/// The one whose numbers have their greatest byte first.
pub(crate) static S390X: Architecture = Architecture {
    name: "s390x",
    arch: "s390x",
    target: "s390x-unknown-linux-gnu",
    triplet: "s390x-linux-gnu",
    compiler: [
        ("s390x-linux-gnu-gcc", "gcc-s390x-linux-gnu"),
        ("/usr/s390x-linux-gnu/lib/libc.a", "libc6-dev-s390x-cross"),
    ],
    elf: "IBM S/390",
    // The same as its oldest kernel: mirrors are behind with packages of trixie for it.
    suite: "bookworm",
    machine: Emulator {
        program: ("qemu-system-s390x", "qemu-system-misc"),
        // 7.2 sums wrongly by VECTOR CHECKSUM, which since Linux 6.9 the sums of packets are made by: each ICMP message
        // is dropped then. Without vectors (`vx=off`) it is no better: there 6.12 sums what is at address 0.
        least: 10,
        arguments: &[
            "-machine",
            "s390-ccw-virtio",
            "-cpu",
            "max",
            "-device",
            "sclplmconsole,chardev=console",
            "-device",
            "sclpconsole,chardev=command",
        ],
        append: "console=ttyS0",
        command: "ttysclp0",
    },
};

const ALL: [&Architecture; 3] = [&AMD64, &ARM64, &S390X];

impl Architecture {
    /// That of this machine.
    pub(crate) fn own() -> Result<&'static Self> {
        ALL.into_iter()
            .find(|architecture| architecture.is_own())
            .ok_or_else(|| format!("there are no guests for a machine of {ARCH} yet"))
    }

    pub(crate) fn is_own(&self) -> bool {
        self.arch == ARCH
    }

    /// That which a kernel's image is for; `None` if it is of none that we know.
    pub(crate) fn of_image(image: &[u8]) -> Option<&'static Self> {
        // Documentation/arch/x86/boot.rst, Documentation/arch/arm64/booting.rst, arch/s390/boot/head.S.
        let has = |at: usize, magic: &[u8]| image.get(at..at + magic.len()) == Some(magic);
        if has(0x202, b"HdrS") {
            Some(&AMD64)
        } else if has(0x38, b"ARM\x64") {
            Some(&ARM64)
        } else if has(0x10008, b"S390EP") {
            Some(&S390X)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_says_what_it_is_for() {
        let with = |at: usize, magic: &[u8]| {
            let mut image = vec![0; 0x10400];
            image[at..at + magic.len()].copy_from_slice(magic);
            Architecture::of_image(&image).map(|architecture| architecture.name)
        };
        assert_eq!(with(0x202, b"HdrS"), Some("amd64"));
        assert_eq!(with(0x38, b"ARM\x64"), Some("arm64"));
        assert_eq!(with(0x10008, b"S390EP"), Some("s390x"));
        assert_eq!(with(0, b"\x7fELF"), None);
        assert!(Architecture::of_image(b"MZ").is_none());
    }
}

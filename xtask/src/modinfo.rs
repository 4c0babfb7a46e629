//! What a kernel module says of itself.

/// What a module says of itself in its section `.modinfo`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Info {
    /// Of the kernel that it is for.
    pub(crate) version: String,
    /// Names of modules.
    pub(crate) depends: Vec<String>,
    /// By what other names the kernel asks for it.
    pub(crate) aliases: Vec<String>,
}

impl Info {
    /// From a `.ko` file; `None` if it is none.
    pub(crate) fn of(module: &[u8]) -> Option<Self> {
        Some(Self::parse(section(module, b".modinfo")?))
    }

    /// From `name=value` strings, each ended by a zero.
    fn parse(section: &[u8]) -> Self {
        let mut info = Self::default();
        for entry in section.split(|&byte| byte == 0) {
            let entry = String::from_utf8_lossy(entry);
            match entry.split_once('=') {
                Some(("vermagic", value)) => {
                    info.version = value.split(' ').next().unwrap_or_default().to_owned();
                }
                Some(("depends", value)) => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    info.depends = names.map(|name| name.replace('-', "_")).collect();
                }
                Some(("alias", value)) => info.aliases.push(value.to_owned()),
                _ => {}
            }
        }
        info
    }
}

/// The bytes of a section of a 64-bit ELF file of either byte order.
fn section<'a>(elf: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let is_little = match elf.strip_prefix(b"\x7fELF\x02")?.first()? {
        1 => true,
        2 => false,
        _ => return None,
    };
    let number = |bytes: &[u8], at: usize, size: usize| {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let shifted = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let value = match is_little {
            true => field.iter().rev().fold(0, shifted),
            false => field.iter().fold(0, shifted),
        };
        usize::try_from(value).ok()
    };
    // e_shoff, e_shentsize, e_shnum, e_shstrndx of the file's header.
    let (start, size) = (number(elf, 0x28, 8)?, number(elf, 0x3a, 2)?);
    let (count, names) = (number(elf, 0x3c, 2)?, number(elf, 0x3e, 2)?);
    let header = |index: usize| elf.get(start.checked_add(index * size)?..);
    // sh_offset and sh_size of a section's header.
    let content = |header: &[u8]| {
        let start = number(header, 0x18, 8)?;
        elf.get(start..start.checked_add(number(header, 0x20, 8)?)?)
    };
    let names = content(header(names)?)?;
    (0..count).find_map(|index| {
        let header = header(index)?;
        let name = names.get(number(header, 0, 4)?..)?;
        let name = name.split(|&byte| byte == 0).next()?;
        (name == wanted).then(|| content(header)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_tells_its_kernel_needs_and_names() {
        let section = b"alias=net-pf-16-proto-16-family-ovs_flow\0alias=second\0license=GPL\0\
            depends=nf_conntrack,nf-nat\0\0name=openvswitch\0vermagic=6.1.0-50 SMP preempt \0";
        let info = Info::parse(section);
        assert_eq!(info.version, "6.1.0-50");
        assert_eq!(info.depends, ["nf_conntrack", "nf_nat"]);
        assert_eq!(
            info.aliases,
            ["net-pf-16-proto-16-family-ovs_flow", "second"]
        );
        assert!(Info::parse(b"depends=\0").depends.is_empty());
    }

    #[test]
    fn what_is_no_module_has_no_section() {
        assert_eq!(section(b"", b".modinfo"), None);
        assert_eq!(section(b"\x7fELF\x02\x01", b".modinfo"), None);
        let mut wild = b"\x7fELF\x02\x01".to_vec();
        wild.resize(200, 0xff);
        assert_eq!(section(&wild, b".modinfo"), None);
    }
}

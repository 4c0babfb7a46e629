//! The kernel's own type information (BTF), reduced to the few types that matter here.
//!
//! vmlinux's BTF has over a hundred thousand types in several megabytes. [`prune`] makes one
//! pass over the raw bytes and copies out the handful that tells how drops look; `btf-rs`
//! then reads that handful. Parsing the whole would take 200 ms and 40 MB.

mod facts;
mod prune;

#[cfg(feature = "ebpf")]
pub(crate) use facts::Argument;
pub(crate) use facts::{DropTypes, EnumFacts};
pub use prune::{Pruned, prune};

use crate::{Error, Result, sys};
use object::{Object as _, ObjectSection as _};
use std::{collections::HashSet, ffi::OsString, fs, path::Path};

/// Where the running kernel shows its BTF, since Linux 5.4 with `CONFIG_DEBUG_INFO_BTF`.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// Where it shows its modules' beside it, since Linux 5.11.
const MODULES: &str = "/sys/kernel/btf";

/// Reads the running kernel's BTF. The file is mapped where the kernel can (since 6.16),
/// else copied.
pub(crate) fn from_kernel() -> Result<DropTypes> {
    with_kernel_btf(|btf| DropTypes::parse(btf).map_err(|e| in_file(Path::new(KERNEL_BTF), e)))
}

fn with_kernel_btf<T>(read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    let path = Path::new(KERNEL_BTF);
    if let Some(mapped) = sys::map_kernel_btf(path) {
        return read(&mapped);
    }
    let bytes = fs::read(path).map_err(|e| {
        Error::io(
            format!(
                "cannot read the kernel's BTF `{KERNEL_BTF}` (needs a kernel with \
                 CONFIG_DEBUG_INFO_BTF and sysfs on /sys; or name a file with BTF of this kernel)"
            ),
            e,
        )
    })?;
    read(&bytes)
}

/// Reads the enums of those of the running kernel's modules that are not in `seen` yet, and puts them
/// there. What cannot be read is passed over: it costs only its own names.
pub(crate) fn new_module_enums(seen: &mut HashSet<OsString>) -> Vec<EnumFacts> {
    let Ok(folder) = fs::read_dir(MODULES) else {
        return Vec::new();
    };
    let names = folder.filter_map(|entry| Some(entry.ok()?.file_name()));
    let new: Vec<OsString> = names
        .filter(|name| name != "vmlinux" && !seen.contains(name))
        .collect();
    if new.is_empty() {
        return Vec::new();
    }
    seen.extend(new.iter().cloned());
    with_kernel_btf(|base| {
        let enums = |name: &OsString| {
            let module = fs::read(Path::new(MODULES).join(name)).ok()?;
            DropTypes::parse_module(&module, base)
                .and_then(|types| types.enums())
                .ok()
        };
        Ok(new.iter().filter_map(enums).flatten().collect())
    })
    .unwrap_or_default()
}

/// Reads BTF from a file: raw BTF, or an ELF file (vmlinux) with a `.BTF` section.
pub(crate) fn from_file(path: &Path) -> Result<DropTypes> {
    let bytes = fs::read(path)
        .map_err(|e| Error::io(format!("cannot read the BTF file `{}`", path.display()), e))?;
    from_bytes(&bytes).map_err(|e| in_file(path, e))
}

/// Reads BTF from bytes: raw BTF, or an ELF file with a `.BTF` section.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<DropTypes> {
    if !bytes.starts_with(b"\x7fELF") {
        return DropTypes::parse(bytes);
    }
    let elf = object::File::parse(bytes)
        .map_err(|e| Error::invalid_data("cannot parse the ELF file").caused_by(e))?;
    let section = elf.section_by_name(".BTF").ok_or_else(|| {
        Error::invalid_data(
            "the ELF file has no `.BTF` section (a kernel without CONFIG_DEBUG_INFO_BTF?)",
        )
    })?;
    let data = section.data().map_err(|e| {
        Error::invalid_data("cannot read the ELF file's `.BTF` section").caused_by(e)
    })?;
    DropTypes::parse(data)
}

fn in_file(path: &Path, error: Error) -> Error {
    let hint = if path == Path::new(KERNEL_BTF) {
        ""
    } else {
        " (expected raw BTF as in /sys/kernel/btf, or a vmlinux with a `.BTF` section)"
    };
    Error::new(
        error.kind(),
        format!("cannot use BTF of `{}`{hint}", path.display()),
    )
    .caused_by(error)
}

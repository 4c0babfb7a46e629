//! The kernel's own type information (BTF), reduced to the few types that matter here.
//!
//! vmlinux's BTF has over a hundred thousand types in several megabytes. [`prune`] makes one
//! pass over the raw bytes and copies out the handful that tells how drops look; `btf-rs`
//! then reads that handful. Parsing the whole would take 200 ms and 40 MB.

mod facts;
pub(crate) mod image;
mod prune;

#[cfg(feature = "ebpf")]
pub(crate) use facts::Argument;
#[cfg(any(feature = "ebpf", fuzzing, test))]
pub(crate) use facts::Tracepoint;
pub(crate) use facts::{DropTypes, EnumFacts};
pub use prune::{Pruned, prune, prune_module};

use crate::{Error, Result, sys};
use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::DirEntryExt as _,
    path::{Path, PathBuf},
};

/// Where the running kernel shows its BTF, since Linux 5.4 with `CONFIG_DEBUG_INFO_BTF`.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// Where it shows its modules' beside it, since Linux 5.11.
pub(crate) const MODULES: &str = "/sys/kernel/btf";

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

/// Modules whose BTF was read, each by its file's name and number: a module that is loaded again has another file.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeenModules(HashSet<(OsString, u64)>);

/// Reads the enums of those modules in `folder` that were not seen yet, each with its file. `base` is the BTF that
/// theirs is split from. What cannot be read is passed over: it costs only its own names.
pub(crate) fn new_module_enums(
    folder: &Path,
    base: &Path,
    seen: &mut SeenModules,
) -> Vec<(PathBuf, Vec<EnumFacts>)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let files = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        Some((entry.file_name(), entry.ino()))
    });
    // Whatever else is there may have no end.
    let is_file = |name: &OsString| fs::metadata(folder.join(name)).is_ok_and(|it| it.is_file());
    let new: Vec<_> = files
        .filter(|file| file.0 != "vmlinux" && !seen.0.contains(file) && is_file(&file.0))
        .collect();
    if new.is_empty() {
        return Vec::new();
    }
    with_base(base, |base| {
        let mut found = Vec::new();
        for file in new {
            let path = folder.join(&file.0);
            // A module may go before it is read; one of the same name that comes later is another file.
            let Ok(module) = read(&path) else {
                continue;
            };
            seen.0.insert(file);
            let enums = DropTypes::parse_module(&module, base).and_then(|types| types.enums());
            match enums {
                Ok(enums) if !enums.is_empty() => found.push((path, enums)),
                _ => {}
            }
        }
        Ok(found)
    })
    .unwrap_or_default()
}

/// Reads the enums of one module's file: `.ko`, packed or not, or its raw BTF. `base` is a file with
/// the BTF of the kernel that it was built with.
pub(crate) fn module_enums(path: &Path, base: &Path) -> Result<Vec<EnumFacts>> {
    let bytes = read(path)?;
    let module = image::Unpacked::read(&bytes).map_err(|e| in_file(path, e))?;
    let enums = |base: &[u8]| {
        DropTypes::parse_module(module.btf(), base)
            .and_then(|types| types.enums())
            .map_err(|e| in_file(path, e))
    };
    match module.base() {
        Some(own) => enums(own),
        None => with_base(base, enums),
    }
}

/// Calls `use_base` with the raw BTF in `path`.
fn with_base<T>(path: &Path, use_base: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    if path == Path::new(KERNEL_BTF) {
        return with_kernel_btf(use_base);
    }
    let bytes = read(path)?;
    let raw = image::raw_btf(&bytes).map_err(|e| in_file(path, e))?;
    use_base(&raw)
}

/// Reads BTF from a file: raw BTF, vmlinux, or a kernel image.
pub(crate) fn from_file(path: &Path) -> Result<DropTypes> {
    let bytes = read(path)?;
    from_bytes(&bytes).map_err(|e| in_file(path, e))
}

/// Reads BTF from the bytes of such a file.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<DropTypes> {
    DropTypes::parse(&image::raw_btf(bytes)?)
}

/// The most that is read of a file, in bytes. A vmlinux with all its debug information has half of it.
const MAX_FILE: u64 = 1 << 30;

fn read(path: &Path) -> Result<Vec<u8>> {
    let act = || format!("cannot read the BTF file `{}`", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::io(act(), e))?;
    if bytes.len() as u64 > MAX_FILE {
        let why = Error::invalid_data(format!("it has more than {MAX_FILE} bytes"));
        return Err(Error::invalid_data(act()).caused_by(why));
    }
    Ok(bytes)
}

fn in_file(path: &Path, error: Error) -> Error {
    let hint = if path == Path::new(KERNEL_BTF) {
        ""
    } else {
        " (expected raw BTF as in /sys/kernel/btf, a vmlinux with a `.BTF` section, or a kernel image)"
    };
    Error::new(
        error.kind(),
        format!("cannot use BTF of `{}`{hint}", path.display()),
    )
    .caused_by(error)
}

#[cfg(test)]
mod tests;

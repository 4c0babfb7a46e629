//! Source lines of places in the kernel and its modules, where their debug information is at hand.

mod content;
mod debug_file;
mod functions;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod layout;
mod lookup;
mod module;
mod modules;
mod nesting;
mod notes;
mod places;

use crate::{Error, ErrorKind, Location, Result, symbols};
use debug_file::DebugFile;
use lookup::Lookup;
use modules::Modules;
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// Where the running kernel shows the notes of its image, the build ID among them.
const KERNEL_NOTES: &str = "/sys/kernel/notes";
/// The symbol by which it is told how far from its image's addresses the kernel is: the first of its code.
const CODE: &str = "_stext";

/// The debug information of a kernel: which source lines its instructions are of.
///
/// It is read into memory, some hundred megabytes for a distribution's kernel, and what was asked for once is quick
/// to ask again.
///
/// Modules have theirs in files of their own. Such a file is looked for and read the first time that a place in the module is
/// asked for, and stays in memory: by build ID in `/usr/lib/debug/.build-id`, then by name below
/// `/usr/lib/debug/lib/modules/RELEASE` (`NAME.ko.debug` or `NAME.ko`), then the module itself below `/lib/modules/RELEASE`,
/// where it is not stripped; packed ones with the crate's feature `image`. What is not there then is not looked for again
/// before the module is loaded anew.
///
/// ```no_run
/// let mut drops = skbdrop::Monitor::builder().build()?;
/// let source = skbdrop::SourceLines::from_kernel()?;
/// for event in drops.iter() {
///     let event = event?;
///     if let Some(line) = source.lines(&event.location)?.first() {
///         println!("{event}, {line}");
///     }
/// }
/// # Ok::<(), skbdrop::Error>(())
/// ```
#[doc(alias = "DWARF")]
#[doc(alias = "addr2line")]
pub struct SourceLines {
    kernel: Lookup,
    /// What to add to an address in the file to have the address in memory.
    shift: u64,
    modules: Modules,
}

/// A line of the kernel's source. `Display` is `FILE:LINE in FUNCTION`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SourceLine {
    /// The file, as the compiler was told it: mostly below the folder that the kernel was built in.
    pub file: String,
    /// The line, from 1 on; `None` where the compiler names none.
    pub line: Option<u32>,
    /// The column, from 1 on; `None` where the compiler names none.
    pub column: Option<u32>,
    /// The function in the source: of one that was built into another, its own name. `None` in assembly.
    pub function: Option<String>,
}

impl SourceLines {
    /// Of the running kernel, from where distributions put its debug information:
    /// `/usr/lib/debug`, by build ID or by release, and the folder that it was built in (`/lib/modules/RELEASE/build`).
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if it is in none of these places; else as [`open`](Self::open).
    pub fn from_kernel() -> Result<Self> {
        let release = running_release();
        let build_id = running_build_id()?;
        let places = places::of_kernel(&build_id, &release);
        match places.iter().find(|path| path.exists()) {
            Some(path) => Self::open(path),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "no debug information of the running kernel in {} (needs its package: linux-image-{release}-dbg on \
                     Debian, linux-image-{release}-dbgsym on Ubuntu, kernel-debuginfo on Fedora; or name a `vmlinux` with it)",
                    quoted(&places)
                ),
            )),
        }
    }

    /// Of the running kernel, from this file: a `vmlinux` with debug information, or what was split from it.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](ErrorKind::InvalidData) if the file is of another build than the running kernel, or has no debug
    /// information; [`PermissionDenied`](ErrorKind::PermissionDenied) where the kernel hides its addresses;
    /// [`NotSupported`](ErrorKind::NotSupported) if its sections are packed, it has more than 4 GiB, or unpacks to more than
    /// 256 MiB.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let build_id = running_build_id()?;
        let code = symbols::address_of(CODE)?;
        Self::of(path, &build_id, |file| {
            let linked_at = file.address_of(CODE).ok_or_else(|| {
                Error::invalid_data(format!(
                    "`{}` has no symbol `{CODE}` (needs a `vmlinux` with its symbols)",
                    path.display()
                ))
            })?;
            Ok(code.wrapping_sub(linked_at))
        })
    }

    /// From a file that must be of this build; `shift` says how far its code is from where it was linked to.
    fn of(
        path: &Path,
        build_id: &[u8],
        shift: impl FnOnce(&DebugFile) -> Result<u64>,
    ) -> Result<Self> {
        let file = DebugFile::open(path)?;
        file.expect_build_id(build_id, "the running kernel")?;
        Ok(Self {
            shift: shift(&file)?,
            kernel: Lookup::new(&file)?,
            modules: Modules::new(Path::new("/"), running_release()),
        })
    }

    /// The file that it was read from: the kernel's own, not a module's.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.kernel.path()
    }

    /// The lines of a place, as an event or [`Monitor::symbolize`](crate::Monitor::symbolize) gives it: of the call that
    /// freed the packet, or of one further out. Several where the compiler built functions into one another, the innermost
    /// first. None for a place that the file does not know, or in a module whose debug information is not installed.
    ///
    /// A place in a module is found by its function and the offset in it, in the build that is loaded now, or was when it was last
    /// asked for: ask while the module that dropped the packet is loaded. Where the module has several functions of that name,
    /// and their lines differ, there are none.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](ErrorKind::InvalidData) if the debug information is corrupt, or nested deeper than any compiler's where the
    /// place is, or a module's is of another build than the module that is loaded; a module's cannot be read.
    /// [`NotSupported`](ErrorKind::NotSupported) for modules of machines whose compilers leave other relocations in debug
    /// information than addresses, as riscv's do.
    pub fn lines(&self, location: &Location) -> Result<Vec<SourceLine>> {
        if let Some(symbol) = &location.symbol
            && let Some(module) = &symbol.module
        {
            return self.modules.lines(module, symbol);
        }
        location.address.map_or(Ok(Vec::new()), |address| {
            self.kernel.of_call(address.wrapping_sub(self.shift))
        })
    }
}

impl fmt::Debug for SourceLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceLines")
            .field("path", &self.path())
            .field("shift", &format_args!("{:#x}", self.shift))
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(function) = &self.function {
            write!(f, " in {function}")?;
        }
        Ok(())
    }
}

/// The build ID of the running kernel.
fn running_build_id() -> Result<Vec<u8>> {
    let notes = fs::read(KERNEL_NOTES).map_err(|e| {
        let what = format!("cannot read the kernel's notes `{KERNEL_NOTES}` (needs sysfs on /sys)");
        Error::io(what, e)
    })?;
    notes::build_id(&notes)
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Error::not_supported(format!("no build ID in `{KERNEL_NOTES}`")))
}

/// Its release, as in `/lib/modules`.
fn running_release() -> String {
    let name = rustix::system::uname();
    name.release().to_string_lossy().into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quoted(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Symbol;
    use std::sync::Arc;

    #[inline(never)]
    fn told() -> u32 {
        line!()
    }

    fn own_build_id() -> Vec<u8> {
        let file = DebugFile::open(Path::new("/proc/self/exe")).expect("our own program");
        let build_id = file.build_id().expect("it can be read");
        build_id.expect("the linker gives one")
    }

    /// Where this program was loaded, which is linked to begin at 0.
    fn loaded_at() -> u64 {
        let maps = fs::read_to_string("/proc/self/maps").expect("the kernel tells it");
        let own = fs::read_link("/proc/self/exe").expect("the kernel tells it");
        let own = own.to_string_lossy();
        let line = maps.lines().find(|line| line.ends_with(&*own));
        let (start, _) = line
            .and_then(|it| it.split_once('-'))
            .expect("it is mapped");
        u64::from_str_radix(start, 16).expect("an address")
    }

    fn at(address: u64) -> Location {
        Location {
            address: Some(address),
            symbol: None,
        }
    }

    #[test]
    fn lines_of_our_own_program() {
        let own = Path::new("/proc/self/exe");
        let lines = SourceLines::of(own, &own_build_id(), |_| Ok(loaded_at()));
        let lines = lines.expect("it has debug information");
        // As if a call in its first byte returned.
        let address = told as fn() -> u32 as usize as u64 + 1;
        let found = lines.lines(&at(address)).expect("whole debug information");
        let last = found.last().expect("the function itself");
        assert!(last.file.ends_with("source_lines/mod.rs"), "{last:?}");
        // The compiler may call all of it the beginning, or the end.
        let around = told() - 1..=told() + 1;
        assert!(last.line.is_some_and(|it| around.contains(&it)), "{last:?}");
        let name = last.function.as_deref().unwrap_or_default();
        assert!(name.contains("told"), "{last:?}");
        assert!(last.to_string().contains("mod.rs:"), "{last}");

        // What is no place of this program's, and what is in a module that is nowhere.
        for address in [0, 1, u64::MAX] {
            assert_eq!(lines.lines(&at(address)).ok(), Some(Vec::new()));
        }
        let in_module = Location {
            symbol: Some(Arc::new(Symbol {
                name: "nft_do_chain".into(),
                module: Some("no_such_module".into()),
                offset: 0,
            })),
            ..at(address)
        };
        assert_eq!(lines.lines(&in_module).ok(), Some(Vec::new()));
        assert_eq!(lines.lines(&Location::default()).ok(), Some(Vec::new()));
    }

    #[test]
    fn another_build_is_refused() {
        let own = Path::new("/proc/self/exe");
        let refused = SourceLines::of(own, &[1, 2], |_| Ok(0)).expect_err("another build");
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        let text = refused.to_string();
        assert!(
            text.contains("its build ID is") && text.ends_with("0102"),
            "{text}"
        );
        let refused = SourceLines::open(own).expect_err("no kernel");
        assert!(
            matches!(
                refused.kind(),
                ErrorKind::InvalidData | ErrorKind::PermissionDenied
            ),
            "{refused}"
        );
        let missing = SourceLines::open("/nonexistent").expect_err("no file");
        assert!(
            matches!(
                missing.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            ),
            "{missing}"
        );
    }
}

//! Source lines of places in the kernel, where its debug information is at hand.

mod debug_file;
mod notes;

use crate::{Error, ErrorKind, Location, Result, symbols};
use addr2line::Context;
use debug_file::DebugFile;
use gimli::{EndianArcSlice, RunTimeEndian};
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
/// to ask again. Places in modules are not told: their debug information is in files of their own.
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
    path: PathBuf,
    context: Context<EndianArcSlice<RunTimeEndian>>,
    /// What to add to an address in the file to have the address in memory.
    shift: u64,
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
        let release = rustix::system::uname();
        let release = release.release().to_string_lossy();
        let build_id = running_build_id()?;
        let places = places(&build_id, &release);
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
    /// information; [`PermissionDenied`](ErrorKind::PermissionDenied) where the kernel hides its addresses.
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
        match file.build_id()? {
            Some(found) if found == build_id => {}
            found => {
                let found = found.map_or_else(|| "none".to_owned(), |it| hex(&it));
                return Err(Error::invalid_data(format!(
                    "the debug information in `{}` is of another kernel: its build ID is {found}, the running one's {}",
                    path.display(),
                    hex(build_id)
                )));
            }
        }
        Ok(Self {
            shift: shift(&file)?,
            context: file.context()?,
            path: path.to_owned(),
        })
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines of a place, as an event or [`Monitor::symbolize`](crate::Monitor::symbolize) gives it: of the call that
    /// freed the packet, or of one further out. Several where the compiler built functions into one another, the innermost
    /// first. None for a place in a module, or one that the file does not know.
    ///
    /// # Errors
    ///
    /// The debug information is corrupt.
    pub fn lines(&self, location: &Location) -> Result<Vec<SourceLine>> {
        let in_module = location
            .symbol
            .as_ref()
            .is_some_and(|symbol| symbol.module.is_some());
        match location.address {
            Some(address) if !in_module => self.lines_of_call(address),
            _ => Ok(Vec::new()),
        }
    }

    /// Of the call that returns to this address.
    fn lines_of_call(&self, address: u64) -> Result<Vec<SourceLine>> {
        let corrupt = |e| {
            let path = self.path.display();
            Error::invalid_data(format!("cannot read the debug information in `{path}`"))
                .caused_by(e)
        };
        // The instruction after the call may be another line's.
        let linked_at = address.wrapping_sub(self.shift).wrapping_sub(1);
        let found = self.context.find_frames(linked_at).skip_all_loads();
        let mut frames = found.map_err(corrupt)?;
        let mut lines = Vec::new();
        while let Some(frame) = frames.next().map_err(corrupt)? {
            let Some(place) = frame.location else {
                continue;
            };
            let Some(file) = place.file else {
                continue;
            };
            let name = frame.function.as_ref().map(|it| it.raw_name());
            let function = name.and_then(Result::ok).map(|name| name.into_owned());
            lines.push(SourceLine {
                file: file.to_owned(),
                line: place.line.filter(|&line| line != 0),
                column: place.column.filter(|&column| column != 0),
                function,
            });
        }
        Ok(lines)
    }
}

impl fmt::Debug for SourceLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceLines")
            .field("path", &self.path)
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

/// Where debug information of a kernel is put, the surest first.
fn places(build_id: &[u8], release: &str) -> Vec<PathBuf> {
    let digits = hex(build_id);
    let (first, rest) = digits.split_at(digits.len().min(2));
    [
        format!("/usr/lib/debug/.build-id/{first}/{rest}.debug"),
        format!("/usr/lib/debug/boot/vmlinux-{release}"),
        format!("/usr/lib/debug/lib/modules/{release}/vmlinux"),
        format!("/usr/lib/debug/usr/lib/modules/{release}/vmlinux"),
        format!("/lib/modules/{release}/build/vmlinux"),
    ]
    .map(PathBuf::from)
    .to_vec()
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

        // What is no place of this program's, and what is in a module.
        for address in [0, 1, u64::MAX] {
            assert_eq!(lines.lines(&at(address)).ok(), Some(Vec::new()));
        }
        let in_module = Location {
            symbol: Some(Arc::new(Symbol {
                name: "nft_do_chain".into(),
                module: Some("nf_tables".into()),
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

    #[test]
    fn the_surest_place_is_the_first() {
        let places = places(&[0xab, 0xcd, 0x01], "6.1.0");
        assert_eq!(
            places[0],
            Path::new("/usr/lib/debug/.build-id/ab/cd01.debug")
        );
        assert_eq!(places[1], Path::new("/usr/lib/debug/boot/vmlinux-6.1.0"));
        assert_eq!(super::places(&[], "").len(), places.len());
    }
}

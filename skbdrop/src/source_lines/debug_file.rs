//! A file with debug information, as far as lines are told by it: a kernel, which is linked, or a module, which is not.

use super::{
    functions::{Functions, is_name_at},
    hex,
    layout::Layout,
};
use crate::{Error, Result, decompress::Compression};
use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, RunTimeEndian, SectionId};
use object::{
    CompressionFormat, Object as _, ObjectSection as _, elf,
    read::{
        ReadCache,
        elf::{ElfFile64, ElfSection64, FileHeader as _, Sym as _},
    },
};
use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes of the file as they are asked for: what a user names may change, so it is not mapped.
type Cache = ReadCache<Bounded>;
pub(super) type Elf<'a> = ElfFile64<'a, object::Endianness, &'a Cache>;
pub(super) type Section<'a, 'b> = ElfSection64<'a, 'b, object::Endianness, &'a Cache>;

/// What tells where variables are, and no lines.
const UNUSED: [SectionId; 2] = [SectionId::DebugLoc, SectionId::DebugLocLists];
/// The most that is read of a packed file, in bytes: as much as is unpacked at most.
const MAX_PACKED: u64 = 256 << 20;
/// How deep functions, blocks and what was inlined into them may be nested in a module. Compilers stay far below, and addr2line
/// calls itself for each level.
const MAX_DEPTH: isize = 512;

/// An open file.
pub(super) struct DebugFile {
    path: PathBuf,
    /// Of the file, in bytes.
    len: u64,
    cache: Cache,
}

impl DebugFile {
    /// Opens a file, which may be packed as modules are.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let cannot = |e| {
            let path = path.display();
            Error::io(format!("cannot open the debug information `{path}`"), e)
        };
        let mut file = File::open(path).map_err(cannot)?;
        let mut head = Vec::new();
        let read = file.by_ref().take(16).read_to_end(&mut head);
        read.map_err(cannot)?;
        let Some(compression) = Compression::of(&head) else {
            let len = file.seek(SeekFrom::End(0)).map_err(cannot)?;
            return Self::of(path, Box::new(file), len);
        };
        let mut packed = head;
        let read = file.take(MAX_PACKED).read_to_end(&mut packed);
        read.map_err(cannot)?;
        let unpacked = compression.unpack(&packed).map_err(|e| {
            let (path, name) = (path.display(), compression.name());
            Error::new(e.kind(), format!("cannot unpack `{path}` from {name}")).caused_by(e)
        })?;
        Self::from_bytes(path, unpacked)
    }

    /// What was in a file of this name.
    pub(super) fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let len = bytes.len() as u64;
        Self::of(path, Box::new(Cursor::new(bytes)), len)
    }

    fn of(path: &Path, bytes: Box<dyn Bytes>, len: u64) -> Result<Self> {
        let left = len.saturating_mul(2).saturating_add(STRINGS);
        let file = Self {
            path: path.to_owned(),
            len,
            cache: ReadCache::new(Bounded { bytes, left }),
        };
        file.elf()?;
        Ok(file)
    }

    fn elf(&self) -> Result<Elf<'_>> {
        ElfFile64::parse(&self.cache).map_err(|e| self.bad(e))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn build_id(&self) -> Result<Option<Vec<u8>>> {
        let elf = self.elf()?;
        let build_id = elf.build_id().map_err(|e| self.bad(e))?;
        Ok(build_id.map(<[u8]>::to_vec))
    }

    /// Refuses a file of another build; `what` is what has this build ID.
    pub(super) fn expect_build_id(&self, build_id: &[u8], what: &str) -> Result<()> {
        let found = self.build_id()?;
        if found.as_deref() == Some(build_id) {
            return Ok(());
        }
        let found = found.map_or_else(|| "none".to_owned(), |it| hex(&it));
        Err(Error::invalid_data(format!(
            "the debug information in `{}` is of another build than {what}: its build ID is {found}, that of {what} {}",
            self.path.display(),
            hex(build_id)
        )))
    }

    /// Whether it is stripped.
    pub(super) fn has_debug_information(&self) -> Result<bool> {
        let elf = self.elf()?;
        Ok(elf.section_by_name(SectionId::DebugInfo.name()).is_some())
    }

    /// The address that a symbol was linked to; `None` if the file has it not.
    pub(super) fn address_of(&self, name: &str) -> Option<u64> {
        let elf = self.elf().ok()?;
        let symbols = elf.elf_symbol_table();
        let names = elf.section_by_index(symbols.string_section()).ok()?;
        let names = names.data().ok()?;
        let endian = elf.endian();
        let symbol = symbols
            .iter()
            .find(|symbol| is_name_at(names, symbol.st_name(endian) as usize, name));
        symbol.map(|symbol| symbol.st_value(endian))
    }

    /// The functions of a module, at the addresses that [`context`](Self::context) has them at.
    pub(super) fn functions(&self) -> Result<Functions> {
        let elf = self.elf()?;
        let Some(layout) = self.layout(&elf)? else {
            return Err(Error::invalid_data(format!(
                "`{}` is no module: it is linked already",
                self.path.display()
            )));
        };
        Functions::of(&elf, &layout).map_err(|e| self.bad(e))
    }

    /// Reads the debug information.
    pub(super) fn context(&self) -> Result<Context<EndianArcSlice<RunTimeEndian>>> {
        if !self.has_debug_information()? {
            return Err(Error::invalid_data(format!(
                "`{}` has no debug information (needs CONFIG_DEBUG_INFO, and a file that is not stripped)",
                self.path.display()
            )));
        }
        let elf = self.elf()?;
        let layout = self.layout(&elf)?;
        let endian = if elf.is_little_endian() {
            RunTimeEndian::Little
        } else {
            RunTimeEndian::Big
        };
        // Of sections that overlap each is a copy of its own.
        let mut left = self.len;
        let dwarf = Dwarf::load(|id| {
            let found = elf.section_by_name(id.name());
            let found = found.filter(|_| !UNUSED.contains(&id));
            let Some(section) = found else {
                return Ok(EndianArcSlice::new(Arc::default(), endian));
            };
            let content = self.content(&section)?;
            left = left
                .checked_sub(content.len() as u64)
                .ok_or_else(|| self.bad(io::Error::other("the sections overlap")))?;
            let mut bytes = Arc::from(content);
            if let Some(layout) = &layout {
                let relocated = layout.relocate(&elf, &section, Arc::make_mut(&mut bytes));
                relocated.map_err(|e| self.bad(e))?;
            }
            Ok::<_, Error>(EndianArcSlice::new(bytes, endian))
        })?;
        // The kernel's own is read once more for it in seconds, and whoever changes it has the machine.
        if layout.is_some() {
            self.check_depth(&dwarf)?;
        }
        Context::from_dwarf(dwarf).map_err(|e| self.bad(e))
    }

    /// Refuses what is nested deeper than a stack may bear.
    fn check_depth(&self, dwarf: &Dwarf<EndianArcSlice<RunTimeEndian>>) -> Result<()> {
        let mut units = dwarf.units();
        while let Some(header) = units.next().map_err(|e| self.bad(e))? {
            // addr2line passes over what it cannot read, too.
            let Ok(unit) = dwarf.unit(header) else {
                continue;
            };
            let Ok(mut entries) = unit.entries_raw(None) else {
                continue;
            };
            while !entries.is_empty() {
                if entries.next_depth() > MAX_DEPTH {
                    return Err(self.bad(io::Error::other(format!(
                        "entries are nested by more than {MAX_DEPTH}"
                    ))));
                }
                let Ok(abbreviation) = entries.read_abbreviation() else {
                    break;
                };
                if let Some(abbreviation) = abbreviation
                    && entries.skip_attributes(abbreviation.attributes()).is_err()
                {
                    break;
                }
            }
        }
        Ok(())
    }

    fn content<'a>(&self, section: &Section<'a, '_>) -> Result<&'a [u8]> {
        let found = section.compressed_data().map_err(|e| self.bad(e))?;
        if found.format != CompressionFormat::None {
            let path = self.path.display();
            return Err(Error::not_supported(format!(
                "the debug information in `{path}` is packed (unpack it: objcopy --decompress-debug-sections {path} OUT)"
            )));
        }
        Ok(found.data)
    }

    /// Where the sections of a module are; `None` for what has addresses already.
    fn layout(&self, elf: &Elf<'_>) -> Result<Option<Layout>> {
        if elf.elf_header().e_type(elf.endian()) != elf::ET_REL {
            return Ok(None);
        }
        Layout::of(elf).map(Some).map_err(|e| self.bad(e))
    }

    fn bad(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        corrupt(&self.path, error)
    }
}

/// What to say of debug information that is not as it should be.
pub(super) fn corrupt(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let path = path.display();
    Error::invalid_data(format!("cannot read the debug information in `{path}`")).caused_by(error)
}

/// What can be read at any place.
trait Bytes: Read + Seek {}

impl<T: Read + Seek> Bytes for T {}

/// Bytes that are read about once. What is read is kept, and the sections of a corrupt file may overlap: such a file would
/// fill the memory.
pub(super) struct Bounded {
    bytes: Box<dyn Bytes>,
    left: u64,
}

/// Room for names of sections, in bytes: each is read with what is behind it.
const STRINGS: u64 = 16 << 20;

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| io::Error::other("the sections overlap"))?;
        Ok(count)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

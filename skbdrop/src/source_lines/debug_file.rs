//! A file with debug information, as far as lines are told by it: a kernel, which is linked, or a module, which is not.

use super::{
    content::Content,
    functions::{Functions, is_name_at},
    hex,
    layout::Layout,
};
use crate::{Error, Result, decompress::Compression};
use gimli::{Dwarf, EndianArcSlice, RunTimeEndian, SectionId};
use object::{
    CompressionFormat, Object as _, ObjectSection as _, elf,
    read::elf::{ElfFile64, ElfSection64, FileHeader as _, Sym as _},
};
use std::{
    cell::Cell,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) type Elf<'a> = ElfFile64<'a, object::Endianness, &'a Content>;
pub(super) type Section<'a, 'b> = ElfSection64<'a, 'b, object::Endianness, &'a Content>;
/// Bytes of a section of debug information.
pub(super) type Bytes = EndianArcSlice<RunTimeEndian>;

/// What tells where variables are, and no lines; and a list of where units are, who say so themselves.
const UNUSED: [SectionId; 3] = [
    SectionId::DebugLoc,
    SectionId::DebugLocLists,
    SectionId::DebugAranges,
];
/// The most that is read of a packed file, in bytes: as much as is unpacked at most.
const MAX_PACKED: u64 = 256 << 20;
/// The most that a file may have, in bytes: no section of DWARF in 32 bits, which compilers write, has more. Distributions'
/// kernels have up to a GB with all their sections; a file that has holes may be of any length.
const MAX_LEN: u64 = 4 << 30;

/// An open file.
pub(super) struct DebugFile {
    path: PathBuf,
    content: Content,
    room: Room,
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
            if len > MAX_LEN {
                let path = path.display();
                return Err(Error::not_supported(format!(
                    "`{path}` has {len} bytes: files with debug information are read up to {MAX_LEN} bytes"
                )));
            }
            return Self::of(path, Content::of_file(file, len), len);
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
        Self::of(path, Content::Memory(bytes), len)
    }

    fn of(path: &Path, content: Content, len: u64) -> Result<Self> {
        let file = Self {
            path: path.to_owned(),
            content,
            room: Room::for_bytes(len),
        };
        file.elf()?;
        Ok(file)
    }

    fn elf(&self) -> Result<Elf<'_>> {
        ElfFile64::parse(&self.content).map_err(|e| self.bad(e))
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

    /// The functions of a module, at the addresses that [`dwarf`](Self::dwarf) has them at.
    pub(super) fn functions(&self) -> Result<Functions> {
        let elf = self.elf()?;
        let Some(layout) = self.layout(&elf)? else {
            return Err(Error::invalid_data(format!(
                "`{}` is no module: it is linked already",
                self.path.display()
            )));
        };
        Functions::of(&elf, &layout, &self.room).map_err(|e| refused(&self.path, e))
    }

    /// Reads the debug information.
    pub(super) fn dwarf(&self) -> Result<Dwarf<Bytes>> {
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
        Dwarf::load(|id| {
            let found = elf.section_by_name(id.name());
            let found = found.filter(|_| !UNUSED.contains(&id));
            let Some(section) = found else {
                return Ok(EndianArcSlice::new(Arc::default(), endian));
            };
            let content = self.section(&section)?;
            let taken = self.room.take(content.len());
            taken.map_err(|e| refused(&self.path, e))?;
            let mut bytes = Arc::from(content);
            if let Some(layout) = &layout {
                let relocated = layout.relocate(&elf, &section, Arc::make_mut(&mut bytes));
                relocated.map_err(|e| refused(&self.path, e))?;
            }
            Ok::<_, Error>(EndianArcSlice::new(bytes, endian))
        })
    }

    fn section<'a>(&self, section: &Section<'a, '_>) -> Result<&'a [u8]> {
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
        Layout::of(elf)
            .map(Some)
            .map_err(|e| refused(&self.path, e))
    }

    fn bad(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        corrupt(&self.path, error)
    }
}

/// What to say of debug information that a parser refuses.
pub(super) fn corrupt(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid_data(cannot_read(path)).caused_by(error)
}

/// What to say of debug information that is refused here.
pub(super) fn refused(path: &Path, error: Error) -> Error {
    Error::new(error.kind(), cannot_read(path)).caused_by(error)
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read the debug information in `{}`", path.display())
}

/// Room for what is kept of a file, in bytes: as many as it has. The sections of a corrupt file may overlap, and of those each
/// would be kept.
pub(super) struct Room(Cell<u64>);

impl Room {
    fn for_bytes(len: u64) -> Self {
        Self(Cell::new(len))
    }

    pub(super) fn take(&self, len: usize) -> Result<()> {
        let left = self.0.get().checked_sub(len as u64);
        self.0
            .set(left.ok_or_else(|| Error::invalid_data("the sections overlap"))?);
        Ok(())
    }
}

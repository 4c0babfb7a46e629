//! A file with debug information, as far as lines are told by it.

use crate::{Error, Result};
use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, RunTimeEndian, SectionId};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _,
    read::{ReadCache, elf::ElfFile64},
};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes of the file as they are asked for: what a user names may change, so it is not mapped.
type Cache = ReadCache<File>;

/// What tells where variables are, and no lines.
const UNUSED: [SectionId; 2] = [SectionId::DebugLoc, SectionId::DebugLocLists];

/// An open file.
pub(super) struct DebugFile {
    path: PathBuf,
    cache: Cache,
}

impl DebugFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| {
            Error::io(
                format!("cannot open the debug information `{}`", path.display()),
                e,
            )
        })?;
        let file = Self {
            path: path.to_owned(),
            cache: ReadCache::new(file),
        };
        file.elf()?;
        Ok(file)
    }

    fn elf(&self) -> Result<ElfFile64<'_, object::Endianness, &Cache>> {
        ElfFile64::parse(&self.cache).map_err(|e| self.bad(e))
    }

    pub(super) fn build_id(&self) -> Result<Option<Vec<u8>>> {
        let elf = self.elf()?;
        let build_id = elf.build_id().map_err(|e| self.bad(e))?;
        Ok(build_id.map(<[u8]>::to_vec))
    }

    /// The address that a symbol was linked to; `None` if the file has it not.
    pub(super) fn address_of(&self, name: &str) -> Option<u64> {
        let elf = self.elf().ok()?;
        let symbol = elf.symbols().find(|symbol| symbol.name() == Ok(name));
        symbol.map(|symbol| symbol.address())
    }

    /// Reads the debug information.
    pub(super) fn context(&self) -> Result<Context<EndianArcSlice<RunTimeEndian>>> {
        let elf = self.elf()?;
        let endian = if elf.is_little_endian() {
            RunTimeEndian::Little
        } else {
            RunTimeEndian::Big
        };
        let section = |id: SectionId| {
            let bytes = match elf.section_by_name(id.name()) {
                Some(section) if !UNUSED.contains(&id) => {
                    section.uncompressed_data().map_err(|e| self.bad(e))?
                }
                _ => Default::default(),
            };
            Ok::<_, Error>(EndianArcSlice::new(Arc::from(&*bytes), endian))
        };
        if elf.section_by_name(SectionId::DebugInfo.name()).is_none() {
            return Err(Error::invalid_data(format!(
                "`{}` has no debug information (needs CONFIG_DEBUG_INFO, and a file that is not stripped)",
                self.path.display()
            )));
        }
        let dwarf = Dwarf::load(section)?;
        Context::from_dwarf(dwarf).map_err(|e| self.bad(e))
    }

    fn bad(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        let path = self.path.display();
        Error::invalid_data(format!("cannot read the debug information in `{path}`"))
            .caused_by(error)
    }
}

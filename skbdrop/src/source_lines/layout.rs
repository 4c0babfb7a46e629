//! Addresses for a module, which nobody links before it is loaded: all its sections begin at 0, and where its debug information
//! has an address or an offset, a relocation says what it will be.
//!
//! addr2line's own loader and `RelocationMap` of `object` leave the sections where they are, one above the other, and pass over
//! relocations that they cannot read; blazesym, which has the like, brings a second reader of ELF.

use super::debug_file::{Elf, Section};
use crate::{Error, Result};
use object::{
    Object as _, ObjectSection as _, Relocation, RelocationEncoding, RelocationFlags,
    RelocationKind, RelocationTarget, SectionIndex, SymbolIndex, elf,
    read::elf::{FileHeader as _, SectionHeader as _, Sym as _},
};

/// Between two sections is at least a byte of none, so that what is before the first of one is not the last of another. The
/// first does not begin at 0, which debug information has for what the linker left out.
const STEP: u64 = 0x1000;
/// What debug information has for the address of what is not there.
const NOWHERE: u64 = u64::MAX;

/// Where the sections of a module are put, none over another.
#[derive(Debug)]
pub(super) struct Layout {
    /// By the section's number. Sections that are not loaded are at 0: what refers to them wants an offset in them.
    starts: Vec<u64>,
}

impl Layout {
    pub(super) fn of(elf: &Elf<'_>) -> Result<Self> {
        let endian = elf.endian();
        let mut next = STEP;
        let mut starts = Vec::new();
        for section in elf.elf_section_table().iter() {
            if section.sh_flags(endian) & u64::from(elf::SHF_ALLOC) == 0 {
                starts.push(0);
                continue;
            }
            starts.push(next);
            let end = next.checked_add(section.sh_size(endian));
            let after = end.and_then(|end| end.checked_add(1)?.checked_next_multiple_of(STEP));
            next = after.ok_or_else(|| Error::invalid_data("the sections have no end"))?;
        }
        Ok(Self { starts })
    }

    /// The address of a symbol in a section.
    pub(super) fn address(&self, section: SectionIndex, value: u64) -> Result<u64> {
        let start = self.starts.get(section.0);
        let start = start.ok_or_else(|| {
            Error::invalid_data(format!(
                "a symbol is in the section {}, which is not there",
                section.0
            ))
        })?;
        Ok(start.wrapping_add(value))
    }

    /// Writes into the bytes of a section what its relocations say.
    pub(super) fn relocate(
        &self,
        elf: &Elf<'_>,
        section: &Section<'_, '_>,
        bytes: &mut [u8],
    ) -> Result<()> {
        check(elf, section.index())?;
        for (offset, relocation) in section.relocations() {
            let place = |e: Error| {
                let name = section.name().unwrap_or("?");
                let what = format!("the relocation at byte {offset:#x} of the section `{name}`");
                Error::new(e.kind(), what).caused_by(e)
            };
            let value = self.value(elf, &relocation).map_err(place)?;
            if let Some(value) = value {
                let written = value.write(bytes, offset, elf.is_little_endian());
                written.map_err(place)?;
            }
        }
        Ok(())
    }

    /// What a relocation says; `None` for one that says nothing.
    fn value(&self, elf: &Elf<'_>, relocation: &Relocation) -> Result<Option<Value>> {
        let wide = match (relocation.kind(), relocation.encoding(), relocation.size()) {
            (RelocationKind::None, ..) => return Ok(None),
            (RelocationKind::Absolute, RelocationEncoding::Generic, 64) => true,
            (RelocationKind::Absolute, RelocationEncoding::Generic, 32) => false,
            _ => {
                let RelocationFlags::Elf { r_type } = relocation.flags() else {
                    return Err(Error::invalid_data("it is none of ELF"));
                };
                let machine = elf.elf_header().e_machine(elf.endian());
                return Err(Error::not_supported(format!(
                    "it is of kind {r_type} of the machine {machine}, which is none of debug information that is known here"
                )));
            }
        };
        let address = match relocation.target() {
            RelocationTarget::Symbol(symbol) => self.target(elf, symbol)?,
            _ => Some(0),
        };
        let value = address.map_or(NOWHERE, |address| {
            address.wrapping_add(relocation.addend().cast_unsigned())
        });
        if wide {
            return Ok(Some(Value::Wide(value)));
        }
        let narrow = u32::try_from(value);
        let narrow = narrow
            .map_err(|e| Error::invalid_data(format!("{value:#x} for 32 bits")).caused_by(e))?;
        Ok(Some(Value::Narrow(narrow)))
    }

    /// What a relocation refers to; `None` for a symbol of another module or the kernel.
    fn target(&self, elf: &Elf<'_>, index: SymbolIndex) -> Result<Option<u64>> {
        let no_symbol =
            |e| Error::invalid_data("a relocation to a symbol that is none").caused_by(e);
        let (endian, symbols) = (elf.endian(), elf.elf_symbol_table());
        let symbol = symbols.symbol(index).map_err(no_symbol)?;
        let value = symbol.st_value(endian);
        match symbols
            .symbol_section(endian, symbol, index)
            .map_err(no_symbol)?
        {
            Some(section) => self.address(section, value).map(Some),
            None if symbol.st_shndx(endian) == elf::SHN_ABS => Ok(Some(value)),
            None => Ok(None),
        }
    }
}

/// Refuses relocations that the walk over them passes over: those that are cut, or of another form.
fn check(elf: &Elf<'_>, section: SectionIndex) -> Result<()> {
    let endian = elf.endian();
    let of_section = elf.elf_section_table().iter().filter(|header| {
        let kind = header.sh_type(endian);
        let relocates = matches!(kind, elf::SHT_REL | elf::SHT_RELA | elf::SHT_CREL);
        relocates && header.info_link(endian) == section
    });
    for (count, header) in of_section.enumerate() {
        let relocations = header.rela(endian, elf.data());
        let relocations =
            relocations.map_err(|e| Error::invalid_data("the relocations are cut").caused_by(e))?;
        let symbols = elf.elf_symbol_table().section();
        if count > 0 || relocations.is_none_or(|(_, link)| link != symbols) {
            return Err(Error::invalid_data(
                "relocations of a form that modules have not (they have one section of `SHT_RELA` for another)",
            ));
        }
    }
    Ok(())
}

/// What is written, in as many bytes as it has.
enum Value {
    Narrow(u32),
    Wide(u64),
}

impl Value {
    fn write(&self, bytes: &mut [u8], offset: u64, little: bool) -> Result<()> {
        let place = usize::try_from(offset).ok();
        let place = place.and_then(|start| bytes.get_mut(start..));
        let written = match (place, self) {
            (Some(place), Self::Narrow(value)) => place.first_chunk_mut().map(|it| {
                *it = if little {
                    value.to_le_bytes()
                } else {
                    value.to_be_bytes()
                };
            }),
            (Some(place), Self::Wide(value)) => place.first_chunk_mut().map(|it| {
                *it = if little {
                    value.to_le_bytes()
                } else {
                    value.to_be_bytes()
                };
            }),
            (None, _) => None,
        };
        written.ok_or_else(|| Error::invalid_data("it is outside of the section"))
    }
}

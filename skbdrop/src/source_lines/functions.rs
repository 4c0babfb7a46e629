//! The functions of a module, by name.

use super::{
    debug_file::{Elf, Room},
    layout::Layout,
};
use crate::{Error, Result};
use object::{
    Object as _, ObjectSection as _, elf,
    read::elf::{SectionHeader as _, Sym as _},
};

/// Functions and where they are.
#[derive(Debug)]
pub(super) struct Functions {
    /// The module's names, each with a 0 behind it.
    names: Vec<u8>,
    all: Vec<Function>,
}

#[derive(Debug)]
struct Function {
    /// Where its name begins.
    name: usize,
    address: u64,
    /// In bytes; what follows in the section for a function in assembly that does not say.
    size: u64,
}

impl Functions {
    pub(super) fn of(elf: &Elf<'_>, layout: &Layout, room: &Room) -> Result<Self> {
        let bad = |e| Error::invalid_data("the symbols are corrupt").caused_by(e);
        let (endian, symbols) = (elf.endian(), elf.elf_symbol_table());
        let (mut names, mut all) = (Vec::new(), Vec::new());
        if !symbols.is_empty() {
            let section = elf.section_by_index(symbols.string_section());
            let content = section.and_then(|it| it.data()).map_err(bad)?;
            room.take(content.len())?;
            names = content.to_vec();
        }
        room.take(symbols.len().saturating_mul(size_of::<Function>()))?;
        for (index, symbol) in symbols.enumerate() {
            let Some(section) = symbols.symbol_section(endian, symbol, index).map_err(bad)? else {
                continue;
            };
            let header = elf.elf_section_table().section(section).map_err(bad)?;
            // As the kernel tells functions from data.
            if header.sh_flags(endian) & u64::from(elf::SHF_EXECINSTR) == 0 {
                continue;
            }
            let value = symbol.st_value(endian);
            // What is behind the section would be in another one.
            let Some(room) = header.sh_size(endian).checked_sub(value) else {
                continue;
            };
            let size = match symbol.st_size(endian) {
                0 => room,
                size => size.min(room),
            };
            all.push(Function {
                name: symbol.st_name(endian) as usize,
                address: layout.address(section, value)?,
                size,
            });
        }
        Ok(Self { names, all })
    }

    /// Where the places so far behind the beginning of functions of this name are: behind the last byte at most, to where the
    /// function's last call returns.
    pub(super) fn places(&self, name: &str, offset: u64) -> Vec<u64> {
        let found = self
            .all
            .iter()
            .filter(|it| offset <= it.size && is_name_at(&self.names, it.name, name));
        let mut places: Vec<u64> = found.map(|it| it.address.wrapping_add(offset)).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Names and sizes, for who feeds it with any bytes.
    #[cfg(any(fuzzing, test))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.all.iter().filter_map(|function| {
            let at = self.names.get(function.name..)?;
            let end = at.iter().position(|&byte| byte == 0)?;
            Some((std::str::from_utf8(&at[..end]).ok()?, function.size))
        })
    }
}

/// Whether this name, which is not empty, begins there in a table of names, each with a 0 behind it.
pub(super) fn is_name_at(names: &[u8], start: usize, name: &str) -> bool {
    let rest = names
        .get(start..)
        .and_then(|at| at.strip_prefix(name.as_bytes()));
    !name.is_empty() && rest.and_then(<[u8]>::first) == Some(&0)
}

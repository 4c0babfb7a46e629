//! Names for kernel addresses, from `/proc/kallsyms`.

use crate::{Error, Result};
use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Where the kernel lists its symbols.
const KALLSYMS: &str = "/proc/kallsyms";
/// An address that no symbol covers may be in a module loaded since; look again, but reading
/// takes some 60 ms, so not more often than this.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// A function in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Symbol {
    /// Name as in `/proc/kallsyms`.
    pub name: Arc<str>,
    /// Module that it is in; `None` for the kernel itself.
    pub module: Option<Arc<str>>,
    /// Bytes from the symbol's start to the address that was asked for.
    pub offset: u64,
}

/// Resolves addresses. Reads the list when the first address is asked for, and remembers
/// answers: drops come from few places.
#[derive(Debug)]
pub(crate) struct Symbols {
    path: PathBuf,
    table: Option<Table>,
    answers: HashMap<u64, Option<Arc<Symbol>>>,
    /// When the list was read last; `None` before the first time.
    read: Option<Instant>,
}

impl Symbols {
    /// Symbols of the running kernel.
    pub(crate) fn kernel() -> Self {
        Self::from_path(Path::new(KALLSYMS))
    }

    fn from_path(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            table: None,
            answers: HashMap::new(),
            read: None,
        }
    }

    /// The symbol that covers `address`. `None` if there is none, or the kernel hides its
    /// addresses (`kernel.kptr_restrict`).
    pub(crate) fn resolve(&mut self, address: u64) -> Option<Arc<Symbol>> {
        if let Some(Some(answer)) = self.answers.get(&address) {
            return Some(Arc::clone(answer));
        }
        let mut answer = self.table.as_ref().and_then(|table| table.find(address));
        let due = self.read.is_none_or(|read| read.elapsed() >= RELOAD_INTERVAL);
        if answer.is_none() && due {
            self.read = Some(Instant::now());
            // A list that cannot be read leaves locations as numbers.
            self.table = Table::read(&self.path).ok();
            answer = self.table.as_ref().and_then(|table| table.find(address));
        }
        let answer = answer.map(Arc::new);
        self.answers.insert(address, answer.clone());
        answer
    }
}

/// The kernel's functions, sorted by address.
#[derive(Debug, Default)]
struct Table {
    /// Parallel to `names`; kept apart so that the search touches little memory.
    addresses: Vec<u64>,
    names: Vec<Name>,
    /// All names one after the other.
    text: String,
    modules: Vec<Arc<str>>,
}

/// Where a name is in the table's text. A length of 0 marks the end of the function before:
/// data, or a name that cannot be one of a function.
#[derive(Clone, Copy, Debug)]
struct Name {
    start: u32,
    len: u16,
    /// 0: the kernel itself; else the module's place in the list, plus one.
    module: u16,
}

impl Table {
    fn read(path: &Path) -> Result<Self> {
        let describe = || format!("cannot read the kernel's symbols `{}`", path.display());
        let file = File::open(path).map_err(|e| Error::io(describe(), e))?;
        Self::parse(BufReader::with_capacity(1 << 16, file)).map_err(|e| Error::io(describe(), e))
    }

    /// Reads lines of `address type name`, and `[module]` after a tab where it is in one.
    /// Lines of any other form are passed over.
    fn parse(mut reader: impl BufRead) -> std::io::Result<Self> {
        let mut table = Self::default();
        let mut entries: Vec<(u64, Name)> = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            entries.extend(table.entry(&line));
        }
        // The file has no order that one may rely on. Of aliases the first counts, as in the
        // kernel's own look-up (`get_symbol_pos` in `kernel/kallsyms.c`).
        entries.sort_by_key(|(address, _)| *address);
        entries.dedup_by(|next, kept| {
            let alias = next.0 == kept.0;
            if alias && kept.1.len == 0 {
                *kept = *next;
            }
            // What is no function only has to mark the end of one.
            alias || (kept.1.len == 0 && next.1.len == 0)
        });
        table.addresses = entries.iter().map(|(address, _)| *address).collect();
        table.names = entries.into_iter().map(|(_, name)| name).collect();
        table.text.shrink_to_fit();
        Ok(table)
    }

    fn entry(&mut self, line: &[u8]) -> Option<(u64, Name)> {
        let line = std::str::from_utf8(line).ok()?;
        let (address, rest) = line.split_once(' ')?;
        let (kind, rest) = rest.split_once(' ')?;
        let address = u64::from_str_radix(address, 16).ok()?;
        // All addresses are zero where the kernel hides them.
        if address == 0 {
            return None;
        }
        let mut words = rest.split_ascii_whitespace();
        let name = words.next()?;
        let module = words.next().and_then(|word| word.strip_prefix('[')?.strip_suffix(']'));
        let function = matches!(kind, "t" | "T" | "w" | "W");
        let (Ok(start), Ok(len)) = (u32::try_from(self.text.len()), u16::try_from(name.len())) else {
            return None;
        };
        if !function {
            let end = Name { start, len: 0, module: 0 };
            return Some((address, end));
        }
        let module = match module {
            None => 0,
            Some(module) => self.module(module)?,
        };
        self.text.push_str(name);
        Some((address, Name { start, len, module }))
    }

    fn module(&mut self, name: &str) -> Option<u16> {
        // Modules are listed together, so the last one is nearly always it.
        let at = match self.modules.iter().rposition(|known| **known == *name) {
            Some(at) => at,
            None => {
                self.modules.push(name.into());
                self.modules.len() - 1
            }
        };
        u16::try_from(at + 1).ok()
    }

    fn find(&self, address: u64) -> Option<Symbol> {
        let at = self.addresses.partition_point(|&start| start <= address).checked_sub(1)?;
        // Nothing bounds the very last symbol, so it covers nothing.
        if at + 1 == self.addresses.len() {
            return None;
        }
        let name = self.names[at];
        if name.len == 0 {
            return None;
        }
        let start = name.start as usize;
        let module = usize::from(name.module).checked_sub(1);
        Some(Symbol {
            name: self.text[start..start + usize::from(name.len)].into(),
            module: module.map(|at| Arc::clone(&self.modules[at])),
            offset: address - self.addresses[at],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"ffffffff81000000 T first\nffffffff81000000 t alias\n\
        ffffffff81000200 t unordered\nffffffff81000100 W second.cold\n\
        ffffffff81000300 D data\nffffffff81000400 d more\nffffffffc0000000 t in_module\t[nft]\n\
        ffffffffc0000100 r rodata\t[nft]\nnot a line\nffffffff T\n\xff\xfe\n";

    fn at(table: &Table, address: u64) -> Option<String> {
        let symbol = table.find(address)?;
        let module = symbol.module.map_or(String::new(), |module| format!(" [{module}]"));
        Some(format!("{}+{:#x}{module}", symbol.name, symbol.offset))
    }

    #[test]
    fn nearest_function_below_wins() {
        let table = Table::parse(LIST).expect("reading from memory");
        let at = |address| at(&table, address);
        assert_eq!(at(0xffff_ffff_8100_0000).as_deref(), Some("first+0x0"));
        assert_eq!(at(0xffff_ffff_8100_00ff).as_deref(), Some("first+0xff"));
        assert_eq!(at(0xffff_ffff_8100_0101).as_deref(), Some("second.cold+0x1"));
        assert_eq!(at(0xffff_ffff_8100_02ff).as_deref(), Some("unordered+0xff"));
        assert_eq!(at(0xffff_ffff_c000_0010).as_deref(), Some("in_module+0x10 [nft]"));
    }

    #[test]
    fn data_and_what_lies_outside_has_no_name() {
        let table = Table::parse(LIST).expect("reading from memory");
        for address in [0, 1, 0xffff_ffff_8100_0300, 0xffff_ffff_8100_0500, 0xffff_ffff_c000_0100, u64::MAX] {
            assert_eq!(at(&table, address), None, "{address:#x}");
        }
    }

    #[test]
    fn hidden_addresses_give_nothing() {
        let hidden = b"0000000000000000 T first\n0000000000000000 T second\n";
        let table = Table::parse(&hidden[..]).expect("reading from memory");
        assert_eq!(at(&table, 0), None);
        assert_eq!(at(&table, u64::MAX), None);
        assert_eq!(Symbols::from_path(Path::new("/nonexistent")).resolve(1), None);
    }

    #[test]
    fn cut_lists_do_no_harm() {
        for end in 0..LIST.len() {
            let table = Table::parse(&LIST[..end]).expect("reading from memory");
            at(&table, 0xffff_ffff_8100_00ff);
        }
    }
}

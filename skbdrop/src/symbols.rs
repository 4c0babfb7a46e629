//! Names for kernel addresses, from `/proc/kallsyms`.

mod lists;

use crate::{Error, ErrorKind, Result, backend::SymbolText, diagnostics::tell, process::Maker};
use lists::{Lists, Reading, unreadable};
use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::BufRead,
    mem,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Where the kernel lists its symbols.
const KALLSYMS: &str = "/proc/kallsyms";
/// What is known of addresses in modules is good for so long: then it is looked whether modules came or went, and
/// if they did, the list is read again, which takes some 60 ms.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
/// The least that memory of modules is given out in, in bytes: a processor's smallest page.
const PAGE: u64 = 4096;
/// What the bytes before a function go by, where the kernel is built with room for a call's checks there
/// (`CONFIG_PREFIX_SYMBOLS`, `CONFIG_CFI`): each function has one, and nothing of them ever runs. They count as the end
/// of the function before.
const PADDING: [&str; 2] = ["__pfx_", "__cfi_"];
/// Locations that are remembered; past it all are forgotten and looked up anew. The kernel has some hundreds
/// that drop packets.
const MAX_ANSWERS: usize = 1 << 16;

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

/// The kernel's functions, from `/proc/kallsyms`.
///
/// Names are five megabytes on a usual kernel and take some 60 ms to read, nearly all of it in the
/// kernel. Modules that are loaded later are not in it.
///
/// ```no_run
/// let symbols = skbdrop::Symbols::from_kernel()?;
/// if let Some(symbol) = symbols.resolve(0xffff_ffff_8100_0042) {
///     println!("{}+{:#x}", symbol.name, symbol.offset);
/// }
/// # Ok::<(), skbdrop::Error>(())
/// ```
#[derive(Default)]
#[doc(alias = "kallsyms")]
pub struct Symbols {
    /// Sorted. Parallel to `names`; kept apart so that the search touches little memory.
    addresses: Vec<u64>,
    names: Vec<Name>,
    /// All names one after the other.
    text: String,
    modules: Vec<Arc<str>>,
}

/// Where a name is in the table's text. A length of 0 marks the end of the function before:
/// data, or a name that cannot be one of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    start: u32,
    len: u16,
    /// 0: the kernel itself; else the module's place in the list, plus one.
    module: u16,
}

/// Whether this is the name of room before a function.
pub(crate) fn is_padding(name: &str) -> bool {
    PADDING.iter().any(|prefix| name.starts_with(prefix))
}

impl Name {
    /// Marks what is no function.
    const END: Self = Self {
        start: 0,
        len: 0,
        module: 0,
    };

    /// The room before a function.
    fn padding(module: u16) -> Self {
        Self {
            start: u32::MAX,
            len: 0,
            module,
        }
    }

    /// What counts of several at one address: a function before data, and data before room.
    fn rank(self) -> u8 {
        match self.len {
            0 if self.start == u32::MAX => 2,
            0 => 1,
            _ => 0,
        }
    }

    /// Whether the function before may as well go on to the function behind this room: half of a table would be that.
    fn is_needless_after(self, before: Self) -> bool {
        self == Self::padding(before.module) && before.len != 0
    }
}

impl Symbols {
    /// Reads the running kernel's list.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) where the kernel shows names without
    /// addresses; or the file cannot be read.
    pub fn from_kernel() -> Result<Self> {
        let path = Path::new(KALLSYMS);
        let file = File::open(path).map_err(|e| unreadable(path, e))?;
        Self::read(file, path)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.iter().filter(|name| name.len != 0).count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The function that covers `address`; `None` if none does.
    #[must_use]
    pub fn resolve(&self, address: u64) -> Option<Symbol> {
        let at = self
            .addresses
            .partition_point(|&start| start <= address)
            .checked_sub(1)?;
        let name = self.names[at];
        // Nothing bounds the very last symbol, so it covers nothing.
        let next = self.names.get(at + 1)?;
        let offset = address - self.addresses[at];
        // The list has no lengths. Behind the last function of a module, from the next page on, there may have
        // been a module that is gone now, or come one that is not listed yet.
        let beyond = name.module != next.module && address / PAGE != self.addresses[at] / PAGE;
        if name.len == 0 || beyond {
            return None;
        }
        let module = usize::from(name.module).checked_sub(1);
        Some(Symbol {
            name: self.text_of(name).into(),
            module: module.map(|at| Arc::clone(&self.modules[at])),
            offset,
        })
    }

    /// The names of all functions: of aliases the first, and equal ones as often as there are.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let functions = self.names.iter().filter(|name| name.len != 0);
        functions.map(|name| self.text_of(*name))
    }

    /// Where the functions of these names are, first and last address of each: all that [`resolve`](Self::resolve)
    /// would give such a name for.
    pub(crate) fn ranges(&self, wanted: impl Fn(&str) -> bool) -> Vec<(u64, u64)> {
        let places = self.addresses.windows(2).zip(self.names.windows(2));
        let wanted =
            places.filter(|(_, names)| names[0].len != 0 && wanted(self.text_of(names[0])));
        wanted
            .map(|(addresses, names)| {
                let (start, end) = (addresses[0], addresses[1]);
                // The last of a module, as above.
                let page_end = start | (PAGE - 1);
                match names[0].module == names[1].module {
                    true => (start, end - 1),
                    false => (start, page_end.min(end - 1)),
                }
            })
            .collect()
    }

    fn text_of(&self, name: Name) -> &str {
        let start = name.start as usize;
        &self.text[start..start + usize::from(name.len)]
    }

    /// Reads lines of `address type name`, and `[module]` after a tab where it is in one.
    /// Lines of any other form are passed over.
    pub(crate) fn parse(mut reader: impl BufRead) -> std::io::Result<Self> {
        let mut table = Self::default();
        let mut line = Vec::new();
        let mut sorted = true;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let Some((address, name)) = table.entry(&line) else {
                continue;
            };
            let last = table.addresses.last().copied().zip(table.names.last_mut());
            match last {
                Some((known, last)) if known == address => {
                    // Of aliases the first counts, as in the kernel's own look-up
                    // (`get_symbol_pos` in `kernel/kallsyms.c`), but a function before data.
                    if name.rank() < last.rank() {
                        *last = name;
                    }
                    continue;
                }
                Some((known, last)) if known < address && name.is_needless_after(*last) => continue,
                Some((known, _)) => sorted &= known < address,
                None => {}
            }
            table.addresses.push(address);
            table.names.push(name);
        }
        if !sorted {
            table.sort();
        }
        table.drop_marks();
        table.addresses.shrink_to_fit();
        table.names.shrink_to_fit();
        table.text.shrink_to_fit();
        Ok(table)
    }

    /// The kernel lists itself in order, modules as they were loaded.
    fn sort(&mut self) {
        let entries = self.addresses.drain(..).zip(self.names.drain(..));
        let mut entries: Vec<(u64, Name)> = entries.collect();
        // Stable, so the first of aliases stays the first.
        entries.sort_by_key(|(address, name)| (*address, name.rank()));
        entries.dedup_by_key(|(address, _)| *address);
        (self.addresses, self.names) = entries.into_iter().unzip();
    }

    /// What is no function only has to mark the end of one: of several in a row the first does.
    fn drop_marks(&mut self) {
        let mut kept: usize = 0;
        for at in 0..self.names.len() {
            let name = self.names[at];
            let before = kept.checked_sub(1).map(|before| self.names[before]);
            let is_needless = |before: Name| before.len == 0 || name.is_needless_after(before);
            if name.len == 0 && before.is_some_and(is_needless) {
                continue;
            }
            (self.addresses[kept], self.names[kept]) = (self.addresses[at], name);
            kept += 1;
        }
        self.addresses.truncate(kept);
        self.names.truncate(kept);
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
        // arm64 and riscv64 mark in modules where instructions begin (`$x`) and where data does (`$d`), also inside of
        // functions (`is_mapping_symbol` in `include/linux/module_symbol.h`).
        if name.starts_with('$') {
            return None;
        }
        let module = words
            .next()
            .and_then(|word| word.strip_prefix('[')?.strip_suffix(']'));
        let is_padding = is_padding(name);
        let function = matches!(kind, "t" | "T" | "w" | "W") && !is_padding;
        let (Ok(start), Ok(len)) = (u32::try_from(self.text.len()), u16::try_from(name.len()))
        else {
            return None;
        };
        let module = match module {
            None => 0,
            Some(module) => self.module(module)?,
        };
        if !function {
            // A function goes on to the room before the next, while data may be far behind its module's last.
            let end = match is_padding {
                true => Name::padding(module),
                false => Name::END,
            };
            return Some((address, end));
        }
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
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Where in memory the running kernel has a symbol of its own.
#[cfg(feature = "source-lines")]
pub(crate) fn address_of(name: &str) -> Result<u64> {
    let path = Path::new(KALLSYMS);
    let file = File::open(path).map_err(|e| unreadable(path, e))?;
    for line in std::io::BufReader::new(file).split(b'\n') {
        let line = line.map_err(|e| unreadable(path, e))?;
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split_ascii_whitespace();
        let (Some(address), _, Some(found)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if found == name {
            return match u64::from_str_radix(address, 16) {
                Ok(address) if address != 0 => Ok(address),
                _ => Err(hidden(Path::new(KALLSYMS))),
            };
        }
    }
    Err(Error::not_supported(format!(
        "no symbol `{name}` in `{KALLSYMS}` (needs CONFIG_KALLSYMS)"
    )))
}

/// What to say where the kernel hides its addresses.
fn hidden(path: &Path) -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        format!(
            "the kernel hides the addresses in `{}` (needs CAP_SYSLOG, or kernel.kptr_restrict=0 and \
             kernel.perf_event_paranoid at most 1)",
            path.display()
        ),
    )
}

/// Resolves the locations of a monitor's events. Remembers answers: drops come from few places.
///
/// The list is read by a thread of its own as soon as the value is made, or before it is made. Read at the first event it
/// would keep the reader from the buffer for as long as a flood takes to fill it.
#[derive(Debug)]
pub(crate) struct Locations {
    lists: Lists,
    symbols: Symbols,
    answers: HashMap<u64, Option<Arc<Symbol>>>,
    /// The last answer in the kernel itself: drops come many from one place.
    last: Option<(u64, Arc<Symbol>)>,
    /// The first reading, until it is asked for.
    first: Option<JoinHandle<Reading>>,
    /// Where the thread of the first reading is.
    maker: Maker,
    /// When it was last looked whether the list has changed; `None` before the first time.
    checked: Option<Instant>,
    /// The modules that were loaded when the list was read; `None` before.
    modules: Option<Vec<String>>,
    /// Why it could not be read the last time.
    error: Option<Error>,
    /// Whether to read the list at all.
    look_up: bool,
}

impl Locations {
    pub(crate) fn new(look_up: bool) -> Self {
        let thread = || {
            let name = "skbdrop-symbols".to_owned();
            let thread = thread::Builder::new().name(name);
            // Where there is no thread to be had, it is read when it is asked for.
            thread.spawn(|| Lists::default().read()).ok()
        };
        let mut locations = Self::when_asked(look_up);
        locations.first = if look_up { thread() } else { None };
        locations
    }

    /// For who gives up the privilege to read the list: reads it at once, and keeps it open for when modules come or go.
    pub(crate) fn read_ahead(look_up: bool) -> Self {
        let mut locations = Self::when_asked(look_up);
        if look_up {
            locations.lists = Lists::kept_open();
            locations.read_again();
        }
        locations
    }

    /// Reads the list when it is asked for what is not told.
    pub(crate) fn when_asked(look_up: bool) -> Self {
        Self {
            lists: Lists::default(),
            first: None,
            maker: Maker::now(),
            look_up,
            symbols: Symbols::default(),
            answers: HashMap::new(),
            last: None,
            checked: None,
            modules: None,
            error: None,
        }
    }

    pub(crate) fn resolve(&mut self, address: u64) -> Option<Arc<Symbol>> {
        if !self.look_up {
            return None;
        }
        if let Some((last, answer)) = &self.last
            && *last == address
        {
            return Some(Arc::clone(answer));
        }
        match self.answers.get(&address) {
            // The kernel itself stays where it is.
            Some(Some(answer)) if answer.module.is_none() => {
                self.last = Some((address, Arc::clone(answer)));
                return Some(Arc::clone(answer));
            }
            Some(answer) if !self.is_due() => return answer.clone(),
            _ => {}
        }
        if self.is_due() {
            self.read_again();
        }
        if let Some(answer) = self.answers.get(&address) {
            return answer.clone();
        }
        let answer = self.symbols.resolve(address).map(Arc::new);
        self.remember(address, answer.clone());
        answer
    }

    fn is_due(&self) -> bool {
        self.checked
            .is_none_or(|checked| checked.elapsed() >= RELOAD_INTERVAL)
    }

    /// Reads the list the first time, and when modules came or went.
    fn read_again(&mut self) {
        self.checked = Some(Instant::now());
        if let Some(reading) = self.take_first() {
            self.accept(reading);
        }
        if self.has_failed_for_now() || self.modules.as_ref() != Some(&self.lists.loaded_modules())
        {
            self.accept(self.lists.read());
        }
    }

    /// The first reading, once it is done. A fork has not the thread that does it.
    fn take_first(&mut self) -> Option<Reading> {
        let first = self.first.take()?;
        if self.maker.is_here() {
            return first.join().ok();
        }
        mem::forget(first);
        None
    }

    /// The last reading failed by what may be otherwise now, as a lack of descriptors. What is hidden stays so.
    fn has_failed_for_now(&self) -> bool {
        let failed = self.error.as_ref();
        failed.is_some_and(|e| e.kind() != ErrorKind::PermissionDenied)
    }

    fn accept(&mut self, (modules, symbols): Reading) {
        self.modules = Some(modules);
        match symbols {
            Ok(symbols) => (self.symbols, self.error) = (symbols, None),
            Err(e) => {
                tell!(warn, "locations are without names: {e:#}");
                self.error = Some(e);
            }
        }
        // Modules may be elsewhere now, and where there was none there may be one.
        self.answers.retain(|_, answer| {
            answer
                .as_ref()
                .is_some_and(|answer| answer.module.is_none())
        });
    }

    /// What the backend has already, remembered by address.
    pub(crate) fn told(&mut self, address: Option<u64>, text: SymbolText<'_>) -> Arc<Symbol> {
        let known = address.and_then(|address| self.answers.get(&address)?.as_ref());
        if let Some(known) = known.filter(|known| *known.name == *text.name) {
            return Arc::clone(known);
        }
        let symbol = Arc::new(Symbol {
            name: text.name.into(),
            module: text.module.map(Into::into),
            offset: text.offset,
        });
        if let Some(address) = address {
            self.remember(address, Some(Arc::clone(&symbol)));
        }
        symbol
    }

    fn remember(&mut self, address: u64, answer: Option<Arc<Symbol>>) {
        if self.answers.len() >= MAX_ANSWERS {
            self.answers.clear();
        }
        self.answers.insert(address, answer);
    }

    pub(crate) fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }
}

impl Drop for Locations {
    /// Leaves no thread and no descriptor behind.
    fn drop(&mut self) {
        let _ = self.take_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"ffffffff81000000 T first\nffffffff81000000 t alias\n\
        ffffffff81000200 t unordered\nffffffff81000100 W second.cold\n\
        ffffffff81000300 D data\nffffffff81000400 d more\nffffffffc0000000 t in_module\t[nft]\n\
        ffffffffc0000100 r rodata\t[nft]\nnot a line\nffffffff T\n\xff\xfe\n";

    fn at(table: &Symbols, address: u64) -> Option<String> {
        let symbol = table.resolve(address)?;
        let module = symbol
            .module
            .map_or(String::new(), |module| format!(" [{module}]"));
        Some(format!("{}+{:#x}{module}", symbol.name, symbol.offset))
    }

    #[test]
    fn nearest_function_below_wins() {
        let table = Symbols::parse(LIST).expect("reading from memory");
        let at = |address| at(&table, address);
        assert_eq!(at(0xffff_ffff_8100_0000).as_deref(), Some("first+0x0"));
        assert_eq!(at(0xffff_ffff_8100_00ff).as_deref(), Some("first+0xff"));
        assert_eq!(
            at(0xffff_ffff_8100_0101).as_deref(),
            Some("second.cold+0x1")
        );
        assert_eq!(at(0xffff_ffff_8100_02ff).as_deref(), Some("unordered+0xff"));
        assert_eq!(
            at(0xffff_ffff_c000_0010).as_deref(),
            Some("in_module+0x10 [nft]")
        );
    }

    #[test]
    fn the_room_before_a_function_is_of_the_one_before() {
        let list = b"1000 t one\n1040 t __pfx_two\n1050 T two\n1060 d end\n";
        let table = Symbols::parse(&list[..]).expect("reading from memory");
        assert_eq!(at(&table, 0x103f).as_deref(), Some("one+0x3f"));
        // Where a call that does not return would return to, at the very end of a function.
        assert_eq!(at(&table, 0x1040).as_deref(), Some("one+0x40"));
        assert_eq!(at(&table, 0x1050).as_deref(), Some("two+0x0"));
        assert!(table.names().eq(["one", "two"]));
        assert_eq!(table.names.len(), 3);
        assert_eq!(
            table.ranges(|name| name == "one"),
            [(0x1000, 0x104f)],
            "all that the name is given for"
        );
        // Data at the same address ends a function all the same, in whichever order they come.
        for list in [
            "1000 t one\n1040 d end\n1040 t __pfx_two\n1050 T two\n1060 d end\n",
            "1000 t one\n1040 t __pfx_two\n1040 d end\n1050 T two\n1060 d end\n",
            "1040 t __pfx_two\n1000 t one\n1040 d end\n1050 T two\n1060 d end\n",
            "1040 d end\n1040 t __pfx_two\n1000 t one\n1050 T two\n1060 d end\n",
        ] {
            let table = Symbols::parse(list.as_bytes()).expect("reading from memory");
            assert_eq!(at(&table, 0x1040), None, "{list}");
        }
        // In a module, whose last function alone may end before what is listed next.
        let list = b"1ff0 t one\t[m]\n2040 t __pfx_two\t[m]\n2050 t two\t[m]\n9000 t three\t[n]\n9999 d end\n";
        let table = Symbols::parse(&list[..]).expect("reading from memory");
        assert_eq!(at(&table, 0x2001).as_deref(), Some("one+0x11 [m]"));
        assert_eq!(at(&table, 0x2060).as_deref(), Some("two+0x10 [m]"));
        assert_eq!(at(&table, 0x3000), None);
    }

    #[test]
    fn data_and_what_lies_outside_has_no_name() {
        let table = Symbols::parse(LIST).expect("reading from memory");
        for address in [
            0,
            1,
            0xffff_ffff_8100_0300,
            0xffff_ffff_8100_0500,
            0xffff_ffff_c000_0100,
            u64::MAX,
        ] {
            assert_eq!(at(&table, address), None, "{address:#x}");
        }
    }

    #[test]
    fn a_gap_between_modules_belongs_to_none() {
        let list = b"ffffffffc0000000 t a_func\t[a]\nffffffffc0001800 t a_exit\t[a]\n\
            ffffffffc0900000 t c_func\t[c]\nffffffffc0905010 d end\t[c]\n";
        let table = Symbols::parse(&list[..]).expect("reading from memory");
        assert_eq!(
            at(&table, 0xffff_ffff_c000_17ff).as_deref(),
            Some("a_func+0x17ff [a]")
        );
        assert_eq!(
            at(&table, 0xffff_ffff_c000_1fff).as_deref(),
            Some("a_exit+0x7ff [a]")
        );
        // Where a module was that is gone.
        assert_eq!(at(&table, 0xffff_ffff_c000_2000), None);
        assert_eq!(at(&table, 0xffff_ffff_c040_0010), None);
        assert_eq!(at(&table, 0xffff_ffff_c090_1000), None);
        assert_eq!(
            at(&table, 0xffff_ffff_c090_0001).as_deref(),
            Some("c_func+0x1 [c]")
        );
    }

    #[test]
    fn data_out_of_order_ends_a_function_too() {
        let list = b"1000 d first\n3000 d second\n2000 t func\n4000 d third\n5000 t last\n";
        let table = Symbols::parse(&list[..]).expect("reading from memory");
        assert_eq!(at(&table, 0x2fff).as_deref(), Some("func+0xfff"));
        assert_eq!(at(&table, 0x3000), None);
        assert_eq!(table.names.len(), 4);
    }

    #[test]
    fn marks_inside_of_functions_are_no_names() {
        let list = b"ffff800000ea0000 t $x\t[a]\nffff800000ea0000 t a_func\t[a]\n\
            ffff800000ea0010 t $d\t[a]\nffff800000ea0020 t $x.7\t[a]\nffff800000ea0100 t a_last\t[a]\n";
        let table = Symbols::parse(&list[..]).expect("reading from memory");
        let symbol = table.resolve(0xffff_8000_00ea_0028).expect("inside a_func");
        assert_eq!((&*symbol.name, symbol.offset), ("a_func", 0x28));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn hidden_addresses_give_nothing() {
        let hidden = b"0000000000000000 T first\n0000000000000000 T second\n";
        let table = Symbols::parse(&hidden[..]).expect("reading from memory");
        assert_eq!(at(&table, 0), None);
        assert_eq!(at(&table, u64::MAX), None);
        let error = Symbols::read(&b""[..], Path::new(KALLSYMS)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("kptr_restrict"), "{error}");
    }

    #[test]
    fn cut_lists_do_no_harm() {
        for end in 0..LIST.len() {
            let table = Symbols::parse(&LIST[..end]).expect("reading from memory");
            at(&table, 0xffff_ffff_8100_00ff);
        }
    }
}

//! The kernel's list of symbols, and symbols as the kernel writes them.

use crate::{Symbols, backend::SymbolText, symbols::is_padding};
use std::collections::{BTreeMap, HashSet};

/// Reads `data` as `/proc/kallsyms`, and each of its lines as `%pS` writes a symbol.
pub fn kallsyms(data: &[u8]) {
    let symbols = Symbols::parse(data).expect("reading from memory");
    let mut listed: BTreeMap<u64, HashSet<Function<'_>>> = BTreeMap::new();
    for (address, function) in data.split(|&byte| byte == b'\n').filter_map(line) {
        listed.entry(address).or_default().insert(function);
    }
    for &asked in listed.keys() {
        for address in [asked.wrapping_sub(1), asked, asked.wrapping_add(1)] {
            let Some(symbol) = symbols.resolve(address) else {
                continue;
            };
            let start = address.checked_sub(symbol.offset);
            let start = start.expect("it begins before the address");
            let (nearest, functions) = listed.range(..=address).next_back().expect("a line for it");
            assert_eq!(start, *nearest, "{symbol:?}");
            let function = (&*symbol.name, symbol.module.as_deref());
            assert!(functions.contains(&function), "{symbol:?} is not there");
        }
    }
    // Where functions are said to be, the addresses are said to be theirs, and nowhere else.
    for (first, last) in symbols.ranges(|_| true) {
        let name = |address| symbols.resolve(address).map(|symbol| symbol.name);
        assert!(name(first).is_some() && name(first) == name(last));
        let next = last.checked_add(1).and_then(|next| symbols.resolve(next));
        assert!(next.is_none_or(|next| next.offset == 0), "{last:#x}");
    }
    for text in data.split(|&byte| byte == b'\n') {
        let text = std::str::from_utf8(text).unwrap_or_default();
        if let Some(symbol) = SymbolText::parse(text) {
            assert!(text.starts_with(symbol.name) && !symbol.name.is_empty());
            assert!(symbol.module.is_none_or(|module| text.contains(module)));
        }
    }
}

/// A name, and the module that it is in.
type Function<'a> = (&'a str, Option<&'a str>);

/// What a line of the list says, read with less care for speed.
fn line(line: &[u8]) -> Option<(u64, Function<'_>)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.splitn(3, ' ');
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    words.next()?;
    let mut words = words.next()?.split_ascii_whitespace();
    let name = words.next()?;
    let module = words
        .next()
        .and_then(|word| word.strip_prefix('[')?.strip_suffix(']'));
    // Marks inside of functions and room between them, which are passed over.
    let is_mark = name.starts_with('$') || is_padding(name);
    (address != 0 && !is_mark).then_some((address, (name, module)))
}

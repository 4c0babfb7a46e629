//! The kernel's lists of symbols and of modules: opened for each reading, or kept open.

use super::{KALLSYMS, Symbols};
use crate::{Error, Result};
use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// Where the kernel lists its loaded modules.
const MODULES: &str = "/proc/modules";

/// A list of symbols, and the modules that were loaded just before it was read.
pub(super) type Reading = (Vec<String>, Result<Symbols>);

/// Where to read them.
#[derive(Debug, Default)]
pub(super) struct Lists {
    symbols: Option<File>,
    modules: Option<File>,
}

impl Lists {
    /// Opened now for all readings. The kernel shows addresses to who had the privilege when it opened the file
    /// (`kallsyms_show_value` of the file's credentials), so it goes on to show them to who gave it up since.
    pub(super) fn kept_open() -> Self {
        Self {
            // What cannot be opened says so when it is read.
            symbols: File::open(KALLSYMS).ok(),
            // Without modules in the kernel there is no such file.
            modules: File::open(MODULES).ok(),
        }
    }

    pub(super) fn read(&self) -> Reading {
        (self.loaded_modules(), self.symbols())
    }

    fn symbols(&self) -> Result<Symbols> {
        let path = Path::new(KALLSYMS);
        match &self.symbols {
            Some(file) => Symbols::read(FromStart::of(file), path),
            None => Symbols::from_kernel(),
        }
    }

    /// The loaded modules with their addresses, as far as this user may see them.
    pub(super) fn loaded_modules(&self) -> Vec<String> {
        let mut text = String::new();
        let read = match &self.modules {
            Some(file) => FromStart::of(file).read_to_string(&mut text),
            None => File::open(MODULES).and_then(|mut file| file.read_to_string(&mut text)),
        };
        if read.is_err() {
            text.clear();
        }
        let entry = |line: &str| {
            let mut words = line.split_whitespace();
            // Name and size; the third is how many use it, which changes all the time; the last is the address.
            Some(format!(
                "{} {} {}",
                words.next()?,
                words.next()?,
                words.last()?
            ))
        };
        text.lines().filter_map(entry).collect()
    }
}

impl Symbols {
    /// The list in a file of that path.
    pub(super) fn read(file: impl Read, path: &Path) -> Result<Self> {
        let symbols = Self::parse(BufReader::with_capacity(1 << 16, file));
        let symbols = symbols.map_err(|e| unreadable(path, e))?;
        if symbols.is_empty() {
            return Err(super::hidden(path));
        }
        Ok(symbols)
    }
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    let what = format!("cannot read the kernel's symbols `{}`", path.display());
    Error::io(what, error)
}

/// Reads a file from its start, wherever its descriptor is: a fork shares that place.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> FromStart<'a> {
    fn of(file: &'a File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_are_kept_open_are_read_as_often_as_asked() {
        let (kept, opened) = (Lists::kept_open(), Lists::default());
        assert!(kept.symbols.is_some());
        for _ in 0..3 {
            let (modules, symbols) = kept.read();
            let (modules_now, symbols_now) = opened.read();
            assert_eq!(modules, modules_now);
            let len = |symbols: Result<Symbols>| symbols.map(|it| it.len()).map_err(|e| e.kind());
            // eBPF programs are listed as well, which come and go.
            match (len(symbols), len(symbols_now)) {
                (Ok(kept), Ok(opened)) => assert!(kept.abs_diff(opened) < 1000 && kept > 1000),
                (kept, opened) => assert_eq!(kept, opened),
            }
        }
    }
}

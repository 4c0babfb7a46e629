//! The bytes of a file with debug information, as they are asked for.

use object::{ReadCache, ReadRef};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

/// Where the bytes are.
pub(super) enum Content {
    /// What a user names may change, so it is not mapped. What was read is kept.
    File(ReadCache<Bounded>),
    Memory(Vec<u8>),
}

impl Content {
    /// Of a file that has so many bytes.
    pub(super) fn of_file(file: File, len: u64) -> Self {
        let left = len.saturating_mul(2).saturating_add(STRINGS);
        Self::File(ReadCache::new(Bounded { file, left }))
    }
}

impl<'a> ReadRef<'a> for &'a Content {
    fn len(self) -> Result<u64, ()> {
        match self {
            Content::File(cache) => cache.len(),
            Content::Memory(bytes) => ReadRef::len(&**bytes),
        }
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        match self {
            Content::File(cache) => cache.read_bytes_at(offset, size),
            Content::Memory(bytes) => bytes.read_bytes_at(offset, size),
        }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        match self {
            Content::File(cache) => cache.read_bytes_at_until(range, delimiter),
            Content::Memory(bytes) => bytes.read_bytes_at_until(range, delimiter),
        }
    }
}

/// Bytes that are read about once. The sections of a corrupt file may overlap: what is read of such a one would fill the memory.
pub(super) struct Bounded {
    file: File,
    left: u64,
}

/// Room for names of sections, in bytes: each is read with what is behind it.
const STRINGS: u64 = 16 << 20;

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| io::Error::other("the sections overlap"))?;
        Ok(count)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

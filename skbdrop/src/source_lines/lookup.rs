//! Lines by address.

use super::{
    SourceLine,
    debug_file::{Bytes, DebugFile, corrupt, refused},
    nesting::Nesting,
};
use crate::Result;
use addr2line::Context;
use gimli::AbbreviationsCacheStrategy;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a file's debug information says, at the file's own addresses.
pub(super) struct Lookup {
    path: PathBuf,
    nesting: Nesting,
    context: Context<Bytes>,
}

impl Lookup {
    pub(super) fn new(file: &DebugFile) -> Result<Self> {
        let (path, mut dwarf) = (file.path(), file.dwarf()?);
        // Both below ask for those of each unit, and to read them is most of their work.
        dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::All);
        let dwarf = Arc::new(dwarf);
        Ok(Self {
            nesting: Nesting::of(Arc::clone(&dwarf)).map_err(|e| refused(path, e))?,
            context: Context::from_arc_dwarf(dwarf).map_err(|e| corrupt(path, e))?,
            path: path.to_owned(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Of the call that returns to this address, the innermost function first.
    pub(super) fn of_call(&self, address: u64) -> Result<Vec<SourceLine>> {
        // The instruction after the call may be another line's. Before the first address there is none, and addr2line counts on
        // beyond the last.
        let Some(call) = address.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let nesting = self.nesting.check(call);
        nesting.map_err(|e| refused(&self.path, e))?;
        let corrupt = |e| corrupt(&self.path, e);
        let found = self.context.find_frames(call);
        let mut frames = found.skip_all_loads().map_err(corrupt)?;
        let mut lines = Vec::new();
        while let Some(frame) = frames.next().map_err(corrupt)? {
            let Some(place) = frame.location else {
                continue;
            };
            let Some(file) = place.file else {
                continue;
            };
            let name = frame.function.as_ref().map(|it| it.raw_name());
            let function = name.and_then(Result::ok).map(|name| name.into_owned());
            lines.push(SourceLine {
                file: file.to_owned(),
                line: place.line.filter(|&line| line != 0),
                column: place.column.filter(|&column| column != 0),
                function,
            });
        }
        Ok(lines)
    }
}

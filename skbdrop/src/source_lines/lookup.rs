//! Lines by address.

use super::{
    SourceLine,
    debug_file::{DebugFile, corrupt},
};
use crate::Result;
use addr2line::Context;
use gimli::{EndianArcSlice, RunTimeEndian};
use std::path::{Path, PathBuf};

/// What a file's debug information says, at the file's own addresses.
pub(super) struct Lookup {
    path: PathBuf,
    context: Context<EndianArcSlice<RunTimeEndian>>,
}

impl Lookup {
    pub(super) fn new(file: &DebugFile) -> Result<Self> {
        Ok(Self {
            path: file.path().to_owned(),
            context: file.context()?,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Of the call that returns to this address, the innermost function first.
    pub(super) fn of_call(&self, address: u64) -> Result<Vec<SourceLine>> {
        let corrupt = |e| corrupt(&self.path, e);
        // The instruction after the call may be another line's. Before the first address there is none, and addr2line counts on
        // beyond the last.
        let Some(call) = address.checked_sub(1) else {
            return Ok(Vec::new());
        };
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

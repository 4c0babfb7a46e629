//! The lines of one module.

use super::{SourceLine, debug_file::DebugFile, functions::Functions, lookup::Lookup};
use crate::{Result, Symbol};

/// The debug information of a module.
pub(super) struct Module {
    functions: Functions,
    lookup: Lookup,
}

impl Module {
    pub(super) fn read(file: &DebugFile) -> Result<Self> {
        Ok(Self {
            functions: file.functions()?,
            lookup: Lookup::new(file)?,
        })
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Of a place in one of its functions. There may be several of the same name: what they do not agree on, nobody can tell.
    pub(super) fn lines(&self, symbol: &Symbol) -> Result<Vec<SourceLine>> {
        let places = self.functions.places(&symbol.name, symbol.offset);
        let mut answers = places.into_iter().map(|place| self.lookup.of_call(place));
        let Some(first) = answers.next().transpose()? else {
            return Ok(Vec::new());
        };
        for other in answers {
            if other? != first {
                return Ok(Vec::new());
            }
        }
        Ok(first)
    }
}

//! What a fork of the embedding program must not do.

use std::process;

/// The process that made a value. A fork copies the value, but not the threads, and shares with its parent what the
/// descriptors stand for; so what ends or takes back something is for the maker alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maker(u32);

impl Maker {
    /// This process makes it now.
    pub(crate) fn now() -> Self {
        Self(process::id())
    }

    /// Whether this process made it.
    pub(crate) fn is_here(self) -> bool {
        self.0 == process::id()
    }
}

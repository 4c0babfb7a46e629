//! [`CountersBuilder`]: what is counted, and how much of it.

use super::{Counters, Raw};
use crate::{
    Error, ErrorKind, Filter, Result,
    backend::{EbpfCounts, Settings, by},
    diagnostics::tell,
    symbols::Locations,
};
use std::path::PathBuf;

/// The kernel drops packets for a hundred reasons, in some hundreds of places.
const DEFAULT_MAX_KINDS: u32 = 1024;
/// Some tens of megabytes for each CPU.
const MAX_MAX_KINDS: u32 = 1 << 20;

/// What of a drop makes its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum By {
    /// [`Count::reason`](super::Count::reason).
    Reason,
    /// [`Count::location`](super::Count::location).
    Location,
    /// [`Count::ifindex`](super::Count::ifindex).
    Interface,
    /// [`Count::netns`](super::Count::netns).
    NetNs,
    /// [`Count::protocol`](super::Count::protocol).
    Protocol,
}

impl By {
    /// As the program knows it.
    pub(super) fn bit(self) -> u32 {
        match self {
            Self::Reason => by::REASON,
            Self::Location => by::LOCATION,
            Self::Interface => by::INTERFACE,
            Self::NetNs => by::NETNS,
            Self::Protocol => by::PROTOCOL,
        }
    }
}

/// Chooses what [`Counters`] count.
#[derive(Clone, Debug)]
#[must_use]
pub struct CountersBuilder {
    by: u32,
    max_kinds: u32,
    filter: Option<Filter>,
    btf_file: Option<PathBuf>,
    symbols: bool,
}

impl Default for CountersBuilder {
    fn default() -> Self {
        Self {
            by: by::REASON | by::LOCATION,
            max_kinds: DEFAULT_MAX_KINDS,
            filter: None,
            btf_file: None,
            symbols: true,
        }
    }
}

impl CountersBuilder {
    /// What makes a kind; by default reason and location. With nothing there is one kind, of all drops. What is not chosen
    /// is not read in the kernel.
    pub fn by(mut self, by: impl IntoIterator<Item = By>) -> Self {
        self.by = by.into_iter().fold(0, |bits, by| bits | by.bit());
        self
    }

    /// How many kinds are told apart; 1024 by default, 1,048,576 at most. The memory is taken at the start. Drops of
    /// further kinds are counted together, in [`Counts::overflow`](super::Counts::overflow).
    pub fn max_kinds(mut self, kinds: u32) -> Self {
        self.max_kinds = kinds;
        self
    }

    /// Which drops to count; by default all. As for [`Builder::filter`](crate::Builder::filter); it is evaluated in the kernel.
    /// How many it left out is in [`Counts::filtered`](super::Counts::filtered).
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// A file with BTF of the running kernel, as for [`Builder::btf_file`](crate::Builder::btf_file).
    pub fn btf_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.btf_file = Some(path.into());
        self
    }

    /// Whether to look up the function at each location; yes by default. As for
    /// [`Builder::symbols`](crate::Builder::symbols).
    pub fn symbols(mut self, yes: bool) -> Self {
        self.symbols = yes;
        self
    }

    /// Starts to count.
    ///
    /// # Errors
    ///
    /// eBPF is not possible here, or not with these privileges; the error says what is missing. Or the
    /// number of kinds is out of range, or the filter asks for what this kernel does not have.
    pub fn build(self) -> Result<Counters> {
        if !(1..=MAX_MAX_KINDS).contains(&self.max_kinds) {
            let given = self.max_kinds;
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "cannot tell {given} kinds of drops apart (at least 1, at most {MAX_MAX_KINDS})"
                ),
            ));
        }
        let settings = Settings {
            btf_file: self.btf_file,
            filter: self.filter,
            ..Settings::default()
        };
        let resolver = settings.prepared_resolver()?;
        let plan = settings.plan(&resolver)?;
        let program = EbpfCounts::open(&settings, plan.as_ref(), self.by, self.max_kinds)?;
        tell!(info, max_kinds = self.max_kinds, "counting drops");
        Ok(Counters {
            program,
            resolver,
            locations: Locations::new(self.symbols && self.by & by::LOCATION != 0),
            by: self.by,
            last: Raw::default(),
        })
    }
}

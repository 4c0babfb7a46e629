//! [`Resolver`]: from the number of a drop reason to the kernel's name for it.

mod enums;

use crate::{DropReason, Result, Subsystem, btf, tracefs};
use enums::Names;
use std::{collections::HashSet, ffi::OsString, path::Path};

/// Names drop reasons as one kernel defines them.
///
/// There is no table of reasons in this crate: numbers move between releases, within a stable
/// series, and by a distribution's patches. The names come from the kernel itself. A number
/// that it does not define has no name.
///
/// The resolver works alone, for people who only have a number:
///
/// ```no_run
/// let resolver = skbdrop::Resolver::from_kernel()?;
/// println!("{}", resolver.reason(3)); // NO_SOCKET on Linux 6.12, PKT_TOO_SMALL on 6.1
/// # Ok::<(), skbdrop::Error>(())
/// ```
#[derive(Debug)]
pub struct Resolver {
    names: Names,
    /// The modules of the running kernel that were looked at; `None` if the names are not the
    /// running kernel's.
    modules: Option<HashSet<OsString>>,
}

impl Resolver {
    /// Reads names from the running kernel's BTF, `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    ///
    /// The kernel shows no BTF (`CONFIG_DEBUG_INFO_BTF`), or one that cannot be read.
    pub fn from_kernel() -> Result<Self> {
        Ok(Self::from_types(&btf::from_kernel()?)?.follow_kernel())
    }

    /// Reads names from a file: raw BTF as in `/sys/kernel/btf`, or a vmlinux with a `.BTF`
    /// section.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not BTF, or is truncated or corrupt.
    pub fn from_btf_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_types(&btf::from_file(path.as_ref())?)
    }

    /// Reads names from the bytes of such a file.
    ///
    /// # Errors
    ///
    /// As for [`from_btf_file`](Self::from_btf_file).
    pub fn from_btf_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_types(&btf::from_bytes(bytes)?)
    }

    /// Reads names from the running kernel's tracefs: the `print fmt` of
    /// `events/skb/kfree_skb/format`. For kernels without BTF; it knows no subsystem's reasons.
    ///
    /// # Errors
    ///
    /// tracefs is not mounted or not readable, or the kernel has no such tracepoint.
    pub fn from_tracefs() -> Result<Self> {
        Self::from_format(&tracefs::kfree_skb_format()?)
    }

    /// Reads names from the text of such a `format` file.
    ///
    /// # Errors
    ///
    /// The text is no `format` of the tracepoint.
    pub fn from_format(text: &str) -> Result<Self> {
        Ok(Self {
            names: Names::from_symbols(tracefs::reason_symbols(text)?),
            modules: None,
        })
    }

    /// A resolver that knows no name: every reason stays a number.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            names: Names::default(),
            modules: None,
        }
    }

    pub(crate) fn from_types(types: &btf::DropTypes) -> Result<Self> {
        Ok(Self {
            names: Names::from_enums(&types.enums()?),
            modules: None,
        })
    }

    /// The names are the running kernel's, so its modules have more.
    pub(crate) fn follow_kernel(mut self) -> Self {
        self.modules = Some(HashSet::new());
        self
    }

    /// Reads the reasons of modules that were loaded since the last time; openvswitch's and mac80211's
    /// are there. Names once read stay, as a module that is gone may have left events behind.
    /// Says whether there was anything to read. A [`Monitor`](crate::Monitor) does this by itself when it
    /// meets a number without a name.
    ///
    /// Only a resolver of the running kernel's BTF does it; a module with unreadable BTF costs only
    /// its own names.
    pub fn refresh(&mut self) -> bool {
        let Some(seen) = &mut self.modules else {
            return false;
        };
        let enums = btf::new_module_enums(seen);
        self.names.add(&enums);
        !enums.is_empty()
    }

    /// The reason that this kernel means by `raw`. Allocates nothing.
    #[must_use]
    pub fn reason(&self, raw: u32) -> DropReason {
        DropReason::new(Some(raw), self.names.name(raw), self.names.subsystem(raw))
    }

    /// The number of the reason `name` on this kernel, spelled as [`DropReason::name`] does.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.names.number(name)
    }

    /// All reasons that this kernel names, by number.
    pub fn reasons(&self) -> impl Iterator<Item = DropReason> + '_ {
        self.names.numbers().map(|raw| self.reason(raw))
    }

    /// The subsystems that this kernel names, by number; none before Linux 6.4.
    pub fn subsystems(&self) -> impl Iterator<Item = &Subsystem> + '_ {
        self.names.subsystems()
    }
}

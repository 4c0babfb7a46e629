//! [`Resolver`]: from the number of a drop reason to the kernel's name for it.

mod builder;
mod check;
mod names;

pub use builder::ResolverBuilder;
pub use check::Disagreement;

use crate::{
    DropReason, Result, Subsystem,
    btf::{self, EnumFacts},
    diagnostics::tell,
    reason::{NameSource, NameSourceKind, Named},
    tracefs,
};
use names::Names;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often modules are looked at for what has no name: it costs some milliseconds.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Names drop reasons as one kernel defines them.
///
/// There is no table of reasons in this crate: numbers move between releases, within a stable
/// series, and by a distribution's patches. The names come from the kernel itself: from the enums in the BTF of
/// vmlinux, then from those of its modules, and where the BTF has none, from the tracepoint's `print fmt`. A number
/// that the kernel does not define has no name.
///
/// The resolver works alone, for people who only have a number:
///
/// ```no_run
/// let mut resolver = skbdrop::Resolver::from_kernel()?;
/// println!("{}", resolver.resolve(3)); // NO_SOCKET on Linux 6.12, PKT_TOO_SMALL on 6.1
/// # Ok::<(), skbdrop::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resolver {
    names: Names,
    modules: Option<Modules>,
}

/// The modules whose BTF is read when a number asks for it.
#[derive(Clone, Debug)]
struct Modules {
    folder: PathBuf,
    /// The kernel's BTF, from which theirs is split.
    base: PathBuf,
    seen: btf::SeenModules,
    looked: Option<Instant>,
}

impl Modules {
    fn new(folder: PathBuf, base: PathBuf) -> Self {
        Self {
            folder,
            base,
            seen: btf::SeenModules::default(),
            looked: None,
        }
    }
}

impl Resolver {
    /// Reads the running kernel's names: from its BTF, `/sys/kernel/btf/vmlinux`, and those of its modules beside it when
    /// a number asks for them; without BTF, or where that knows no reason, from tracefs.
    ///
    /// # Errors
    ///
    /// The kernel shows no BTF (`CONFIG_DEBUG_INFO_BTF`), or one that cannot be read, and tracefs cannot be read
    /// either. The error is that of the BTF.
    pub fn from_kernel() -> Result<Self> {
        match btf::from_kernel() {
            Ok(types) => Self::from_kernel_types(&types),
            Err(e) => Self::from_tracefs().map_err(|_| e),
        }
    }

    /// Reads names from a file: raw BTF as in `/sys/kernel/btf`; a vmlinux with a `.BTF` section; arm64's and riscv's
    /// `Image`; or, with the feature `image`, a packed kernel image as distributions ship it (`vmlinuz`). One that
    /// unpacks to more than 256 MiB is refused.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not BTF, or is truncated or corrupt.
    pub fn from_btf_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_types(&btf::from_file(path)?, Some(path))
    }

    /// Reads names from the bytes of such a file.
    ///
    /// # Errors
    ///
    /// As for [`from_btf_file`](Self::from_btf_file).
    pub fn from_btf_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_types(&btf::from_bytes(bytes)?, None)
    }

    /// Reads names from the running kernel's tracefs: the `print fmt` of
    /// `events/skb/kfree_skb/format`. For kernels without BTF; it knows no subsystem's reasons.
    ///
    /// # Errors
    ///
    /// tracefs is not mounted or not readable, or the kernel has no such tracepoint.
    pub fn from_tracefs() -> Result<Self> {
        let (text, path) = tracefs::kfree_skb_format()?;
        Self::from_print_fmt(&text, Some(&path))
    }

    /// Reads names from the text of such a `format` file.
    ///
    /// # Errors
    ///
    /// The text is no `format` of the tracepoint.
    pub fn from_format(text: &str) -> Result<Self> {
        Self::from_print_fmt(text, None)
    }

    /// Reads names from files of the caller's choice, all of the same kernel.
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder::default()
    }

    /// A resolver that knows no name: every reason stays a number.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            names: Names::default(),
            modules: None,
        }
    }

    pub(crate) fn from_types(types: &btf::DropTypes, file: Option<&Path>) -> Result<Self> {
        let source = NameSource::new(NameSourceKind::Btf, file);
        Ok(Self {
            names: Names::from_enums(&types.enums()?, &source),
            modules: None,
        })
    }

    /// From the running kernel's own types, so that its modules and its tracefs may have more.
    pub(crate) fn from_kernel_types(types: &btf::DropTypes) -> Result<Self> {
        let kernel = Path::new(btf::KERNEL_BTF);
        let mut resolver = Self::from_types(types, Some(kernel))?;
        resolver.modules = Some(Modules::new(btf::MODULES.into(), kernel.to_owned()));
        if resolver.names.is_empty()
            && let Ok((text, path)) = tracefs::kfree_skb_format()
        {
            resolver.fall_back(&text, Some(&path))?;
        }
        Ok(resolver)
    }

    pub(crate) fn from_print_fmt(text: &str, file: Option<&Path>) -> Result<Self> {
        let mut resolver = Self::empty();
        resolver.fall_back(text, file)?;
        Ok(resolver)
    }

    /// Takes the names of `print fmt`, unless it has names of the core from BTF.
    fn fall_back(&mut self, text: &str, file: Option<&Path>) -> Result<()> {
        let source = NameSource::new(NameSourceKind::PrintFmt, file);
        let names = Names::from_symbols(&tracefs::reason_symbols(text)?, &source);
        if self.names.is_empty() {
            tell!(
                debug,
                "no drop reasons in the kernel's types: names are the tracepoint's"
            );
            self.names = names;
        }
        Ok(())
    }

    fn add_module(&mut self, enums: &[EnumFacts], file: &Path) {
        let source = NameSource::new(NameSourceKind::ModuleBtf, Some(file));
        self.names.add(enums, &source);
    }

    /// Reads the reasons of modules that were loaded since the last time; openvswitch's and mac80211's
    /// are there. Names once read stay, as a module that is gone may have left events behind.
    /// Says whether there was anything to read.
    ///
    /// Only a resolver that has a folder of modules does it: the running kernel's, and one built with
    /// [`modules_in`](ResolverBuilder::modules_in). A module with unreadable BTF costs only its own names.
    pub fn refresh(&mut self) -> bool {
        let Some(modules) = &mut self.modules else {
            return false;
        };
        modules.looked = Some(Instant::now());
        let new = btf::new_module_enums(&modules.folder, &modules.base, &mut modules.seen);
        for (file, enums) in &new {
            tell!(debug, file = %file.display(), "read the drop reasons of a module");
            self.add_module(enums, file);
        }
        !new.is_empty()
    }

    /// [Refreshes](Self::refresh) unless it did so within the last second.
    fn look_again(&mut self) -> bool {
        let modules = self.modules.as_ref();
        let due = modules.is_some_and(|modules| {
            modules
                .looked
                .is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL)
        });
        due && self.refresh()
    }

    /// The reason that this kernel means by `raw`. For a number without a name, modules are looked
    /// at that were loaded since the last time, at most once a second. Otherwise it allocates nothing.
    pub fn resolve(&mut self, raw: u32) -> DropReason {
        let reason = self.reason(raw);
        if reason.name().is_some() || !self.look_again() {
            return reason;
        }
        self.reason(raw)
    }

    /// The reason that this kernel means by `raw`, by what was read so far. Allocates nothing.
    #[must_use]
    pub fn reason(&self, raw: u32) -> DropReason {
        self.names.reason(raw)
    }

    /// The reason of this name; modules are looked at as by [`resolve`](Self::resolve).
    pub(crate) fn find(&mut self, name: &str) -> Option<&Arc<Named>> {
        if self.names.number(name).is_none() {
            self.look_again();
        }
        self.names.named(self.names.number(name)?)
    }

    /// The number of the reason `name` on this kernel, spelled as [`DropReason::name`] does; the lowest if it
    /// has several.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.names.number(name)
    }

    /// The bits of a number that say the subsystem; `None` if this kernel has no subsystems, or the names do not come
    /// from its types.
    pub(crate) fn subsystem_mask(&self) -> Option<u32> {
        self.names.subsystem_mask()
    }

    /// All reasons that were read so far, by number.
    pub fn reasons(&self) -> impl Iterator<Item = DropReason> + '_ {
        let all = self.names.iter();
        all.map(|(raw, named)| DropReason::named(Some(raw), Arc::clone(named)))
    }

    /// The subsystems that this kernel names, by number; none before Linux 6.4.
    pub fn subsystems(&self) -> impl Iterator<Item = &Subsystem> + '_ {
        self.names.subsystems()
    }

    /// Compares these names with the `print fmt` of the running kernel's tracefs. Both come from the same
    /// source code, so on the kernel that this resolver is for the answer is empty; anything else means that the
    /// BTF is of another kernel.
    ///
    /// # Errors
    ///
    /// As for [`from_tracefs`](Self::from_tracefs).
    pub fn check(&self) -> Result<Vec<Disagreement>> {
        self.check_format(&tracefs::kfree_skb_format()?.0)
    }

    /// Compares these names with the `print fmt` in the text of a `format` file.
    ///
    /// # Errors
    ///
    /// As for [`from_format`](Self::from_format).
    pub fn check_format(&self, text: &str) -> Result<Vec<Disagreement>> {
        let print_fmt = Self::from_format(text)?;
        Ok(check::compare(&self.names, &print_fmt.names))
    }
}

//! The kernels that we are tested on: Debian's, by the suites that carry them.

use crate::{Result, deb::Suite, modules};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A kernel in the cache.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    /// `lib/modules/VERSION`.
    pub(crate) modules: PathBuf,
}

impl Kernel {
    /// Names of the kernels, the suites that they come from, and the packages that lead to the present
    /// ones there.
    pub(crate) const NAMES: [(&str, &str, &str); 7] = [
        // The oldest that we claim: its tracepoint has no reason.
        ("5.10", "bullseye", CLOUD),
        ("6.1", "bookworm", CLOUD),
        ("6.12", "trixie", CLOUD),
        ("newest", "trixie-backports", CLOUD),
        // Not released, so what it says is new to us.
        ("sid", "sid", CLOUD),
        ("6.12-generic", "trixie", GENERIC),
        ("newest-generic", "trixie-backports", GENERIC),
    ];

    /// Suite and package of a kernel that we know by name.
    pub(crate) fn source(name: &str) -> Option<(&'static str, &'static str)> {
        Self::NAMES
            .into_iter()
            .find_map(|(known, suite, package)| (known == name).then_some((suite, package)))
    }

    /// Whether there is a kernel of this name.
    pub(crate) fn is_known(name: &str) -> bool {
        Self::source(name).is_some()
    }

    /// What to say of a name that is none.
    pub(crate) fn unknown(name: &str) -> String {
        let names = Self::NAMES.map(|(name, ..)| name).join(", ");
        format!("no kernel `{name}` (there are {names})")
    }

    /// The present version of the kernel, fetched unless it is in the cache.
    pub(crate) fn fetch(name: &str) -> Result<Self> {
        let (suite, package) = Self::source(name).ok_or_else(|| Self::unknown(name))?;
        let folder = Suite::open(suite)?.unpacked(package)?;
        let kernel = Self::find(&folder)
            .ok_or_else(|| format!("no kernel and modules in `{}`", folder.display()))?;
        let version = kernel.release();
        let series = name.trim_end_matches("-generic");
        let is_version = series.starts_with(|first: char| first.is_ascii_digit());
        if is_version && !version.starts_with(&format!("{series}.")) {
            return Err(format!("{suite} has kernel {version}, not {series}"));
        }
        // Once here rather than at each boot.
        modules::unpack_in_place(&kernel.modules)?;
        Ok(kernel)
    }

    /// The kernel of any package in any suite, fetched unless it is in the cache: its image and its modules,
    /// packed as the package has them. Of an old kernel the suite may have the image alone.
    pub(crate) fn package(suite: &str, package: &str) -> Result<(PathBuf, Option<PathBuf>)> {
        let folder = Suite::open(suite)?.unpacked_without_gone(package)?;
        let modules = modules::in_package(&folder);
        let image = image(&folder, modules.as_deref())
            .ok_or_else(|| format!("no kernel in `{}`", folder.display()))?;
        Ok((image, modules))
    }

    /// The kernel, if its present version is in the cache; fetches nothing.
    pub(crate) fn cached(name: &str) -> Option<Self> {
        let (suite, package) = Self::source(name)?;
        let version = Suite::cached_version(suite, package)?;
        Self::find(&Suite::folder(suite, package, &version))
    }

    /// As `uname -r` will say it.
    pub(crate) fn release(&self) -> String {
        let name = self.modules.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The kernel in the unpacked packages.
    fn find(folder: &Path) -> Option<Self> {
        let modules = modules::in_package(folder)?;
        let image = image(folder, Some(&modules))?;
        Some(Self { image, modules })
    }
}

/// The image in the unpacked packages. Newer ones have everything below `usr`, and the image with the modules.
fn image(folder: &Path, modules: Option<&Path>) -> Option<PathBuf> {
    entries(&folder.join("boot"))
        .chain(modules.into_iter().flat_map(entries))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("vmlinuz")
        })
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

/// For virtual machines: a third of the other's size, with what most of our tests need.
const CLOUD: &str = "linux-image-cloud-amd64";
/// For every machine, with the drivers of its hardware: wireless is in this one alone.
const GENERIC: &str = "linux-image-amd64";

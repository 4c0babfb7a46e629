//! The kernels that we are tested on: Debian's for clouds, by the suites that carry them.

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
    /// Names of the kernels and the suites that they come from.
    pub(crate) const NAMES: [(&str, &str); 5] = [
        // The oldest that we claim: its tracepoint has no reason.
        ("5.10", "bullseye"),
        ("6.1", "bookworm"),
        ("6.12", "trixie"),
        ("newest", "trixie-backports"),
        // Not released, so what it says is new to us.
        ("sid", "sid"),
    ];

    /// The suite of a kernel that we know by name.
    pub(crate) fn suite(name: &str) -> Option<&'static str> {
        Self::NAMES
            .into_iter()
            .find_map(|(known, suite)| (known == name).then_some(suite))
    }

    /// What to say of a name that is none.
    pub(crate) fn unknown(name: &str) -> String {
        let names = Self::NAMES.map(|(name, _)| name).join(", ");
        format!("no kernel `{name}` (there are {names})")
    }

    /// The present version of the kernel, fetched unless it is in the cache.
    pub(crate) fn fetch(name: &str) -> Result<Self> {
        let suite = Self::suite(name).ok_or_else(|| Self::unknown(name))?;
        let folder = Suite::open(suite)?.unpacked(PACKAGE)?;
        let kernel = Self::find(&folder)
            .ok_or_else(|| format!("no kernel and modules in `{}`", folder.display()))?;
        let version = kernel.release();
        let is_version = name.starts_with(|first: char| first.is_ascii_digit());
        if is_version && !version.starts_with(&format!("{name}.")) {
            return Err(format!("{suite} has kernel {version}, not {name}"));
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
    pub(crate) fn cached(suite: &str) -> Option<Self> {
        let version = Suite::cached_version(suite, PACKAGE)?;
        Self::find(&Suite::folder(suite, PACKAGE, &version))
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

/// Leads to the present kernel in each suite.
const PACKAGE: &str = "linux-image-cloud-amd64";

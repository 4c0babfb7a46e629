//! The kernels that we are tested on: Debian's, by the suites that carry them.

use crate::{
    Result,
    architecture::{AMD64, ARM64, Architecture, S390X},
    deb::Suite,
    modules,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A kernel in the cache.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) architecture: &'static Architecture,
    pub(crate) image: PathBuf,
    /// `lib/modules/VERSION`.
    pub(crate) modules: PathBuf,
}

/// A kernel that we know by name, and where it comes from.
#[derive(Debug)]
pub(crate) struct Known {
    /// The series, or what is special about it; and the architecture, if it is not that of the others.
    pub(crate) name: &'static str,
    pub(crate) suite: &'static str,
    /// That leads to the suite's present one.
    package: &'static str,
    pub(crate) architecture: &'static Architecture,
}

/// The kernels that we know by name.
pub(crate) const KNOWN: [Known; 13] = [
    // The oldest that we claim: its tracepoint has no reason.
    known(&AMD64, "5.10", "bullseye", CLOUD),
    known(&AMD64, "6.1", "bookworm", CLOUD),
    known(&AMD64, "6.12", "trixie", CLOUD),
    known(&AMD64, "newest", "trixie-backports", CLOUD),
    // Not released, so what it says is new to us.
    known(&AMD64, "sid", "sid", CLOUD),
    known(&AMD64, "6.12-generic", "trixie", GENERIC),
    known(&AMD64, "newest-generic", "trixie-backports", GENERIC),
    known(&ARM64, "5.10-arm64", "bullseye", CLOUD_ARM64),
    known(&ARM64, "6.12-arm64", "trixie", CLOUD_ARM64),
    known(&ARM64, "newest-arm64", "trixie-backports", CLOUD_ARM64),
    // Pages of 16 KiB; the others' are of 4.
    known(&ARM64, "newest-arm64-16k", "trixie-backports", PAGES_OF_16K),
    known(&S390X, "6.1-s390x", "bookworm", MAINFRAME),
    known(&S390X, "6.12-s390x", "bookworm-backports", MAINFRAME),
];

const fn known(
    architecture: &'static Architecture,
    name: &'static str,
    suite: &'static str,
    package: &'static str,
) -> Known {
    Known {
        name,
        suite,
        package,
        architecture,
    }
}

impl Known {
    /// The kernel of this name.
    pub(crate) fn by_name(name: &str) -> Result<&'static Self> {
        KNOWN
            .iter()
            .find(|known| known.name == name)
            .ok_or_else(|| {
                let names = KNOWN.map(|known| known.name).join(", ");
                format!("no kernel `{name}` (there are {names})")
            })
    }

    /// The kernel, if its present version is in the cache; fetches nothing.
    pub(crate) fn cached(&self) -> Option<Kernel> {
        let folder = Suite::cached_folder(self.suite, self.architecture, self.package)?;
        Kernel::find(&folder, self.architecture)
    }

    /// The series that it must be of, unless it is whatever the suite has.
    fn series(&self) -> Option<&'static str> {
        let series = self.name.split('-').next()?;
        series
            .starts_with(|first: char| first.is_ascii_digit())
            .then_some(series)
    }
}

impl Kernel {
    /// The present version of the kernel, fetched unless it is in the cache.
    pub(crate) fn fetch(name: &str) -> Result<Self> {
        let known = Known::by_name(name)?;
        let Known {
            suite,
            package,
            architecture,
            ..
        } = known;
        let folder = Suite::open(suite, architecture)?.unpacked(package)?;
        let kernel = Self::find(&folder, architecture)
            .ok_or_else(|| format!("no kernel and modules in `{}`", folder.display()))?;
        let version = kernel.release();
        if let Some(series) = known.series()
            && !version.starts_with(&format!("{series}."))
        {
            return Err(format!("{suite} has kernel {version}, not {series}"));
        }
        // Once here rather than at each boot.
        modules::unpack_in_place(&kernel.modules)?;
        Ok(kernel)
    }

    /// The kernel of any package in any suite, fetched unless it is in the cache: its image and its modules,
    /// packed as the package has them. Of an old kernel the suite may have the image alone. It is one for this machine's
    /// architecture.
    pub(crate) fn package(suite: &str, package: &str) -> Result<(PathBuf, Option<PathBuf>)> {
        let folder = Suite::open(suite, Architecture::own()?)?.unpacked_without_gone(package)?;
        let modules = modules::in_package(&folder);
        let image = image(&folder, modules.as_deref())
            .ok_or_else(|| format!("no kernel in `{}`", folder.display()))?;
        Ok((image, modules))
    }

    /// As `uname -r` will say it.
    pub(crate) fn release(&self) -> String {
        let name = self.modules.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The kernel in the unpacked packages.
    fn find(folder: &Path, architecture: &'static Architecture) -> Option<Self> {
        let modules = modules::in_package(folder)?;
        let image = image(folder, Some(&modules))?;
        Some(Self {
            architecture,
            image,
            modules,
        })
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
const CLOUD_ARM64: &str = "linux-image-cloud-arm64";
/// For every machine, with the drivers of its hardware: wireless is in this one alone.
const GENERIC: &str = "linux-image-amd64";
const PAGES_OF_16K: &str = "linux-image-arm64-16k";
const MAINFRAME: &str = "linux-image-s390x";

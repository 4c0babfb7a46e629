//! Packages of any Debian suite, fetched into the cache and unpacked there. The system's own apt
//! says where from and does the downloading, so that its mirror and its proxy serve us too; its
//! sources and its packages stay as they are.

use crate::{
    Result,
    architecture::Architecture,
    host::{self, TemporaryFolder, run},
    packages::{self, Package},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

/// The packages of a suite for one architecture.
#[derive(Debug)]
pub(crate) struct Suite {
    name: String,
    architecture: &'static Architecture,
    /// Text of the index.
    index: String,
    /// Whether the index was fetched just now.
    fresh: bool,
}

impl Suite {
    /// The suite by an index of today. Where the mirror does not answer, by an older one.
    pub(crate) fn open(name: &str, architecture: &'static Architecture) -> Result<Self> {
        let cached = index_path(name, architecture);
        let age = fs::metadata(&cached)
            .and_then(|metadata| metadata.modified())
            .ok()
            .map(|time| time.elapsed().unwrap_or_default());
        match age {
            Some(age) if age < INDEX_AGE => Self::cached(name, architecture),
            Some(age) => match Self::fetch(name, architecture)? {
                Ok(suite) => Ok(suite),
                Err(why) => {
                    let days = age.as_secs() / (24 * 60 * 60);
                    println!("xtask: {why}\nxtask: {name}: index of {days} days ago instead");
                    Self::cached(name, architecture)
                }
            },
            None => Self::fetch(name, architecture)?,
        }
    }

    /// Unpacks the package `name` and its parts into a folder of the cache, and gives the folder.
    /// What is there already is not fetched again.
    pub(crate) fn unpacked(&mut self, name: &str) -> Result<PathBuf> {
        self.unpacked_by(|suite| {
            let packages = packages::with_parts(&suite.index, name);
            let packages = packages.map_err(|name| suite.no_package(&name))?;
            suite.unpack(&packages, suite.folder_of(&packages[0]))
        })
    }

    /// Unpacks packages and the shared libraries that they need, each into a folder of its own, and gives the folders.
    pub(crate) fn unpacked_with_libraries(&mut self, names: &[&str]) -> Result<Vec<PathBuf>> {
        self.unpacked_by(|suite| {
            let packages = packages::with_libraries(&suite.index, names);
            let packages = packages.map_err(|name| suite.no_package(&name))?;
            let unpack = |package: Package| {
                let folder = suite.folder_of(&package);
                suite.unpack(&[package], folder)
            };
            packages.into_iter().map(unpack).collect()
        })
    }

    /// The same without those parts that the suite no longer has, which are told: a suite keeps some parts
    /// of an old kernel longer than others.
    pub(crate) fn unpacked_without_gone(&mut self, name: &str) -> Result<PathBuf> {
        self.unpacked_by(|suite| {
            let packages = packages::with_present_parts(&suite.index, name);
            let (packages, gone) = packages.map_err(|name| suite.no_package(&name))?;
            let mut folder = suite.folder_of(&packages[0]);
            if !gone.is_empty() {
                println!("xtask: {} no longer has {}", suite.name, gone.join(", "));
                // Not whole, so under another name.
                folder.as_mut_os_string().push("_without_gone");
            }
            suite.unpack(&packages, folder)
        })
    }

    fn unpacked_by<T>(&mut self, unpack: impl Fn(&Self) -> Result<T>) -> Result<T> {
        match unpack(self) {
            // The mirror may have moved on since the index was read.
            Err(_) if !self.fresh => {
                *self = Self::fetch(&self.name, self.architecture)??;
                unpack(self)
            }
            result => result,
        }
    }

    fn no_package(&self, name: &str) -> String {
        format!("{}: no package `{name}` in the index", self.name)
    }

    /// Where `unpacked` puts the present version of the package `name`, by the cached index alone.
    pub(crate) fn cached_folder(
        name: &str,
        architecture: &'static Architecture,
        package: &str,
    ) -> Option<PathBuf> {
        let suite = Self::cached(name, architecture).ok()?;
        let packages = packages::with_parts(&suite.index, package).ok()?;
        Some(suite.folder_of(packages.first()?))
    }

    fn folder_of(&self, package: &Package) -> PathBuf {
        let Package { name, version, .. } = package;
        folder(&self.name, self.architecture).join(format!("{name}_{version}"))
    }

    fn unpack(&self, packages: &[Package], folder: PathBuf) -> Result<PathBuf> {
        if folder.exists() {
            return Ok(folder);
        }
        // A folder of this name is whole: it is filled under another one.
        let partial = folder.with_extension(format!("{}.partial", std::process::id()));
        let archives = TemporaryFolder::new("packages")?;
        let result = packages.iter().try_for_each(|package| {
            let archive = archives.path().join("deb");
            fetch_package(package, &archive)?;
            run(Command::new("dpkg-deb")
                .arg("-x")
                .arg(&archive)
                .arg(&partial))?;
            fs::remove_file(&archive)
                .map_err(|e| format!("cannot remove `{}`: {e}", archive.display()))
        });
        let result = result.and_then(|()| {
            fs::rename(&partial, &folder)
                .map_err(|e| format!("cannot rename `{}`: {e}", partial.display()))
        });
        if result.is_err() {
            let _ = fs::remove_dir_all(&partial);
        }
        result.map(|()| folder)
    }

    fn cached(name: &str, architecture: &'static Architecture) -> Result<Self> {
        let index = host::read(&index_path(name, architecture))?;
        Ok(Self {
            name: name.to_owned(),
            architecture,
            index: String::from_utf8_lossy(&index).into_owned(),
            fresh: false,
        })
    }

    /// Fetches the index. The inner error is a mirror that does not serve it; the outer one, which no
    /// older index excuses, what it served and should not have.
    fn fetch(name: &str, architecture: &'static Architecture) -> Result<Result<Self>> {
        host::need(&[("gpgv", "gpgv"), ("xz", "xz-utils")])?;
        let suite = format!("{}/dists/{name}", mirror()?);
        let folder = TemporaryFolder::new("index")?;
        let at = |file: &str| folder.path().join(file);
        println!(
            "xtask: {name}: fetching the index for {}",
            architecture.name
        );
        let index = format!("main/binary-{}/Packages.xz", architecture.name);
        if let Err(why) = download(&format!("{suite}/InRelease"), &at("InRelease"), None) {
            return Ok(Err(why));
        }
        let release = verified(&at("InRelease"), &at("Release"))?;
        let digest = packages::release_digest(&release, &index)
            .ok_or_else(|| format!("{name}: its release lists no `{index}`"))?;
        let uri = format!("{suite}/{index}");
        if let Err(why) = download(&uri, &at("Packages.xz"), Some(digest)) {
            return Ok(Err(why));
        }
        run(Command::new("xz")
            .arg("--decompress")
            .arg(at("Packages.xz")))?;
        let index = host::read(&at("Packages"))?;
        let path = index_path(name, architecture);
        let parent = path.parent().expect("an index is in a folder of its suite");
        fs::create_dir_all(parent)
            .map_err(|e| format!("cannot create `{}`: {e}", parent.display()))?;
        host::write(&path, &index)?;
        let mut suite = Self::cached(name, architecture)?;
        suite.fresh = true;
        Ok(Ok(suite))
    }
}

/// The Debian archive that the system's apt sources name. To ask takes apt a second.
fn mirror() -> Result<&'static str> {
    static MIRROR: OnceLock<String> = OnceLock::new();
    match MIRROR.get() {
        Some(mirror) => Ok(mirror),
        None => asked_mirror().map(|mirror| MIRROR.get_or_init(|| mirror).as_str()),
    }
}

fn asked_mirror() -> Result<String> {
    let format = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";
    host::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        format,
        "Created-By: Packages",
    ]))
    .as_deref()
    .and_then(packages::archive)
    .map(str::to_owned)
    .ok_or("no Debian archive in the sources of apt (`apt-get indextargets`)".to_owned())
}

fn fetch_package(package: &Package, to: &Path) -> Result {
    let Package { name, version, .. } = package;
    // Most of a kernel is in one package; the others are too small to tell of.
    if package.size > 1_000_000 {
        println!(
            "xtask: fetching {name} {version}, {} MB",
            package.size / 1_000_000
        );
    }
    let uri = format!("{}/{}", mirror()?, package.filename);
    download(&uri, to, Some(&package.sha256))
}

/// Downloads by apt's own helper, which checks the digest.
fn download(uri: &str, to: &Path, sha256: Option<&str>) -> Result {
    let mut command = Command::new("/usr/lib/apt/apt-helper");
    command.arg("download-file").arg(uri).arg(to);
    if let Some(digest) = sha256 {
        command.arg(format!("SHA256:{digest}"));
    }
    let output = command
        .output()
        .map_err(|e| format!("cannot start `apt-helper` (part of Debian's apt): {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("E: "))
        .collect();
    Err(format!("cannot fetch `{uri}`: {}", errors.join("; ")))
}

/// The text of a signed release file, if one of Debian's keys that we have signed it. A suite is
/// signed with several, and an older system does not have the newer ones.
fn verified(signed: &Path, text: &Path) -> Result<String> {
    let output = Command::new("gpgv")
        .args(["--status-fd", "1", "--keyring", KEYRING, "--output"])
        .args([text, signed])
        .output()
        .map_err(|e| format!("cannot start `gpgv`: {e}"))?;
    let status = String::from_utf8_lossy(&output.stdout);
    if is_good(&status) {
        Ok(String::from_utf8_lossy(&host::read(text)?).into_owned())
    } else {
        Err(format!(
            "`{}` is not signed with a key of {KEYRING} (package debian-archive-keyring):\n{}",
            signed.display(),
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// Whether gpgv's status lines tell of a good signature and of no bad one.
fn is_good(status: &str) -> bool {
    let has = |word: &str| {
        status
            .lines()
            .any(|line| line.split(' ').nth(1) == Some(word))
    };
    has("GOODSIG") && !has("BADSIG")
}

fn index_path(suite: &str, architecture: &Architecture) -> PathBuf {
    folder(suite, architecture).join("Packages")
}

/// Where in the cache the index and the unpacked packages are.
fn folder(suite: &str, architecture: &Architecture) -> PathBuf {
    let name = match architecture.name {
        // As caches have had it since before there were others.
        "amd64" => suite.to_owned(),
        other => format!("{suite}-{other}"),
    };
    host::cache().join("debian").join(name)
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Suites change a few times a day at most, kernels every other week.
const INDEX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_good_signature_is_enough_and_a_bad_one_too_many() {
        let good = "[GNUPG:] GOODSIG 6ED0 Debian\n[GNUPG:] ERRSIG 78DB\n[GNUPG:] NO_PUBKEY 78DB\n";
        assert!(is_good(good));
        assert!(!is_good(&format!("{good}[GNUPG:] BADSIG 78DB Debian\n")));
        assert!(!is_good("[GNUPG:] EXPKEYSIG 6ED0 Debian\n"));
        assert!(!is_good("GOODSIG\n"));
    }
}

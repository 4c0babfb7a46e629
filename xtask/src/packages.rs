//! What a Debian archive says of its packages: pure readings of its indexes.

use std::collections::HashMap;

/// A package as the index describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Path below the archive's root.
    pub(crate) filename: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
    /// What has to be installed before it, and with it.
    depends: String,
}

impl Package {
    /// A stanza of the index; `None` where a field is missing.
    fn parse(stanza: &str) -> Option<Self> {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(|value| value.trim().to_owned())
        };
        Some(Self {
            name: field("Package")?,
            version: field("Version")?,
            filename: field("Filename")?,
            sha256: field("SHA256")?,
            size: field("Size")?.parse().ok()?,
            depends: ["Pre-Depends", "Depends"]
                .into_iter()
                .filter_map(field)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// The names of the shared libraries' packages that it needs: of each need the first that would do. On Debian they, and
    /// few others, begin so.
    fn libraries(&self) -> impl Iterator<Item = &str> {
        self.depends.split(", ").filter_map(|need| {
            let name = need.split([' ', ':', '|']).next()?;
            let is_library = name.starts_with("lib") || name.starts_with("zlib");
            is_library.then_some(name)
        })
    }

    /// What it needs in exactly one version, as the parts of one kernel need each other; not what
    /// any version serves, which are tools.
    fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.depends.split(", ").filter_map(|need| {
            let (name, version) = need.split_once(" (= ")?;
            Some((name, version.strip_suffix(')')?))
        })
    }
}

/// The package `name` in the text of an index, with the parts that it is made of, itself first.
/// The error is the name of a package that is not there.
pub(crate) fn with_parts(index: &str, name: &str) -> Result<Vec<Package>, String> {
    let (found, mut missing) = with_present_parts(index, name)?;
    match missing.pop() {
        None => Ok(found),
        Some(part) => Err(part),
    }
}

/// The same with those parts that are there, and the names of those that are not. The error is `name`
/// itself.
pub(crate) fn with_present_parts(
    index: &str,
    name: &str,
) -> Result<(Vec<Package>, Vec<String>), String> {
    let find = |name: &str, version: Option<&str>| {
        index
            .split("\n\n")
            // Most stanzas are of others: look at the first line before the rest.
            .filter(|stanza| {
                let first = stanza.trim_start().lines().next().unwrap_or_default();
                first.strip_prefix("Package: ") == Some(name)
            })
            .filter_map(Package::parse)
            .find(|package| version.is_none_or(|version| package.version == version))
            .ok_or(name.to_owned())
    };
    let mut found = vec![find(name, None)?];
    let mut missing = Vec::new();
    let mut next = 0;
    while let Some(package) = found.get(next) {
        let parts: Vec<(String, String)> = package
            .parts()
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect();
        for (name, version) in parts {
            if found.iter().any(|package| package.name == name) {
                continue;
            }
            match find(&name, Some(&version)) {
                Ok(package) => found.push(package),
                Err(name) if missing.contains(&name) => {}
                Err(name) => missing.push(name),
            }
        }
        next += 1;
    }
    Ok((found, missing))
}

/// The packages of these names in the text of an index, with the shared libraries that they need, and those that these
/// need. The error is the name of a package that is not there.
pub(crate) fn with_libraries(index: &str, names: &[&str]) -> Result<Vec<Package>, String> {
    let by_name: HashMap<&str, &str> = index
        .split("\n\n")
        .filter_map(|stanza| {
            let first = stanza.trim_start().lines().next()?;
            Some((first.strip_prefix("Package: ")?, stanza))
        })
        .collect();
    let mut next: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut found: Vec<Package> = Vec::new();
    while let Some(name) = next.pop() {
        if found.iter().any(|package| package.name == name) {
            continue;
        }
        let stanza = by_name.get(name.as_str());
        let Some(package) = stanza.and_then(|stanza| Package::parse(stanza)) else {
            return Err(name);
        };
        next.extend(package.libraries().map(str::to_owned));
        found.push(package);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The SHA-256 digest that a suite's release file gives for one of its files.
pub(crate) fn release_digest<'a>(release: &'a str, path: &str) -> Option<&'a str> {
    release
        .lines()
        .skip_while(|line| *line != "SHA256:")
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .find_map(|line| match *line.split_whitespace().collect::<Vec<_>>() {
            [digest, _, name] if name == path => Some(digest),
            _ => None,
        })
}

/// The archive that has Debian's own packages, in a list of `origin|label|URI` lines. Where apt
/// has never been updated it knows only the URI.
pub(crate) fn archive(sources: &str) -> Option<&str> {
    let sources: Vec<(&str, &str)> = sources
        .lines()
        .filter_map(|line| line.rsplit_once('|'))
        .collect();
    let by_label = sources.iter().find(|(label, _)| *label == "Debian|Debian");
    let by_path = || {
        sources
            .iter()
            .find(|(_, uri)| uri.trim_end_matches('/').ends_with("/debian"))
    };
    let (_, uri) = by_label.or_else(by_path)?;
    Some(uri.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stanzas as an index has them, with what is not read left out.
    const INDEX: &str = "\
Package: linux-image-cloud-amd64
Source: linux-signed-amd64 (7.3.4+1)
Version: 7.3.4-1
Depends: linux-base-cloud-amd64 (= 7.3.4-1), linux-image-7.3.4-cloud-amd64 (= 7.3.4-1)
Filename: pool/image-cloud.deb
Size: 1524
SHA256: 35bb

Package: linux-base-cloud-amd64
Version: 7.3.4-1
Depends: linux-base-7.3.4-cloud-amd64 (= 7.3.4-1)
Filename: pool/base-cloud.deb
Size: 1244
SHA256: 90a2

Package: linux-base-7.3.4-cloud-amd64
Version: 7.3.4-1
Filename: pool/base.deb
Size: 1025208
SHA256: 0001

Package: linux-image-7.3.4-cloud-amd64
Version: 7.3.3-1
Filename: pool/older.deb
Size: 1
SHA256: 0002

Package: linux-image-7.3.4-cloud-amd64
Version: 7.3.4-1
Depends: dracut | initramfs-tools (>= 0.120), linux-base (>= 4), linux-base-7.3.4-cloud-amd64 (= 7.3.4-1)
Filename: pool/image.deb
Size: 1928
SHA256: 0003
";

    #[test]
    fn parts_are_followed_by_exact_version_and_taken_once() {
        let packages = with_parts(INDEX, "linux-image-cloud-amd64").unwrap();
        let files: Vec<&str> = packages.iter().map(|p| p.filename.as_str()).collect();
        let expected = [
            "pool/image-cloud.deb",
            "pool/base-cloud.deb",
            "pool/image.deb",
            "pool/base.deb",
        ];
        assert_eq!(files, expected);
        assert_eq!(
            (packages[3].size, packages[3].sha256.as_str()),
            (1_025_208, "0001")
        );
    }

    #[test]
    fn a_missing_package_is_named() {
        assert_eq!(with_parts(INDEX, "nosuch"), Err("nosuch".to_owned()));
        let cut = INDEX.split("Package: linux-base-7.3.4").next().unwrap();
        assert_eq!(
            with_parts(cut, "linux-base-cloud-amd64"),
            Err("linux-base-7.3.4-cloud-amd64".to_owned())
        );
        let (found, missing) = with_present_parts(cut, "linux-base-cloud-amd64").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(missing, ["linux-base-7.3.4-cloud-amd64"]);
    }

    #[test]
    fn of_what_a_program_needs_the_libraries_are_taken() {
        let package = |name: &str, fields: &str| {
            format!(
                "Package: {name}\nVersion: 1\n{fields}Filename: {name}.deb\nSize: 1\nSHA256: 00\n\n"
            )
        };
        let index = [
            package(
                "nftables",
                "Pre-Depends: init-system-helpers\nDepends: libc6 (>= 2.38), libnft1 (= 1)\n",
            ),
            package(
                "libnft1",
                "Depends: libc6:any (>= 2.38), libmnl0 | libmnl1, debconf, zlib1g\n",
            ),
            package("libmnl0", "Depends: libc6\n"),
            package("libc6", "Pre-Depends: libgcc-s1\n"),
            package("libgcc-s1", "Depends: gcc-14-base (= 1), libc6\n"),
            package("zlib1g", ""),
            package("debconf", ""),
        ]
        .concat();
        let packages = with_libraries(&index, &["nftables"]).unwrap();
        let names: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "libc6",
                "libgcc-s1",
                "libmnl0",
                "libnft1",
                "nftables",
                "zlib1g"
            ]
        );
        let cut = index.replace("Package: libmnl0", "Package: other");
        assert_eq!(
            with_libraries(&cut, &["nftables"]),
            Err("libmnl0".to_owned())
        );
    }

    #[test]
    fn a_release_gives_the_digest_of_the_right_algorithm() {
        let release = "Origin: Debian\nMD5Sum:\n 11 312 main/binary-amd64/Packages.xz\nSHA256:\n \
            aa 9 main/binary-amd64/Packages.gz\n bb    312 main/binary-amd64/Packages.xz\nOther: x\n \
            cc 1 later\n";
        assert_eq!(
            release_digest(release, "main/binary-amd64/Packages.xz"),
            Some("bb")
        );
        assert_eq!(release_digest(release, "later"), None);
        assert_eq!(release_digest("", "later"), None);
    }

    #[test]
    fn the_archive_is_known_by_its_label_or_its_path() {
        let sources = "Debian|Debian-Security|http://a.invalid/debian-security/\n\
            Other|Other|http://b.invalid/apt/\nDebian|Debian|http://c.invalid/mirror/\n";
        assert_eq!(archive(sources), Some("http://c.invalid/mirror"));
        let bare = "||http://a.invalid/debian-security/\n||http://c.invalid/debian/\n";
        assert_eq!(archive(bare), Some("http://c.invalid/debian"));
        assert_eq!(archive("||http://b.invalid/apt/\n"), None);
    }
}

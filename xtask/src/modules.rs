//! A kernel's modules: found in a folder, unpacked, with the indexes that `modprobe` reads.

use crate::{Result, cpio::Tree, host, modinfo::Info};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The modules of one kernel.
#[derive(Debug)]
pub(crate) struct Modules {
    /// As `uname -r` says it.
    version: String,
    modules: Vec<Module>,
    /// `modules.builtin`: what `modprobe` need not look for.
    builtin: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Module {
    /// Below the folder, without `.xz`.
    path: String,
    info: Info,
    content: Vec<u8>,
}

impl Modules {
    /// Reads every `.ko` and `.ko.xz` below `folder`, which may be flat, a `lib/modules/VERSION`,
    /// or an unpacked package with one.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let inner = in_package(folder);
        let folder = inner.as_deref().unwrap_or(folder);
        let mut paths = Vec::new();
        find(folder, &mut paths)?;
        paths.sort();
        Self::of(folder, load(folder, &paths)?)
    }

    /// Reads those of the modules below `folder` that have these names, and what they need.
    pub(crate) fn read_only(folder: &Path, names: &[String]) -> Result<Self> {
        let by_name = by_name(folder)?;
        if let Some(missing) = names.iter().find(|&name| !by_name.contains_key(name)) {
            return Err(format!(
                "no module `{missing}` below `{}`",
                folder.display()
            ));
        }
        let mut wanted: BTreeSet<String> = names.iter().cloned().collect();
        let mut known = wanted.clone();
        let mut modules = Vec::new();
        while !wanted.is_empty() {
            // What no file provides is built in.
            let paths: Vec<PathBuf> = wanted
                .iter()
                .filter_map(|name| by_name.get(name).cloned())
                .collect();
            let loaded = load(folder, &paths)?;
            let needed = loaded.iter().flat_map(|module| &module.info.depends);
            wanted = needed
                .filter(|&name| known.insert(name.clone()))
                .cloned()
                .collect();
            modules.extend(loaded);
        }
        Self::of(folder, modules)
    }

    fn of(folder: &Path, modules: Vec<Module>) -> Result<Self> {
        let version = match modules.first() {
            Some(module) => module.info.version.clone(),
            None => return Err(format!("no .ko or .ko.xz below `{}`", folder.display())),
        };
        if let Some(other) = modules.iter().find(|module| module.info.version != version) {
            return Err(format!(
                "`{}` holds modules of two kernels: {version}, {}",
                folder.display(),
                other.info.version
            ));
        }
        Ok(Self {
            version,
            modules,
            builtin: fs::read(folder.join("modules.builtin")).ok(),
        })
    }

    /// Puts the modules and their indexes where the guest's `modprobe` looks for them.
    pub(crate) fn add_to(self, tree: &mut Tree) {
        let folder = format!("/lib/modules/{}", self.version);
        let indexes = [
            ("modules.dep", self.dependencies().into_bytes()),
            ("modules.alias", self.aliases().into_bytes()),
            ("modules.builtin", self.builtin.unwrap_or_default()),
            // Looked for by modprobe, and not needed by it.
            ("modules.symbols", Vec::new()),
        ];
        for (name, content) in indexes {
            tree.file(&format!("{folder}/{name}"), 0o644, content);
        }
        for module in self.modules {
            tree.file(&format!("{folder}/{}", module.path), 0o644, module.content);
        }
    }

    /// `modules.dep`: each module with all that it needs, what is needed first last.
    fn dependencies(&self) -> String {
        let by_name: BTreeMap<String, &Module> = self
            .modules
            .iter()
            .map(|module| (name(&module.path), module))
            .collect();
        let mut text = String::new();
        for module in &self.modules {
            let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
            in_order(module, &by_name, &mut seen, &mut order);
            order.pop();
            text += &format!("{}:", module.path);
            for needed in order.iter().rev() {
                text += &format!(" {}", needed.path);
            }
            text += "\n";
        }
        text
    }

    /// `modules.alias`: by what other names the kernel asks for a module.
    fn aliases(&self) -> String {
        let mut text = String::new();
        for module in &self.modules {
            for alias in &module.info.aliases {
                text += &format!("alias {alias} {}\n", name(&module.path));
            }
        }
        text
    }
}

/// The names of the modules below `folder` and where they are.
pub(crate) fn by_name(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut paths = Vec::new();
    find(folder, &mut paths)?;
    let named = paths.into_iter().map(|path| {
        let text = path.to_string_lossy();
        (name(text.trim_end_matches(".xz")), path)
    });
    Ok(named.collect())
}

/// Reads modules, below `folder`.
fn load(folder: &Path, paths: &[PathBuf]) -> Result<Vec<Module>> {
    let packed: Vec<&PathBuf> = paths.iter().filter(|path| is_packed(path)).collect();
    let mut unpacked = unpack(&packed)?.into_iter();
    let mut modules = Vec::new();
    for path in paths {
        let content = if is_packed(path) {
            unpacked.next().ok_or("fewer modules unpacked than asked")?
        } else {
            host::read(path)?
        };
        let below = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
        modules.push(Module {
            path: below.trim_end_matches(".xz").to_owned(),
            info: Info::of(&content)
                .ok_or_else(|| format!("`{}` is no kernel module", path.display()))?,
            content,
        });
    }
    Ok(modules)
}

/// The folder of modules in an unpacked package.
pub(crate) fn in_package(folder: &Path) -> Option<PathBuf> {
    ["lib/modules", "usr/lib/modules"].iter().find_map(|path| {
        let entry = fs::read_dir(folder.join(path)).ok()?.next()?;
        Some(entry.ok()?.path())
    })
}

/// Adds to `order` what `module` needs, what is needed first first, and then the module.
fn in_order<'a>(
    module: &'a Module,
    by_name: &BTreeMap<String, &'a Module>,
    seen: &mut BTreeSet<&'a str>,
    order: &mut Vec<&'a Module>,
) {
    if seen.insert(&module.path) {
        // What no file provides is built in; else modprobe will say what is missing.
        for needed in module
            .info
            .depends
            .iter()
            .filter_map(|name| by_name.get(name))
        {
            in_order(needed, by_name, seen, order);
        }
        order.push(module);
    }
}

/// A module's name by its file's.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.trim_end_matches(".ko").replace('-', "_")
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "xz")
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result {
    let failed = |e| format!("cannot read `{}`: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // A link, as `build` to the headers, leads out of the folder.
        if entry.file_type().map_err(failed)?.is_dir() {
            find(&path, found)?;
        } else if [".ko", ".ko.xz"]
            .iter()
            .any(|end| entry.file_name().to_string_lossy().ends_with(end))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Unpacks every `.ko.xz` below `folder` beside itself, and removes it.
pub(crate) fn unpack_in_place(folder: &Path) -> Result {
    let mut paths = Vec::new();
    find(folder, &mut paths)?;
    paths.retain(|path| is_packed(path));
    if paths.is_empty() {
        return Ok(());
    }
    host::need(&[("xz", "xz-utils")])?;
    host::run(Command::new("xz").arg("--decompress").args(paths))
}

/// Unpacks files of `xz`. A thousand of them are a kernel's modules, so two processes serve them
/// all: one tells the sizes, the other unpacks them one after another.
fn unpack(paths: &[&PathBuf]) -> Result<Vec<Vec<u8>>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    host::need(&[("xz", "xz-utils")])?;
    let xz = |option: &[&str]| {
        let output = Command::new("xz").args(option).args(paths).output();
        let output = output.map_err(|e| format!("cannot start `xz`: {e}"))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("`xz {}` failed: {said}", option.join(" ")))
        }
    };
    let sizes = unpacked_sizes(&String::from_utf8_lossy(&xz(&["--robot", "--list"])?));
    let content = xz(&["--decompress", "--stdout"])?;
    if sizes.len() != paths.len() || sizes.iter().sum::<usize>() != content.len() {
        return Err("`xz --list` and what it unpacked differ".to_owned());
    }
    let mut rest = content.as_slice();
    let pieces = sizes.into_iter().map(|size| {
        let (piece, after) = rest.split_at(size);
        rest = after;
        piece.to_vec()
    });
    Ok(pieces.collect())
}

/// The column of unpacked sizes in what `xz --robot --list` prints.
fn unpacked_sizes(listing: &str) -> Vec<usize> {
    listing
        .lines()
        .filter_map(|line| {
            line.strip_prefix("file\t")?
                .split('\t')
                .nth(3)?
                .parse()
                .ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_need_comes_last() {
        let module = |path: &str, depends: &[&str]| Module {
            path: path.to_owned(),
            info: Info {
                depends: depends.iter().map(|&name| name.to_owned()).collect(),
                ..Info::default()
            },
            content: Vec::new(),
        };
        let modules = Modules {
            version: "6.1".to_owned(),
            modules: vec![
                module("net/ovs.ko", &["nat", "crc", "defrag_v6"]),
                module("net/nat.ko", &["track", "crc"]),
                module("net/track.ko", &["defrag_v6", "builtin"]),
                module("net/defrag-v6.ko", &[]),
                module("lib/crc.ko", &[]),
            ],
            builtin: None,
        };
        let text = modules.dependencies();
        let first = text.lines().next().unwrap();
        let place = |name: &str| first.find(name).unwrap();
        assert!(first.starts_with("net/ovs.ko: "), "{first}");
        assert_eq!(first.split(' ').count(), 5, "{first}");
        assert!(place("nat.ko") < place("track.ko"), "{first}");
        assert!(place("track.ko") < place("defrag-v6.ko"), "{first}");
        assert!(place("nat.ko") < place("crc.ko"), "{first}");
        assert!(text.contains("net/track.ko: net/defrag-v6.ko\n"), "{text}");
        assert!(text.ends_with("lib/crc.ko:\n"));
    }

    #[test]
    fn a_module_is_found_by_its_name_packed_or_not() {
        let folder = host::TemporaryFolder::new("modules").unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("net")).unwrap();
        for path in ["net/nf-nat.ko.xz", "crc32c_generic.ko", "modules.order"] {
            host::write(&at(path), b"").unwrap();
        }
        let expected = [
            ("crc32c_generic".to_owned(), at("crc32c_generic.ko")),
            ("nf_nat".to_owned(), at("net/nf-nat.ko.xz")),
        ];
        assert_eq!(by_name(folder.path()).unwrap(), BTreeMap::from(expected));
        let missing = Modules::read_only(folder.path(), &["nosuch".to_owned()]);
        assert!(missing.unwrap_err().starts_with("no module `nosuch`"));
    }

    #[test]
    fn sizes_are_a_column_of_the_listing() {
        let listing = "name\ta.ko.xz\nfile\t1\t1\t24116\t113390\t0.213\tCRC32\t0\n\
            name\tb.ko.xz\nfile\t1\t1\t45336\t220151\t0.206\tCRC32\t0\n\
            totals\t2\t2\t69452\t333541\t0.208\tCRC32\t0\t2\n";
        assert_eq!(unpacked_sizes(listing), [113_390, 220_151]);
    }
}

//! Programs for a guest, with the libraries that they load: this machine's own, or, for a guest of another architecture,
//! those of Debian's packages.

use crate::{
    Result, architecture::Architecture, cpio::Tree, deb::Suite, host, ldd, readelf::Linked,
};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// What is given to a guest.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) architecture: &'static Architecture,
    names: Vec<&'static str>,
    /// Folders with unpacked packages; `None` where they are this machine's.
    folders: Option<Vec<PathBuf>>,
}

impl Programs {
    /// Sees to it that they are there, each given with the Debian package that has it.
    pub(crate) fn fetch(
        architecture: &'static Architecture,
        needed: &[(&'static str, &'static str)],
    ) -> Result<Self> {
        let folders = if architecture.is_own() {
            host::need(needed)?;
            None
        } else {
            let packages: BTreeSet<&str> = needed.iter().map(|(_, package)| *package).collect();
            let packages: Vec<&str> = packages.into_iter().collect();
            Some(
                Suite::open(architecture.suite, architecture)?
                    .unpacked_with_libraries(&packages)?,
            )
        };
        Ok(Self {
            architecture,
            names: needed.iter().map(|(name, _)| *name).collect(),
            folders,
        })
    }

    /// Puts those of them into the guest that it has not.
    pub(crate) fn add_to(&self, tree: &mut Tree) -> Result {
        for name in &self.names {
            if !tree.has_program(name) {
                let path = self.find(name)?;
                self.add_file(tree, &path, &format!("/usr/bin/{name}"))?;
            }
        }
        Ok(())
    }

    /// Puts the file `path` at `place`, and its libraries where the loader looks for them.
    pub(crate) fn add_file(&self, tree: &mut Tree, path: &Path, place: &str) -> Result {
        let content = host::read(path)?;
        let libraries = if content.starts_with(b"\x7fELF") {
            self.libraries(path)?
        } else {
            Vec::new()
        };
        let permissions = fs::metadata(path)
            .map_err(|e| format!("cannot read `{}`: {e}", path.display()))?
            .permissions();
        tree.file(place, permissions.mode(), content);
        for (library, place) in libraries {
            if !tree.has(&place) {
                tree.file(&place, 0o755, host::read(&library)?);
            }
        }
        Ok(())
    }

    /// Where a program is.
    fn find(&self, name: &str) -> Result<PathBuf> {
        let Some(folders) = &self.folders else {
            return host::program(name).ok_or_else(|| format!("`{name}` is not on the path"));
        };
        let places = ["usr/bin", "bin", "usr/sbin", "sbin"];
        let places = places.map(|folder| format!("{folder}/{name}"));
        first(folders, &places)
            .map(|(path, _)| path)
            .ok_or_else(|| format!("`{name}` is in none of the packages"))
    }

    /// The libraries of a program, each with where it goes.
    fn libraries(&self, path: &Path) -> Result<Vec<(PathBuf, String)>> {
        let Some(folders) = &self.folders else {
            let paths = ldd::libraries(path)?.into_iter();
            return Ok(paths
                .map(|path| (path.clone(), path.to_string_lossy().into_owned()))
                .collect());
        };
        let mut found = Vec::new();
        let mut known = BTreeSet::new();
        let mut next = vec![path.to_path_buf()];
        while let Some(file) = next.pop() {
            let linked = Linked::of(&file)?;
            if linked.machine != self.architecture.elf {
                return Err(format!(
                    "`{}` is for {}, and the guest {}",
                    file.display(),
                    linked.machine,
                    self.architecture.elf
                ));
            }
            let triplet = self.architecture.triplet;
            let libraries = linked.libraries.iter().map(|name| {
                vec![
                    format!("usr/lib/{triplet}/{name}"),
                    format!("lib/{triplet}/{name}"),
                ]
            });
            let loader = linked.loader.iter().map(|path| {
                let path = path.trim_start_matches('/');
                vec![path.to_owned(), format!("usr/{path}")]
            });
            for places in libraries.chain(loader) {
                if !known.insert(places.clone()) {
                    continue;
                }
                let (library, place) = first(folders, &places).ok_or_else(|| {
                    format!(
                        "`{}` needs `{}`, which is in none of the packages",
                        file.display(),
                        places[0]
                    )
                })?;
                next.push(library.clone());
                found.push((library, format!("/{place}")));
            }
        }
        Ok(found)
    }
}

/// The first of these places that is in one of the folders.
fn first(folders: &[PathBuf], places: &[String]) -> Option<(PathBuf, String)> {
    let pairs = folders
        .iter()
        .flat_map(|folder| places.iter().map(move |place| (folder.join(place), place)));
    // A link that begins at the root would lead out of the folder, to this machine's file.
    let is_inside = |path: &Path| !fs::read_link(path).is_ok_and(|to| to.is_absolute());
    pairs
        .filter(|(path, _)| is_inside(path) && path.is_file())
        .map(|(path, place)| (path, place.clone()))
        .next()
}

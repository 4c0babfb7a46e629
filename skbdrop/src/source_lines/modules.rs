//! Modules' debug information, read when a place in one is asked for.

#[cfg(test)]
mod tests;

use super::{
    SourceLine,
    debug_file::DebugFile,
    module::Module,
    notes,
    places::{self, is_plain},
};
use crate::{Error, Result, Symbol};
use std::{
    cell::RefCell,
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Modules that are remembered; past it all are forgotten and read anew. No kernel has so many loaded, while what was recorded
/// elsewhere may name any.
const MAX_KNOWN: usize = 1024;

/// Of the running kernel.
pub(super) struct Modules {
    /// What all folders are in: `/`, but in tests.
    root: PathBuf,
    release: String,
    known: RefCell<HashMap<Arc<str>, Known>>,
}

/// `None` of what was built without.
type BuildId = Option<Vec<u8>>;

/// What became of reading a module's debug information.
struct Known {
    /// Of the module that was loaded then.
    build_id: BuildId,
    /// `None` if there is none.
    module: Result<Option<Module>, Arc<Error>>,
}

impl Modules {
    pub(super) fn new(root: &Path, release: String) -> Self {
        Self {
            root: root.to_owned(),
            release,
            known: RefCell::default(),
        }
    }

    /// Of a place in this module; none if its debug information is nowhere.
    pub(super) fn lines(&self, name: &Arc<str>, symbol: &Symbol) -> Result<Vec<SourceLine>> {
        // What the kernel lists as modules may be none, and what was recorded may be anything.
        if !is_plain(name) {
            return Ok(Vec::new());
        }
        let loaded = self.loaded(name)?;
        let mut known = self.known.borrow_mut();
        // Another one of the same name may have been loaded since; one that is gone was of the build that was seen last.
        let is_known = known.get(name).is_some_and(|it| {
            loaded
                .as_ref()
                .is_none_or(|build_id| it.build_id == *build_id)
        });
        if !is_known {
            let Some(build_id) = loaded else {
                // Of which build it was, nobody can tell.
                return Ok(Vec::new());
            };
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            let module = self.find(name, build_id.as_deref()).map_err(Arc::new);
            known.insert(Arc::clone(name), Known { build_id, module });
        }
        match known.get(name).map(|it| &it.module) {
            Some(Ok(Some(module))) => module.lines(symbol),
            Some(Err(e)) => Err(Error::new(
                e.kind(),
                format!("cannot tell source lines of the module `{name}`"),
            )
            .caused_by(Arc::clone(e))),
            Some(Ok(None)) | None => Ok(Vec::new()),
        }
    }

    /// The build of a module that is loaded; `None` if it is not.
    fn loaded(&self, name: &str) -> Result<Option<BuildId>> {
        let module = self.root.join("sys/module").join(name.replace('-', "_"));
        let path = module.join("notes/.note.gnu.build-id");
        match fs::read(&path) {
            Ok(notes) => Ok(Some(notes::build_id(&notes).map(<[u8]>::to_vec))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(module.exists().then_some(None)),
            // It went while the file was open.
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(e) => {
                let path = path.display();
                Err(Error::io(
                    format!("cannot read the module's build ID `{path}`"),
                    e,
                ))
            }
        }
    }

    /// Reads the first file that is of this build. Where there are but others, what is wrong with the first of them is told.
    fn find(&self, name: &str, build_id: Option<&[u8]>) -> Result<Option<Module>> {
        let mut refused = None;
        for folder in places::of_modules(&self.root, &self.release, build_id) {
            let files = match folder.files(name) {
                Ok(files) => files,
                Err(e) => {
                    refused = refused.or(Some(e));
                    continue;
                }
            };
            for path in files {
                match read(&path, name, build_id) {
                    Ok(Some(module)) => return Ok(Some(module)),
                    Ok(None) => {}
                    Err(e) => refused = refused.or(Some(e)),
                }
            }
        }
        refused.map_or(Ok(None), Err)
    }
}

/// Reads one file; `None` if it is stripped.
fn read(path: &Path, name: &str, build_id: Option<&[u8]>) -> Result<Option<Module>> {
    let file = DebugFile::open(path)?;
    if !file.has_debug_information()? {
        return Ok(None);
    }
    if let Some(build_id) = build_id {
        file.expect_build_id(build_id, &format!("the loaded module `{name}`"))?;
    }
    Module::read(&file).map(Some)
}

//! The programs of the crate `skbdrop-benches`, built as they are measured.

use crate::{Result, host, test::cargo};
use std::{
    env,
    path::{Path, PathBuf},
};

/// The folder that they are in.
#[derive(Debug)]
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    pub(crate) fn build() -> Result<Self> {
        println!("xtask: building what is measured");
        let arguments = ["build", "--release", "-p", "skbdrop-benches", "--bins"];
        host::run(&mut cargo(&arguments))?;
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| host::workspace().join("target"), PathBuf::from);
        Ok(Self(target.join("release")))
    }

    /// Path of one.
    pub(crate) fn path(&self, name: &str) -> String {
        let path: &Path = &self.0;
        path.join(name).to_string_lossy().into_owned()
    }
}

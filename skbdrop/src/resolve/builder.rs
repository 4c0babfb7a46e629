//! [`ResolverBuilder`]: names from files that the caller chose.

use super::{Modules, Resolver};
use crate::{Error, ErrorKind, Result, btf};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Says which files a [`Resolver`] reads; made by [`Resolver::builder`].
///
/// Each is optional and stands for the same kernel as the others. What is named and cannot be read is an error.
/// With none of them it is the running kernel, as by [`Resolver::from_kernel`].
///
/// ```no_run
/// let other = skbdrop::Resolver::builder()
///     .vmlinux("/var/crash/vmlinux")
///     .modules_in("/var/crash/btf")
///     .build()?;
/// println!("{}", other.reason(3));
/// # Ok::<(), skbdrop::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before `build`"]
pub struct ResolverBuilder {
    vmlinux: Option<PathBuf>,
    modules: Vec<PathBuf>,
    folder: Option<PathBuf>,
    format: Option<PathBuf>,
}

impl ResolverBuilder {
    /// The kernel: what [`Resolver::from_btf_file`] takes.
    pub fn vmlinux(mut self, file: impl Into<PathBuf>) -> Self {
        self.vmlinux = Some(file.into());
        self
    }

    /// A module of this kernel: its raw BTF, a `.ko`, or with the feature `image` a packed one. A module's BTF refers
    /// to the whole of its kernel's; without [`vmlinux`](Self::vmlinux) that is the running one's. What
    /// [`prune_module_btf`](crate::prune_module_btf) made stands alone, and goes with a pruned kernel's too.
    pub fn module(mut self, file: impl Into<PathBuf>) -> Self {
        self.modules.push(file.into());
        self
    }

    /// A folder with raw BTF of modules, as `/sys/kernel/btf` is. It is read when a number asks for it, and
    /// again when modules have come; a file that cannot be read costs only its own names.
    pub fn modules_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// The text of the tracepoint's `format` in tracefs. Its names count where the BTF has no reasons of the core, or where there
    /// is no BTF.
    pub fn format(mut self, file: impl Into<PathBuf>) -> Self {
        self.format = Some(file.into());
        self
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is not what it should be.
    pub fn build(self) -> Result<Resolver> {
        let kernel = Path::new(btf::KERNEL_BTF);
        let names_none = self.modules.is_empty() && self.folder.is_none();
        if self.vmlinux.is_none() && self.format.is_none() && names_none {
            return Resolver::from_kernel();
        }
        if self.vmlinux.is_none() && self.format.is_some() && !names_none {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "modules cannot be read with a `format` alone (name their kernel by `vmlinux`)",
            ));
        }
        let mut resolver = match &self.vmlinux {
            Some(file) => Resolver::from_btf_file(file)?,
            None if names_none => Resolver::empty(),
            None => Resolver::from_types(&btf::from_kernel()?, Some(kernel))?,
        };
        let base = self.vmlinux.unwrap_or_else(|| kernel.to_owned());
        for module in &self.modules {
            let enums = btf::module_enums(module, &base)?;
            resolver.add_module(&enums, module);
        }
        if let Some(folder) = self.folder {
            fs::read_dir(&folder).map_err(|e| {
                Error::io(
                    format!(
                        "cannot read the folder of modules' BTF `{}`",
                        folder.display()
                    ),
                    e,
                )
            })?;
            resolver.modules = Some(Modules::new(folder, base));
        }
        if let Some(file) = &self.format {
            let text = fs::read_to_string(file).map_err(|e| {
                Error::io(
                    format!("cannot read the format file `{}`", file.display()),
                    e,
                )
            })?;
            resolver.fall_back(&text, Some(file)).map_err(|e| {
                let act = format!("cannot use the format file `{}`", file.display());
                Error::new(e.kind(), act).caused_by(e)
            })?;
        }
        Ok(resolver)
    }
}

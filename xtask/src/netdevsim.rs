//! netdevsim for a guest: a network device without hardware, which reports drops to the kernel as hardware
//! does. Debian's kernels lack the module; it is built out of their tree.

use crate::{
    Result,
    host::{self, TemporaryFolder, run},
    kernel::Kernel,
    modinfo::Info,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Bookworm's source. Other kernels would need the source of theirs.
const SOURCE: &str = "linux-source-6.1";
const FOLDER: &str = "drivers/net/netdevsim";

/// The module for `kernel`, built unless it is in the cache. The kernel refuses one of another release.
pub(crate) fn module(kernel: &Kernel) -> Result<PathBuf> {
    let release = kernel.release();
    let folder = host::cache().join("netdevsim");
    let module = folder.join(format!("{release}.ko"));
    if !module.exists() {
        build(&release, &folder, &module)
            .map_err(|why| format!("cannot build netdevsim for {release}: {why}"))?;
    }
    Ok(module)
}

fn build(release: &str, folder: &Path, module: &Path) -> Result {
    let headers = format!("linux-headers-{release}");
    // The system's own apt has them, if it is of the kernel's suite.
    host::apt_install(&[&headers, SOURCE, "make", "gcc", "xz-utils"])?;
    if let (Some(ours), Some(theirs)) = (version(SOURCE), version(&headers))
        && ours != theirs
    {
        // Within a release the interface to modules stays, so this is no obstacle by itself.
        println!("xtask: netdevsim of {SOURCE} {ours} for {headers} {theirs}");
    }
    println!("xtask: building netdevsim for {release}");
    let work = TemporaryFolder::new("netdevsim")?;
    run(Command::new("tar")
        .arg("--extract")
        .arg(format!("--file=/usr/src/{SOURCE}.tar.xz"))
        .arg("--directory")
        .arg(work.path())
        .arg(format!("{SOURCE}/{FOLDER}")))?;
    let sources = work.path().join(SOURCE).join(FOLDER);
    run(Command::new("make")
        .arg("--silent")
        .arg(format!("--directory=/usr/src/{headers}"))
        .arg(format!("M={}", sources.display()))
        .args(["CONFIG_NETDEVSIM=m", "modules"]))?;
    let built = sources.join("netdevsim.ko");
    run(Command::new("strip").arg("--strip-debug").arg(&built))?;
    let content = host::read(&built)?;
    let is_for = Info::of(&content).map(|info| info.version);
    if is_for.as_deref() != Some(release) {
        return Err(format!("it became one for {is_for:?}"));
    }
    fs::create_dir_all(folder).map_err(|e| format!("cannot create `{}`: {e}", folder.display()))?;
    // A file of this name is whole: it is written under another one.
    let partial = module.with_extension(format!("{}.partial", std::process::id()));
    host::write(&partial, &content)?;
    fs::rename(&partial, module).map_err(|e| format!("cannot rename `{}`: {e}", partial.display()))
}

/// The version of an installed package.
fn version(package: &str) -> Option<String> {
    host::output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]))
}

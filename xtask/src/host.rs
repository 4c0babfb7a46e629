//! The machine that we run on: the workspace, the cache, commands, Debian's packages.

use crate::Result;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

/// Root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("xtask is a folder of the workspace")
        .to_path_buf()
}

/// Where downloads and tools live, outside the clone so that the next clone finds them:
/// `$SKBDROP_CACHE`, or `skbdrop` in the user's cache folder.
pub(crate) fn cache() -> PathBuf {
    if let Some(path) = env::var_os("SKBDROP_CACHE").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let base = env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/var/tmp".into())).join(".cache"),
        PathBuf::from,
    );
    base.join("skbdrop")
}

/// Runs `command` with its output on the terminal; fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result {
    let shown = show(command);
    let status = command
        .status()
        .map_err(|e| format!("cannot start `{shown}`: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{shown}` failed: {status}"))
    }
}

/// Runs `command` and gives what it printed; `None` unless it succeeded.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where tracefs belongs.
pub(crate) const TRACEFS: &str = "/sys/kernel/tracing";

/// A command that sees tracefs: in a mount namespace of its own, which goes with it, so that nothing is
/// mounted on the system.
pub(crate) fn with_tracefs(program: &Path) -> Command {
    let script = format!("[ -e {TRACEFS}/events ] || mount -t tracefs none {TRACEFS}; exec \"$@\"");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation=private"])
        .args(["sh", "-ec", &script, "sh"])
        .arg(program);
    command
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

/// The whole of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))
}

/// Writes the whole of a file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result {
    fs::write(path, bytes).map_err(|e| format!("cannot write `{}`: {e}", path.display()))
}

/// A folder in the system's folder of temporary ones, which goes with this value.
#[derive(Debug)]
pub(crate) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// A new one. `name` tells for what.
    pub(crate) fn new(name: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("skbdrop-{name}-{}-{number}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path)
            .map_err(|e| format!("cannot create `{}`: {e}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where a program is: on the path, or in the folders of root's programs.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Sees to it that programs are there, each given with the Debian package that has it.
pub(crate) fn need(programs: &[(&str, &str)]) -> Result {
    let packages: Vec<&str> = programs
        .iter()
        .filter(|(name, _)| program(name).is_none())
        .map(|(_, package)| *package)
        .collect();
    apt_install(&packages)
}

/// A program of cargo's, of this version, from the cache; installs it there if it is missing. `asked` makes it say its
/// version.
pub(crate) fn cargo_installed(name: &str, version: &str, asked: &[&str]) -> Result<PathBuf> {
    let root = cache().join(name);
    let program = root.join("bin").join(name);
    let said = output(Command::new(&program).args(asked));
    if said.is_some_and(|said| said.trim().ends_with(version)) {
        return Ok(program);
    }
    println!(
        "xtask: cargo install {name} {version} into {}",
        root.display()
    );
    // Unoptimised: to build them takes longer than all that they do.
    run(Command::new("cargo")
        .args(["install", "--debug", "--quiet", "--locked", "--force", name])
        .args(["--version", version, "--root"])
        .arg(&root))?;
    Ok(program)
}

/// Sees to it that Rust's standard library is there for this target, by rustup.
pub(crate) fn rust_target(target: &str) -> Result {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = output(Command::new(rustc).args(["--print", "sysroot"]));
    let installed = sysroot.map(|sysroot| {
        let libraries = Path::new(sysroot.trim()).join("lib/rustlib");
        libraries.join(target).exists()
    });
    if installed == Some(true) {
        return Ok(());
    }
    let line = format!("rustup target add {target}");
    if !MAY_INSTALL.load(Ordering::Relaxed) {
        return Err(format!(
            "missing: Rust's standard library for {target}\nby rustup: {line}"
        ));
    }
    println!("xtask: {line}");
    run(Command::new("rustup").args(["target", "add", target]))
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}

/// Whether this run may install packages.
static MAY_INSTALL: AtomicBool = AtomicBool::new(true);

/// From now on what is missing is an error that says how to install it.
pub(crate) fn forbid_installing() {
    MAY_INSTALL.store(false, Ordering::Relaxed);
}

/// Installs those of `packages` that Debian's package manager does not know as installed.
/// Says what it does; where it may not, says what to run.
pub(crate) fn apt_install(packages: &[&str]) -> Result {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!(
        "apt-get install -y --no-install-recommends --no-remove {}",
        missing.join(" ")
    );
    if !MAY_INSTALL.load(Ordering::Relaxed) || !is_root() || !Path::new("/usr/bin/apt-get").exists()
    {
        return Err(format!(
            "missing: {}\nas root on Debian: {line}",
            missing.join(", ")
        ));
    }
    println!("xtask: {line}");
    run(Command::new("apt-get").args(["-qq", "update"]))?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args([
            "-qq",
            "-y",
            "--no-install-recommends",
            // What the user has installed stays, whatever conflicts with it.
            "--no-remove",
            "-o",
            "Dpkg::Use-Pty=0",
            "install",
        ])
        .args(&missing))
}

/// Whether Debian's package manager has it installed.
pub(crate) fn is_installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]))
        .is_some_and(|status| status.ends_with("install ok installed"))
}

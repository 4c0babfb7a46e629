//! `cargo xtask ebpf`: builds the eBPF objects, and proves them fresh: the one that ships in the crate,
//! and the one that the benches compare it with.

use crate::{
    Result,
    host::{self, output, read, run, write},
};
use sha2::{Digest as _, Sha256};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// eBPF of little-endian machines, and of big-endian ones.
const LITTLE: &str = "bpfel";
const BIG: &str = "bpfeb";
/// What is built, each from a package of its own.
const OBJECTS: [Object; 2] = [
    Object {
        package: "skbdrop-ebpf",
        binary: "skbdrop-kfree-skb",
        source: "skbdrop-ebpf",
        folder: "skbdrop/src/backend/ebpf/object",
        name: "skbdrop",
        byte_orders: &[LITTLE, BIG],
    },
    Object {
        package: "skbdrop-benches-ebpf",
        binary: "skbdrop-floor",
        source: "benches/ebpf",
        folder: "benches/floor",
        name: "floor",
        byte_orders: &[LITTLE],
    },
];
/// The linker that turns rustc's bitcode into an eBPF object.
const LINKER_VERSION: &str = "0.13.0";
/// Debian's second Rust, which has a ready-built `core` for BPF.
const DEBIAN: [&str; 4] = [
    "rustc-web",
    "cargo-web",
    "libstd-rust-web-dev-bpf",
    "rust-web-llvm",
];

/// Where eBPF objects of one source come from; folders are in the workspace.
struct Object {
    package: &'static str,
    binary: &'static str,
    /// Folder of the package.
    source: &'static str,
    /// Where the objects go, with `BUILD.txt` beside them.
    folder: &'static str,
    name: &'static str,
    byte_orders: &'static [&'static str],
}

/// An object that was built, and the file that it goes to.
struct Built {
    path: String,
    content: Vec<u8>,
}

impl Object {
    fn build_txt(&self) -> PathBuf {
        host::workspace().join(self.folder).join("BUILD.txt")
    }

    /// The manifest and every source, in order of name.
    fn sources(&self) -> Result<Vec<String>> {
        let mut sources = vec![format!("{}/Cargo.toml", self.source)];
        let mut folders = vec![format!("{}/src", self.source)];
        while let Some(folder) = folders.pop() {
            let path = host::workspace().join(&folder);
            let failed = |e| format!("cannot list `{}`: {e}", path.display());
            for entry in fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                match entry.path().is_dir() {
                    true => folders.push(name),
                    false => sources.push(name),
                }
            }
        }
        sources.sort_unstable();
        Ok(sources)
    }
}

/// Builds the objects and writes them, with their provenance, to where they are used.
pub(crate) fn build() -> Result {
    let toolchain = Toolchain::find()?;
    for object in &OBJECTS {
        let built = toolchain.build_all(object)?;
        let root = host::workspace();
        let folder = root.join(object.folder);
        fs::create_dir_all(&folder)
            .map_err(|e| format!("cannot create `{}`: {e}", folder.display()))?;
        for Built { path, content } in &built {
            write(&root.join(path), content)?;
            println!("xtask: wrote {path} ({} bytes)", content.len());
        }
        write(
            &object.build_txt(),
            toolchain.provenance(object, &built)?.as_bytes(),
        )?;
    }
    Ok(())
}

/// Builds the objects and compares them with the committed ones.
pub(crate) fn check() -> Result {
    let toolchain = Toolchain::find()?;
    for object in &OBJECTS {
        let built = toolchain.build_all(object)?;
        let recorded = read(&object.build_txt())?;
        let expected = toolchain.provenance(object, &built)?;
        let package = object.package;
        for Built { path, content } in &built {
            if read(&host::workspace().join(path))? != *content || recorded != expected.as_bytes() {
                return Err(format!(
                    "{path} is not what {package} builds here\n--- recorded\n{}--- built\n{expected}\
                     remedy: with the recorded tools, run `cargo xtask ebpf` and commit what it wrote",
                    String::from_utf8_lossy(&recorded)
                ));
            }
            println!(
                "xtask: {path} is what {package} builds ({} bytes)",
                content.len()
            );
        }
    }
    Ok(())
}

/// Installs the tools of the build: Debian's packages, and the linker into the cache.
pub(crate) fn install() -> Result {
    if host::is_installed("rustup") && !host::is_installed(DEBIAN[0]) {
        return Err(format!(
            "Debian allows no package `rustup` beside `{}`, which builds the eBPF object\n\
             remedy: rustup by its own installer (https://rustup.rs) in place of the package; \
             what it has installed in ~/.rustup stays",
            DEBIAN[0]
        ));
    }
    host::apt_install(&DEBIAN)?;
    if linker().is_some() {
        return Ok(());
    }
    let llvm = llvm_major(Path::new("/usr/bin/rustc"))
        .ok_or("`/usr/bin/rustc -vV` names no LLVM version (needs Debian's rustc-web)")?;
    host::apt_install(&[&format!("llvm-{llvm}-dev")])?;
    let root = host::cache().join("bpf-linker");
    println!(
        "xtask: cargo install bpf-linker {LINKER_VERSION} into {}",
        root.display()
    );
    let prefix = format!("/usr/lib/llvm-{llvm}");
    run(Command::new("cargo")
        .args([
            "install",
            "--quiet",
            "--locked",
            "bpf-linker",
            "--version",
            LINKER_VERSION,
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{llvm}"),
            "--root",
        ])
        .arg(&root)
        .env("LLVM_PREFIX", &prefix)
        .env(format!("LLVM_SYS_{llvm}1_PREFIX"), &prefix))
}

/// A Rust compiler that can build for BPF, and the linker.
struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    /// Whether `core` has to be built from source: rustup's nightly, not Debian's compiler.
    build_std: bool,
    linker: PathBuf,
}

impl Toolchain {
    /// Debian's compiler if it is there, else rustup's nightly.
    fn find() -> Result<Self> {
        let linker = linker();
        let rust = debian_rust().or_else(rustup_nightly);
        match (rust, linker) {
            (Some((cargo, rustc, build_std)), Some(linker)) => Ok(Self {
                cargo,
                rustc,
                build_std,
                linker,
            }),
            (rust, linker) => {
                let mut missing = String::new();
                if rust.is_none() {
                    missing += "a Rust compiler for BPF, ";
                }
                if linker.is_none() {
                    missing += "bpf-linker, ";
                }
                Err(format!(
                    "cannot build the eBPF object, missing: {}\n\
                     on Debian, as root: cargo xtask ebpf --install (packages {}, llvm-N-dev; bpf-linker by cargo)\n\
                     elsewhere: rustup toolchain install nightly --component rust-src && cargo install bpf-linker --version {LINKER_VERSION}",
                    missing.trim_end_matches(", "),
                    DEBIAN.join(", "),
                ))
            }
        }
    }

    fn build_all(&self, object: &Object) -> Result<Vec<Built>> {
        let build = |byte_order: &&str| {
            Ok(Built {
                path: format!("{}/{}.{byte_order}.o", object.folder, object.name),
                content: self.build(object, &format!("{byte_order}-unknown-none"))?,
            })
        };
        object.byte_orders.iter().map(build).collect()
    }

    fn build(&self, object: &Object, bpf_target: &str) -> Result<Vec<u8>> {
        let root = host::workspace();
        let target = root.join("target/ebpf");
        let cargo_home = env::var_os("CARGO_HOME").map_or_else(
            || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"),
            PathBuf::from,
        );
        // No debug information: the maps need no BTF, and without it the object is a few
        // kilobytes and holds no paths. What paths remain must not differ by machine.
        let flags = [
            "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
            "-Cdebuginfo=0".to_owned(),
            // Operations and comparisons of 32 bits, which every kernel that we load on has.
            "-Ctarget-cpu=v3".to_owned(),
            format!("-Clinker={}", self.linker.display()),
            format!("--remap-path-prefix={}=skbdrop", root.display()),
            format!("--remap-path-prefix={}=cargo", cargo_home.display()),
        ];
        let mut path = OsString::from(self.linker.parent().unwrap_or(Path::new("/")));
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(&self.cargo);
        for (name, _) in env::vars_os() {
            // What the outer cargo set for itself would steer the inner one.
            let name = name.to_string_lossy().into_owned();
            let of_cargo = name.starts_with("CARGO_") || name.starts_with("RUST");
            if of_cargo && name != "CARGO_HOME" && name != "RUSTUP_HOME" {
                command.env_remove(name);
            }
        }
        command
            .current_dir(&root)
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "-p",
                object.package,
                "--bin",
                object.binary,
            ])
            .args(["--target", bpf_target, "--target-dir"])
            .arg(&target)
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env("PATH", path);
        if self.build_std {
            command.args(["-Z", "build-std=core"]);
        }
        run(&mut command)?;
        read(&target.join(bpf_target).join("release").join(object.binary))
    }

    /// What BUILD.txt says: tools, command, digests of sources and objects.
    fn provenance(&self, object: &Object, built: &[Built]) -> Result<String> {
        let root = host::workspace();
        let mut text = String::from("built by: cargo xtask ebpf\n");
        let rustc = output(Command::new(&self.rustc).arg("-vV")).unwrap_or_default();
        for line in rustc
            .lines()
            .filter(|line| line.starts_with("release") || line.starts_with("LLVM"))
        {
            text += &format!("rustc {line}\n");
        }
        let linker = output(Command::new(&self.linker).arg("--version")).unwrap_or_default();
        text += &format!("{}\n", linker.trim());
        for source in object.sources()? {
            text += &format!("sha256 {} {source}\n", digest(&read(&root.join(&source))?));
        }
        for Built { path, content } in built {
            text += &format!("sha256 {} {path}\n", digest(content));
        }
        Ok(text)
    }
}

fn debian_rust() -> Option<(PathBuf, PathBuf, bool)> {
    let (cargo, rustc) = (
        PathBuf::from("/usr/bin/cargo"),
        PathBuf::from("/usr/bin/rustc"),
    );
    let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib");
    let has_core = [LITTLE, BIG].iter().all(|byte_order| {
        let core = libraries.join(format!("{byte_order}-unknown-none"));
        core.exists()
    });
    (has_core && cargo.exists()).then_some((cargo, rustc, false))
}

fn rustup_nightly() -> Option<(PathBuf, PathBuf, bool)> {
    let which = |tool| {
        output(Command::new("rustup").args(["which", "--toolchain", "nightly", tool]))
            .map(|path| PathBuf::from(path.trim()))
    };
    let (cargo, rustc) = (which("cargo")?, which("rustc")?);
    let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    source.exists().then_some((cargo, rustc, true))
}

/// bpf-linker of the pinned version: in the cache, or on the path.
fn linker() -> Option<PathBuf> {
    let mut candidates = vec![host::cache().join("bpf-linker/bin/bpf-linker")];
    if let Some(path) = env::var_os("PATH") {
        candidates.extend(env::split_paths(&path).map(|folder| folder.join("bpf-linker")));
    }
    candidates.into_iter().find(|path| {
        output(Command::new(path).arg("--version"))
            .is_some_and(|version| version.trim().ends_with(LINKER_VERSION))
    })
}

fn llvm_major(rustc: &Path) -> Option<String> {
    let version = output(Command::new(rustc).arg("-vV"))?;
    let line = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    Some(line.split('.').next()?.to_owned())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

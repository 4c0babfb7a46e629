//! `cargo xtask facts`: what kernels say of drop reasons, recorded as fixtures of the resolver's tests.

use crate::{
    Result,
    architecture::Architecture,
    executables,
    guest::Guest,
    host::{self, TemporaryFolder, run as run_command},
    kernel::Kernel,
    modules,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Modules that declare reasons of their own, after one that openvswitch needs and cannot name: its
/// checksum is asked for by the checksum's name.
const MODULES: [&str; 3] = ["crc32c_generic", "mac80211", "openvswitch"];
/// The independent reader of BTF.
const BPFTOOL: (&str, &str) = ("bpftool", "bpftool");
/// A dump of a kernel's BTF takes a while in an emulated machine, and there is one for each module.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Records what each of these kernels says.
pub(crate) fn run(kernels: &[&str]) -> Result {
    if kernels.is_empty() {
        return Err("no kernel: `cargo xtask facts running`, or a name of \
                    `cargo xtask kernels --list`, or SUITE/PACKAGE of Debian"
            .to_owned());
    }
    let fixtures = host::workspace().join("tests/fixtures");
    for &name in kernels {
        println!("xtask: facts of {name}");
        if name == "running" {
            host::need(&[BPFTOOL])?;
            let recorder = recorder(Architecture::own()?)?;
            run_command(host::with_tracefs(&recorder).arg(&fixtures))?;
        } else {
            in_guest(fetch(name)?, &fixtures)?;
        }
    }
    Ok(())
}

/// A kernel's image, and its modules if they are there.
type Fetched = (&'static Architecture, PathBuf, Option<PathBuf>);

fn fetch(name: &str) -> Result<Fetched> {
    if let Some((suite, package)) = name.split_once('/') {
        let (image, modules) = Kernel::package(suite, package)?;
        return Ok((Architecture::own()?, image, modules));
    }
    let kernel = Kernel::fetch(name)?;
    Ok((kernel.architecture, kernel.image, Some(kernel.modules)))
}

fn recorder(architecture: &'static Architecture) -> Result<PathBuf> {
    executables::build_program("facts", architecture)
}

/// Boots the kernel, and takes what the recorder writes there out of the guest as an archive.
fn in_guest((architecture, image, folder): Fetched, fixtures: &Path) -> Result {
    let there = folder
        .as_deref()
        .map_or(Ok(BTreeMap::new()), modules::by_name)?;
    let modules = MODULES.iter().filter(|&&module| there.contains_key(module));
    let modules: Vec<String> = modules.map(|&module| module.to_owned()).collect();
    let script = if modules.is_empty() {
        RECORD.to_owned()
    } else {
        format!("modprobe -a {} && {RECORD}", modules.join(" "))
    };
    let programs = Guest::programs(architecture, &[BPFTOOL])?;
    let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let mut guest = Guest::new(programs, image, command);
    guest.modules = folder.filter(|_| !modules.is_empty());
    guest.only_modules = modules;
    guest.timeout = TIMEOUT;
    let recorder = recorder(architecture)?;
    guest.files.push((recorder, "/facts".to_owned()));
    let mut output = Vec::new();
    let status = guest.run(&mut output)?;
    if status != 0 {
        let said = String::from_utf8_lossy(&output);
        return Err(format!("the guest's script ended with {status}:\n{said}"));
    }
    let folder = TemporaryFolder::new("facts")?;
    let archive = folder.path().join("tar");
    host::write(&archive, &output)?;
    run_command(
        Command::new("tar")
            .args(["--extract", "--verbose", "--no-same-owner", "--file"])
            .arg(archive)
            .arg("--directory")
            .arg(fixtures),
    )
}

/// What the guest runs when the modules are loaded.
const RECORD: &str = "/facts /out && cd /out && tar -c *";

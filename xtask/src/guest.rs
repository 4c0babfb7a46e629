//! A guest: a kernel and a first root that we write, booted in QEMU for one command.

use crate::{
    Result,
    architecture::Architecture,
    cpio::Tree,
    host::{self, TemporaryFolder},
    machine::Machine,
    modules::Modules,
    programs::Programs,
    qemu::Qemu,
};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

/// What to boot and what to run in it.
#[derive(Debug)]
pub(crate) struct Guest {
    /// What it has beside its files, for the architecture that it is of.
    pub(crate) programs: Programs,
    /// The kernel's image.
    pub(crate) kernel: PathBuf,
    /// A folder with the kernel's modules.
    pub(crate) modules: Option<PathBuf>,
    /// Names of those that are needed; all of them if there are none.
    pub(crate) only_modules: Vec<String>,
    /// More words for the kernel's command line.
    pub(crate) append: String,
    /// Files of the host, and where they are in the guest.
    pub(crate) files: Vec<(PathBuf, String)>,
    /// Megabytes.
    pub(crate) memory: u32,
    /// How long boot and command may take together.
    pub(crate) timeout: Duration,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
}

impl Guest {
    /// `programs` are from [`Guest::programs`].
    pub(crate) fn new(programs: Programs, kernel: PathBuf, command: Vec<String>) -> Self {
        Self {
            programs,
            kernel,
            modules: None,
            only_modules: Vec::new(),
            append: String::new(),
            files: Vec::new(),
            // Twice the modules of a kernel (packed in the archive, unpacked in the root) and ample.
            memory: 1024,
            // A boot takes some ten seconds; what comes first here is a guest that hangs.
            timeout: Duration::from_secs(120),
            command,
        }
    }

    /// Sees to it that there is what every guest of this architecture needs, and these programs, each given with the
    /// Debian package that has it.
    pub(crate) fn programs(
        architecture: &'static Architecture,
        more: &[(&'static str, &'static str)],
    ) -> Result<Programs> {
        // This machine's busybox tells the names of what is in the guest's.
        host::need(&[BUSYBOX])?;
        // Before guests run at once, which find it there then.
        Qemu::find(&architecture.machine)?;
        let needed = [more, &STARTERS, &[BUSYBOX]].concat();
        Programs::fetch(architecture, &needed)
    }

    /// Boots, hands the command's output to `out` as it comes, and gives its exit status.
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<u8> {
        // Nothing that a command prints by chance can be taken for our own lines.
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let mark = format!("skbdrop-guest-{:x}", now.as_nanos());
        let folder = TemporaryFolder::new("guest")?;
        let initrd = folder.path().join("initrd");
        self.write_root(&initrd, &mark)?;
        let mut machine = Machine::start(self, &initrd, &folder.path().join("console"))?;
        machine
            .follow(&mark, self.timeout, out)
            .map_err(|why| format!("{}: {why}", self.kernel.display()))
    }

    /// The archive with everything that is in the guest.
    fn write_root(&self, path: &Path, mark: &str) -> Result {
        let mut tree = Tree::new();
        for folder in ["/dev", "/proc", "/run", "/sys", "/tmp", "/root"] {
            tree.folder(folder);
        }
        // The first process's standard streams, before it has mounted /dev.
        tree.device("/dev/console", 5, 1);
        tree.file("/etc/passwd", 0o644, PASSWD.into());
        tree.file("/etc/group", 0o644, GROUP.into());
        tree.file("/etc/hosts", 0o644, HOSTS.into());
        // Where programs that are older than /run look for it.
        tree.link("/var/run", "/run");
        tree.file("/init", 0o755, self.init(mark).into_bytes());
        for (file, place) in &self.files {
            self.programs.add_file(&mut tree, file, place)?;
        }
        if let Some(folder) = &self.modules {
            let modules = if self.only_modules.is_empty() {
                Modules::read(folder)?
            } else {
                Modules::read_only(folder, &self.only_modules)?
            };
            modules.add_to(&mut tree);
        }
        self.programs.add_to(&mut tree)?;
        link_busybox(&mut tree)?;
        let failed = |e| format!("cannot write `{}`: {e}", path.display());
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        tree.write(&mut file).map_err(failed)?;
        file.flush().map_err(failed)
    }

    fn init(&self, mark: &str) -> String {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        INIT.replace("{MARK}", mark)
            .replace("{PORT}", self.programs.architecture.machine.command)
            .replace("{COMMAND}", &words.join(" "))
    }
}

/// Busybox under each of its names that no other program has.
fn link_busybox(tree: &mut Tree) -> Result {
    let (busybox, _) = BUSYBOX;
    let names = host::output(Command::new(busybox).arg("--list-full"))
        .ok_or("`busybox --list-full` failed")?;
    for path in names.lines() {
        let name = path.rsplit('/').next().unwrap_or(path);
        if path.contains('/') && !tree.has_program(name) {
            tree.link(path, "/usr/bin/busybox");
        }
    }
    Ok(())
}

/// A word that the shell takes as it is.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

const BUSYBOX: (&str, &str) = ("busybox", "busybox-static");

/// Programs that start others by name, and are no part of busybox in the guest: Debian's starts what it has in itself
/// even where the path leads to another program of that name.
const STARTERS: [(&str, &str); 13] = [
    ("chroot", "coreutils"),
    ("env", "coreutils"),
    ("find", "findutils"),
    ("nice", "coreutils"),
    ("nohup", "coreutils"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("sh", "dash"),
    ("taskset", "util-linux"),
    ("timeout", "coreutils"),
    ("unshare", "util-linux"),
    ("xargs", "findutils"),
];

/// The first process. The root is in memory, so that /run and /tmp need no file system of their own,
/// which would hide the files that the host has there. The command's output goes through a pipe, as in
/// a script of the host: what it prints does not depend on a terminal. What it leaves running may
/// hold the pipe open; that is given a moment to end.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t tracefs none /sys/kernel/tracing
mount -t bpf none /sys/fs/bpf
mount -t cgroup2 none /sys/fs/cgroup
chmod 1777 /tmp /dev/shm
ip link set lo up
stty raw -echo <>/dev/{PORT}
exec 3>/dev/{PORT}
mkfifo /run/output
cat /run/output >&3 3>&- &
cat=$!
echo {MARK} >&3
(exec 3>&-; exec {COMMAND}) </dev/null >/run/output 2>&1
status=$?
(sleep 2; kill $cat) 2>/dev/null 3>&- &
wait $cat
printf '\n%s %d\n' {MARK} $status >&3
exec 3>&-
poweroff -f
"#;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_command_unchanged() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}

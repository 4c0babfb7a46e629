//! A guest: a kernel and a first root that we write, booted in QEMU for one command.

use crate::{
    Result,
    cpio::Tree,
    host::{self, TemporaryFolder},
    ldd,
    modules::Modules,
};
use std::{
    fs::{self, File},
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// What to boot and what to run in it.
#[derive(Debug)]
pub(crate) struct Guest {
    /// A bzImage.
    pub(crate) kernel: PathBuf,
    /// A folder with the kernel's modules.
    pub(crate) modules: Option<PathBuf>,
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
    pub(crate) fn new(kernel: PathBuf, command: Vec<String>) -> Self {
        Self {
            kernel,
            modules: None,
            append: String::new(),
            files: Vec::new(),
            // Twice the modules of a kernel (packed in the archive, unpacked in the root) and ample.
            memory: 1024,
            // A boot takes some ten seconds; what comes first here is a guest that hangs.
            timeout: Duration::from_secs(120),
            command,
        }
    }

    /// Boots, hands the command's output to `out` as it comes, and gives its exit status.
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<u8> {
        host::need(&[
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("busybox", "busybox-static"),
        ])?;
        // Nothing that a command prints by chance can be taken for our own lines.
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let mark = format!("skbdrop-guest-{:x}", now.as_nanos());
        let folder = TemporaryFolder::new("guest")?;
        let initrd = folder.path().join("initrd");
        let console = folder.path().join("console");
        self.write_root(&initrd, &mark)?;
        let machine = Machine::start(self, &initrd, &console)?;
        let status = self.follow(&machine, &mark, &initrd, out);
        drop(machine);
        status.map_err(|why| {
            let log = fs::read(&console).unwrap_or_default();
            format!(
                "{}: {why}; the console's last lines:\n{}",
                self.kernel.display(),
                tail(&String::from_utf8_lossy(&log))
            )
        })
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
        tree.file("/init", 0o755, self.init(mark).into_bytes());
        for (file, place) in &self.files {
            ldd::add_file(&mut tree, file, place)?;
        }
        if let Some(folder) = &self.modules {
            Modules::read(folder)?.add_to(&mut tree);
        }
        add_busybox(&mut tree)?;
        let failed = |e| format!("cannot write `{}`: {e}", path.display());
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        tree.write(&mut file).map_err(failed)?;
        file.flush().map_err(failed)
    }

    fn init(&self, mark: &str) -> String {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        INIT.replace("{MARK}", mark)
            .replace("{COMMAND}", &words.join(" "))
    }

    /// Reads the output up to the command's status.
    fn follow(
        &self,
        machine: &Machine,
        mark: &str,
        initrd: &Path,
        out: &mut dyn Write,
    ) -> Result<u8> {
        let deadline = Instant::now() + self.timeout;
        let mut output = Output::new(mark);
        let mut show = |text: &[u8]| {
            out.write_all(text)
                .and_then(|()| out.flush())
                .map_err(|e| format!("cannot write the output: {e}"))
        };
        loop {
            let bytes = machine
                .output
                .recv_timeout(deadline.saturating_duration_since(Instant::now()));
            match bytes {
                Ok(bytes) => {
                    let (text, status) = output.push(&bytes);
                    show(&text)?;
                    if output.started {
                        // It is large, and whoever interrupts us now leaves less behind.
                        let _ = fs::remove_file(initrd);
                    }
                    if let Some(status) = status {
                        return Ok(status);
                    }
                }
                Err(why) => {
                    if output.started {
                        // What might have been the mark's beginning.
                        show(&output.held)?;
                    }
                    let what = if output.started {
                        "the command did not end"
                    } else {
                        "the kernel did not come up"
                    };
                    return Err(match why {
                        RecvTimeoutError::Timeout => {
                            format!("{what} within {} s", self.timeout.as_secs())
                        }
                        RecvTimeoutError::Disconnected => format!("{what}, the machine stopped"),
                    });
                }
            }
        }
    }
}

/// A running QEMU, ended with this value.
struct Machine {
    process: Child,
    output: mpsc::Receiver<Vec<u8>>,
}

impl Machine {
    fn start(guest: &Guest, initrd: &Path, console: &Path) -> Result<Self> {
        let mut command = Command::new("qemu-system-x86_64");
        command
            // Emulated everywhere, so that what is slow or racy here is so for everyone.
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args(["-m", &guest.memory.to_string()])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            // The first serial port is the kernel's, the second the command's.
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(&guest.kernel)
            .arg("-initrd")
            .arg(initrd)
            .arg("-append")
            // A panic ends the machine at once (see -no-reboot).
            .arg(format!("console=ttyS0 quiet panic=-1 {}", guest.append))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = command
            .spawn()
            .map_err(|e| format!("cannot start `qemu-system-x86_64`: {e}"))?;
        let mut stdout = process.stdout.take().expect("it was asked to be piped");
        let (send, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, output })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Takes the command's output out of what the guest sent: after a line that is the mark, up to a
/// line that is the mark and the status.
#[derive(Debug)]
struct Output {
    mark: String,
    started: bool,
    held: Vec<u8>,
}

impl Output {
    fn new(mark: &str) -> Self {
        Self {
            mark: mark.to_owned(),
            started: false,
            held: Vec::new(),
        }
    }

    /// What of the output is certain with these bytes, and the status if they bring it.
    fn push(&mut self, bytes: &[u8]) -> (Vec<u8>, Option<u8>) {
        self.held.extend(bytes);
        if !self.started {
            let line = format!("{}\n", self.mark);
            let Some(at) = position(&self.held, line.as_bytes()) else {
                return (Vec::new(), None);
            };
            self.held.drain(..at + line.len());
            self.started = true;
        }
        let last = format!("\n{} ", self.mark);
        if let Some(at) = position(&self.held, last.as_bytes()) {
            let status = &self.held[at + last.len()..];
            let status = status.strip_suffix(b"\n").map(String::from_utf8_lossy);
            return match status.and_then(|status| status.parse().ok()) {
                Some(status) => {
                    self.held.truncate(at);
                    (std::mem::take(&mut self.held), Some(status))
                }
                None => (self.held.drain(..at).collect(), None),
            };
        }
        // The end may be the mark's beginning.
        let certain = (0..last.len())
            .map(|length| self.held.len().saturating_sub(length))
            .rfind(|&at| last.as_bytes().starts_with(&self.held[at..]))
            .unwrap_or(self.held.len());
        (self.held.drain(..certain).collect(), None)
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// Busybox under each of its names that no file given has.
fn add_busybox(tree: &mut Tree) -> Result {
    let busybox = host::program("busybox").ok_or("`busybox` is not on the path")?;
    let names = host::output(Command::new(&busybox).arg("--list-full"))
        .ok_or("`busybox --list-full` failed")?;
    ldd::add_file(tree, &busybox, "/usr/bin/busybox")?;
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

/// The end of a console's log, without the carriage returns of a serial line.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim_end).collect();
    let tail = &lines[lines.len().saturating_sub(TAIL)..];
    if tail.is_empty() {
        "(nothing)".to_owned()
    } else {
        tail.join("\n")
    }
}

/// Lines of the console shown with an error: a panic with its call trace is some forty.
const TAIL: usize = 60;

/// The first process. The command's output goes through a pipe, as it does in a script of the host:
/// what it prints does not depend on a terminal. What it leaves running may hold the pipe open; that
/// is given a moment to end.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
chmod 1777 /tmp
mount -t tracefs none /sys/kernel/tracing
mount -t bpf none /sys/fs/bpf
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
stty raw -echo <>/dev/ttyS1
exec 3>/dev/ttyS1
mkfifo /run/output
cat /run/output >&3 3>&- &
echo {MARK} >&3
(exec 3>&-; exec {COMMAND}) </dev/null >/run/output 2>&1
status=$?
(sleep 2; kill $!) 2>/dev/null 3>&- &
wait $!
printf '\n%s %d\n' {MARK} $status >&3
exec 3>&-
poweroff -f
"#;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_is_the_same_however_it_is_cut() {
        let stream = b"noise\nMARK\none\n\nMAR\ntwo\nMARK 30\n";
        for size in 1..=stream.len() {
            let mut output = Output::new("MARK");
            let (mut text, mut status) = (Vec::new(), None);
            for piece in stream.chunks(size) {
                let (more, end) = output.push(piece);
                text.extend(more);
                status = status.or(end);
            }
            assert_eq!(String::from_utf8(text).unwrap(), "one\n\nMAR\ntwo");
            assert_eq!(status, Some(30), "in pieces of {size}");
        }
    }

    #[test]
    fn output_is_shown_before_the_command_ends() {
        let mut output = Output::new("MARK");
        assert_eq!(output.push(b"MARK\none"), (b"one".to_vec(), None));
        assert_eq!(output.push(b" and two\n"), (b" and two".to_vec(), None));
        assert_eq!(output.push(b"three"), (b"\nthree".to_vec(), None));
    }

    #[test]
    fn words_reach_the_command_unchanged() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn the_tail_is_the_end() {
        let log: String = (0..100).map(|n| format!("line {n}\r\n")).collect();
        let tail = tail(&log);
        assert!(tail.starts_with("line 40\nline 41\n") && tail.ends_with("line 99"));
    }
}

//! QEMU with one guest in it: its start, its output, its end.

use crate::{Result, guest::Guest, qemu::Qemu};
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// A running QEMU, ended with this value.
#[derive(Debug)]
pub(crate) struct Machine {
    process: Child,
    output: mpsc::Receiver<Vec<u8>>,
    initrd: PathBuf,
    console: PathBuf,
}

impl Machine {
    /// Boots `guest` with the archive `initrd`; the kernel's log goes to the file `console`.
    pub(crate) fn start(guest: &Guest, initrd: &Path, console: &Path) -> Result<Self> {
        let emulator = &guest.programs.architecture.machine;
        let (program, _) = emulator.program;
        let mut command = Qemu::find(emulator)?.command();
        command
            // Emulated everywhere, so that what is slow or racy here is so for everyone. Both
            // processors in one thread: with two, one executes what the other has just written
            // over in the kernel's code, and switching a tracepoint under a flood of drops ends in
            // `Oops: int3` within seconds.
            .args(["-accel", "tcg,thread=single", "-smp", "2"])
            .args(["-m", &guest.memory.to_string()])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            // The first serial port is the kernel's, the second the command's.
            .arg("-chardev")
            .arg(format!(
                "file,id=console,path={}",
                console.display().to_string().replace(',', ",,")
            ))
            .args(["-chardev", "stdio,id=command,signal=off"])
            .args(emulator.arguments)
            .arg("-kernel")
            .arg(&guest.kernel)
            .arg("-initrd")
            .arg(initrd)
            .arg("-append")
            // A panic ends the machine at once (see -no-reboot).
            .arg(format!(
                "{} quiet panic=-1 {}",
                emulator.append, guest.append
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = command
            .spawn()
            .map_err(|e| format!("cannot start `{program}`: {e}"))?;
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
        Ok(Self {
            process,
            output,
            initrd: initrd.to_path_buf(),
            console: console.to_path_buf(),
        })
    }

    /// Hands the command's output to `out` as it comes, and gives the status. An error has the end
    /// of the kernel's log.
    pub(crate) fn follow(
        &mut self,
        mark: &str,
        timeout: Duration,
        out: &mut dyn Write,
    ) -> Result<u8> {
        let deadline = Instant::now() + timeout;
        let mut output = Output::new(mark);
        let mut show = |text: &[u8]| {
            out.write_all(text)
                .and_then(|()| out.flush())
                .map_err(|e| format!("cannot write the output: {e}"))
        };
        let ended = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = match self.output.recv_timeout(left) {
                Ok(bytes) => bytes,
                Err(RecvTimeoutError::Timeout) => break format!("after {} s", timeout.as_secs()),
                Err(RecvTimeoutError::Disconnected) => break "and the machine stopped".to_owned(),
            };
            let (text, status) = output.push(&bytes);
            show(&text)?;
            if output.started {
                // It is large, and whoever interrupts us now leaves less behind.
                let _ = fs::remove_file(&self.initrd);
            }
            if let Some(status) = status {
                return Ok(status);
            }
        };
        let what = if output.started {
            // What might have been the mark's beginning.
            show(&output.held)?;
            "the command has not ended"
        } else {
            "the kernel has not come up"
        };
        let log = fs::read(&self.console).unwrap_or_default();
        let tail = tail(&String::from_utf8_lossy(&log));
        Err(format!("{what} {ended}; the console's last lines:\n{tail}"))
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

/// Lines of the console shown with an error: an oops and the panic that follows are some hundred.
const TAIL: usize = 150;

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
    fn the_tail_is_the_end() {
        let log: String = (0..200).map(|n| format!("line {n}\r\n")).collect();
        let tail = tail(&log);
        assert!(tail.starts_with("line 50\nline 51\n") && tail.ends_with("line 199"));
    }
}

//! A program on a terminal of 80 columns and 24 rows.

use crate::{PATIENCE, run};
use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

/// A running one. What it writes is kept as it comes, escape sequences and all.
pub struct Terminal {
    script: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    /// Starts a program with these arguments, separated by blanks, and changes of its environment. The terminal is
    /// util-linux's `script`.
    #[must_use]
    pub fn start(program: &Path, arguments: &str, environment: &[(&str, &str)]) -> Self {
        let program = program.display();
        let line = format!("stty rows 24 cols 80; exec {program} {arguments}");
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux has `script`");
        let mut stdout = script.stdout.take().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            keys: script.stdin.take().unwrap(),
            script,
            output,
            shown: Vec::new(),
        }
    }

    /// Waits until this has been written.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown().contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.shown.extend(bytes),
                Err(e) => panic!("`{text}` did not come ({e}): {}", self.shown()),
            }
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Sends a signal to the program, by the signal's name.
    pub fn signal(&self, name: &str) {
        let id = self.script.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        run("kill", &["-s", name, children.trim()]);
    }

    /// Waits until the program ends; its status, and all that it has written.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        // Its end closes the output.
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.shown.extend(bytes),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(e) => panic!("it does not end ({e}): {}", self.shown()),
            }
        }
        (self.script.wait().unwrap(), self.shown())
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // After a test that failed; its program's terminal goes with it, and so it ends as well.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

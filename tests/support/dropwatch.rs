//! dropwatch: a foreign program at drop_monitor, which knows nothing of us.

use crate::{drop_monitor, run};
use std::{
    fs::{self, File},
    io::Write as _,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

/// A running one, in packet mode.
pub struct Dropwatch {
    child: Child,
    input: ChildStdin,
}

impl Dropwatch {
    /// Started, after these commands of its own; or refused, if drop_monitor is on already.
    #[must_use]
    pub fn start(commands: &[&str]) -> Self {
        let log = File::create(LOG).unwrap();
        let mut child = Command::new("dropwatch")
            .args(["-l", "kas"])
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // It shows no prompt that could be waited for.
        let mut say = |command: &str| {
            writeln!(input, "{command}").unwrap();
            std::thread::sleep(Duration::from_secs(1));
        };
        if !drop_monitor::state().1 {
            say("set alertmode packet");
        }
        for command in commands {
            say(command);
        }
        say("start");
        std::thread::sleep(Duration::from_secs(1));
        Self { child, input }
    }

    /// What it has printed, which it does in blocks: before this there may be nothing.
    #[must_use]
    pub fn stop(mut self) -> String {
        if self.child.try_wait().unwrap().is_none() {
            // While it shows drops it reads no commands, and this is how to stop it.
            run("kill", &["-INT", &self.child.id().to_string()]);
            std::thread::sleep(Duration::from_millis(500));
            writeln!(self.input, "exit").unwrap();
        }
        self.child.wait().unwrap();
        fs::read_to_string(LOG).unwrap()
    }
}

impl Drop for Dropwatch {
    fn drop(&mut self) {
        // A test that failed leaves no listener to the next.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LOG: &str = "/tmp/dropwatch.log";

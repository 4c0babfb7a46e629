//! dropwatch: a foreign program at drop_monitor, which knows nothing of us.

use crate::{PATIENCE, drop_monitor, run};
use std::{
    fs::{self, File},
    io::Write as _,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
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

    /// Waits until it has shown so many drops.
    pub fn expect(&self, drops: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = fs::read_to_string(LOG).unwrap();
            if shown.matches("drop at: ").count() >= drops {
                break;
            }
            assert!(Instant::now() < deadline, "it was cut off: {shown}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What it has printed.
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

const LOG: &str = "/tmp/dropwatch.log";

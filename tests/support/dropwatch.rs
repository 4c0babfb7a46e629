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
            // The zone of the times that it prints.
            .env("TZ", "UTC")
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

/// What it prints of one drop.
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a>(&'a str);

/// All of them in what it printed.
pub fn alerts(printed: &str) -> impl Iterator<Item = Alert<'_>> {
    printed.split("drop at: ").skip(1).map(Alert)
}

impl<'a> Alert<'a> {
    /// `symbol+0xoffset/0xlength [module] (0xaddress)`, or `trap (group)`.
    #[must_use]
    pub fn place(self) -> &'a str {
        self.0.lines().next().unwrap()
    }

    /// The lines `NAME: VALUE` after the first.
    pub fn lines(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let lines = self.0.lines().skip(1);
        lines.filter_map(|line| line.split_once(": "))
    }

    /// What follows `NAME: `, if it has such a line.
    #[must_use]
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.lines()
            .find_map(|(it, value)| (it == name).then_some(value))
    }

    /// Since midnight in UTC: `timestamp: Wed Nov 25 17:17:31 2026 862276980 nsec`.
    #[must_use]
    pub fn time_of_day(self) -> Duration {
        let words: Vec<&str> = self
            .value("timestamp")
            .unwrap()
            .split_whitespace()
            .collect();
        let clock = words.iter().find(|word| word.contains(':')).unwrap();
        let seconds = clock
            .split(':')
            .fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap());
        Duration::new(seconds, words[words.len() - 2].parse().unwrap())
    }
}

const LOG: &str = "/tmp/dropwatch.log";

//! `examples/agent` as a service manager runs it.
#![allow(clippy::unwrap_used)] // tests panic

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Instant,
};
use support::netns::NetNs;

struct Agent {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Agent {
    /// Started, and seeing drops.
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(support::example("agent"))
            .args(arguments)
            .args(["--every", "0.2"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut agent = Self { child, lines };
        // It tells its numbers once the monitor is open.
        agent.line();
        agent
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it has ended");
        line
    }

    /// Until it tells such numbers.
    fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + 6 * support::PATIENCE;
        loop {
            let line = self.line();
            if wanted(&line) {
                break;
            }
            assert!(Instant::now() < deadline, "still {line}");
        }
    }

    /// Asks it to end; what it still says. It must end well.
    fn terminate(mut self) -> String {
        support::run("kill", &[&self.child.id().to_string()]);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut text).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {text}");
        text
    }
}

/// The number that follows a word.
fn after(text: &str, word: &str) -> u64 {
    let (_, rest) = text
        .rsplit_once(word)
        .unwrap_or_else(|| panic!("no `{word}` in {text}"));
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    number.parse().unwrap()
}

/// What it has handled of a namespace, which is the last column.
fn of_netns(text: &str, netns: &NetNs) -> u64 {
    let end = format!("  NO_SOCKET in netns {}", netns.inode);
    let line = text.lines().find(|line| line.ends_with(&end));
    let line = line.unwrap_or_else(|| panic!("no `{end}` in {text}"));
    line.trim_end_matches(&end).trim().parse().unwrap()
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn all_is_handled_before_it_ends() {
    let netns = NetNs::new();
    let agent = Agent::start(&[]);
    let sent = 20_000;
    netns.run(move || support::drops::flood(sent));
    let text = agent.terminate();
    let (received, lost) = (after(&text, "received "), after(&text, ", lost "));
    assert_eq!(after(&text, "handled "), received, "{text}");
    let missing = sent as u64 - of_netns(&text, &netns);
    // Other drops of the machine may be among the lost.
    assert!(missing <= lost, "{missing} missing: {text}");
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn what_a_slow_worker_does_not_get_is_counted() {
    let netns = NetNs::new();
    let mut agent = Agent::start(&["--work", "0.001", "--buffer", "1048576", "--grace", "120"]);
    let sent = 10_000;
    netns.run(move || support::drops::flood(sent));
    // The queue is full, and so is the kernel's buffer.
    agent.wait_for(|line| after(line, "waiting ") == 1024 && after(line, ", lost ") > 0);
    // The next that find room tell of those that did not.
    let more = 10;
    agent.wait_for(|line| after(line, "waiting ") == 0);
    netns.run(move || support::drops::flood(more));
    let sent = sent + more;
    let text = agent.terminate();
    let (received, lost) = (after(&text, "received "), after(&text, ", lost "));
    assert_eq!(after(&text, "handled "), received, "{text}");
    let missing = sent as u64 - of_netns(&text, &netns);
    // Other drops of the machine may be among the lost.
    assert!(0 < missing && missing <= lost, "{missing} missing: {text}");
    let told = after(&text, "told of ");
    assert!(0 < told && told <= lost, "{text}");
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_grace_that_is_too_short_is_an_error() {
    let netns = NetNs::new();
    let mut agent = Agent::start(&["--work", "1", "--grace", "0.1"]);
    netns.run(|| support::drops::flood(100));
    agent.wait_for(|line| after(line, "received ") >= 100);
    support::run("kill", &[&agent.child.id().to_string()]);
    assert_eq!(agent.child.wait().unwrap().code(), Some(1));
}

#[test]
fn what_cannot_be_opened_is_told_at_once() {
    let output = Command::new(support::example("agent"))
        .args(["--buffer", "99999999999"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("at most 1 GiB"), "{errors}");
}

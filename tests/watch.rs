//! `examples/watch` as a person or a script runs it.
#![allow(clippy::unwrap_used)] // tests panic

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Lines, Read as _},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};
use support::terminal::Terminal;

fn watch(arguments: &[&str]) -> Output {
    Command::new(support::example("watch"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn demo_shows_drops_and_a_summary() {
    let output = watch(&["--demo", "--seconds", "2"]);
    let text = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let lines = text
        .lines()
        .filter(|line| line.contains(" NO_SOCKET at ") && line.contains("127.0.0.1:"));
    assert!(lines.count() >= 5, "{text}");
    assert!(
        text.contains("REASON") && text.contains("LOCATION") && text.contains("0 lost"),
        "{text}"
    );
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn json_is_an_object_a_line_with_the_promised_keys() {
    let output = watch(&[
        "--demo",
        "--count",
        "3",
        "--json",
        "--snaplen",
        "64",
        "--backend",
        "ebpf",
    ]);
    assert!(output.status.success(), "{output:?}");
    let text = text(&output.stdout);
    let objects: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 3);
    for object in &objects {
        let keys: BTreeSet<&str> = object
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        for key in [
            "timestamp_ns",
            "wall_time",
            "reason",
            "location",
            "protocol",
            "length",
            "src",
            "dst",
            "ifindex",
            "ifname",
            "cpu",
            "pid",
            "comm",
            "backend",
            "lost_before",
        ] {
            assert!(keys.contains(key), "{key} is not in {object}");
        }
        for key in ["name", "raw", "subsystem"] {
            assert!(object["reason"].get(key).is_some(), "{object}");
        }
        for key in ["address", "symbol", "offset", "module"] {
            assert!(object["location"].get(key).is_some(), "{object}");
        }
    }
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn each_reason_is_explained_once() {
    let output = watch(&["--demo", "--seconds", "2", "--explain"]);
    let text = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.matches(" NO_SOCKET at ").count() >= 5, "{text}");
    let explanation = skbdrop::explain("NO_SOCKET").unwrap().to_string();
    let first = explanation.lines().next().unwrap();
    let told = format!("    {first}\n");
    assert_eq!(text.matches(&told).count(), 1, "{text}");
    let (before, _) = text.split_once(&told).unwrap();
    let line = before.lines().last().unwrap();
    assert!(line.contains(" NO_SOCKET at "), "{text}");
    assert_eq!(before.matches(" NO_SOCKET at ").count(), 1, "{text}");
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn the_stack_is_below_the_line() {
    let output = watch(&["--demo", "--seconds", "2", "--stack"]);
    let text = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let (_, after) = text
        .split_once(" NO_SOCKET at __udp4_lib_rcv")
        .unwrap_or_else(|| panic!("no drop: {text}"));
    let stack = after
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("    "));
    let stack: Vec<&str> = stack.map(str::trim).collect();
    assert!(stack[0].starts_with("__udp4_lib_rcv+"), "{stack:?}");
    // Where the call came from.
    assert!(
        stack.iter().any(|place| place.starts_with("udp_sendmsg+")),
        "{stack:?}"
    );
}

/// What makes the reason of a demo's drop red.
const RED: &str = "\x1b[31mNO_SOCKET\x1b[0m at ";

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn colour_is_for_terminals_and_who_asks_for_it() {
    let demo = |color: &str| text(&watch(&["--demo", "--seconds", "1", "--color", color]).stdout);
    assert!(demo("always").contains(RED));
    for color in ["auto", "never"] {
        let text = demo(color);
        assert!(
            text.contains("NO_SOCKET") && !text.contains('\x1b'),
            "{text}"
        );
    }
    let on_terminal = |environment: &[(&str, &str)]| {
        let program = support::example("watch");
        let watch = Terminal::start(&program, "--demo --seconds 1", environment);
        let (status, text) = watch.end();
        assert!(status.success(), "{status}: {text}");
        text
    };
    assert!(on_terminal(&[]).contains(RED));
    let text = on_terminal(&[("NO_COLOR", "1")]);
    assert!(
        text.contains("NO_SOCKET") && !text.contains('\x1b'),
        "{text}"
    );
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_reader_that_leaves_ends_it() {
    let mut running = Running::start(&[]);
    // What is written next finds no reader.
    drop(running.lines);
    let deadline = Instant::now() + support::PATIENCE;
    let status = loop {
        support::drops::flood(1);
        if let Some(status) = running.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it goes on");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{status}");
    let mut errors = String::new();
    let stderr = running.child.stderr.as_mut().unwrap();
    stderr.read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
}

#[test]
fn what_is_not_there_is_said() {
    let output = watch(&["--backend", "pcap"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("there are auto, ebpf, perf and netlink"),
        "{output:?}"
    );
    let output = watch(&["--help"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("--snaplen"));
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn what_is_queued_at_the_end_is_shown_or_counted() {
    let netns = support::netns::NetNs::new();
    let mut running = Running::start(&["--json"]);
    let sent = 10_000;
    // Nobody reads meanwhile.
    netns.run(move || support::drops::flood(sent));
    support::run("kill", &[&running.child.id().to_string()]);
    let of_netns = |line: &String| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["netns"]["inode"] == netns.inode
    };
    let lines = running.lines.by_ref().map(Result::unwrap);
    let shown = lines.filter(of_netns).count();
    let output = running.child.wait_with_output().unwrap();
    let summary = text(&output.stderr);
    assert!(output.status.success(), "{summary}");
    let (_, lost) = summary.rsplit_once(" shown, ").unwrap();
    let (lost, _) = lost.split_once(' ').unwrap();
    let missing = sent - shown;
    // Other drops of the machine may be among the lost.
    assert!(
        missing <= lost.parse().unwrap(),
        "{missing} missing: {summary}"
    );
}

/// One that sees drops already.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(support::example("watch"))
            .arg("--demo")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        Self { child, lines }
    }
}

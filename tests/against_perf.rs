//! The monitor and perf watch the same drops: event by event they must say the same.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{DropEvent, Monitor};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use support::{drain, drops::Lab, monotonic_ns};

/// What both can say of a drop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Drop {
    skb_address: u64,
    /// `symbol+0xoffset`.
    location: String,
    protocol: u16,
    reason: String,
}

impl Drop {
    fn of(event: &DropEvent) -> Self {
        let symbol = event.location.symbol.as_ref().expect("root sees symbols");
        Self {
            skb_address: event.skb_address.unwrap(),
            location: format!("{}+{:#x}", symbol.name, symbol.offset),
            protocol: event.protocol.map_or(0, |protocol| protocol.0),
            reason: event.reason.as_ref().unwrap().to_string(),
        }
    }

    /// From a line of `perf script -F time,trace`, with the time in nanoseconds.
    fn parse(line: &str) -> Option<(u64, Self)> {
        let (time, trace) = line.trim().split_once(": ")?;
        let (seconds, nanoseconds) = time.split_once('.')?;
        let time = seconds.trim().parse::<u64>().ok()? * 1_000_000_000
            + nanoseconds.parse::<u64>().ok()?;
        let mut fields = BTreeMap::new();
        let mut words = trace.split_whitespace().peekable();
        while let Some(word) = words.next() {
            if let Some((name, value)) = word.split_once('=') {
                fields.insert(name, value);
            } else if word == "reason:" {
                fields.insert("reason", words.next()?);
            }
        }
        Some((
            time,
            Self {
                skb_address: u64::from_str_radix(fields.get("skbaddr")?.strip_prefix("0x")?, 16)
                    .ok()?,
                location: (*fields.get("location")?).to_owned(),
                protocol: fields.get("protocol")?.parse().ok()?,
                reason: (*fields.get("reason")?).to_owned(),
            },
        ))
    }
}

/// A `perf record` of the tracepoint on all CPUs.
struct Perf {
    child: Child,
    file: PathBuf,
}

impl Perf {
    /// Starts it; from the return on it sees all.
    fn start(file: &Path) -> Self {
        // perf starts the command after its events.
        let mut child = Command::new("perf")
            .args([
                "record",
                "-q",
                "-a",
                "-e",
                "skb:kfree_skb",
                "-k",
                "CLOCK_MONOTONIC",
                "-o",
            ])
            .arg(file)
            .args(["--", "sh", "-c", "echo ready; read line || true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perf is installed: cargo xtask test");
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut ready)
            .unwrap();
        assert_eq!(ready, "ready\n", "perf did not start: is tracefs mounted?");
        Self {
            child,
            file: file.to_owned(),
        }
    }

    /// Ends it and reads what it saw, with times.
    fn stop(mut self) -> Vec<(u64, Drop)> {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        let output = Command::new("perf")
            .args(["script", "--ns", "-F", "time,trace", "-i"])
            .arg(&self.file)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("LOST"), "{text}");
        text.lines()
            .map(|line| Drop::parse(line).unwrap_or_else(|| panic!("perf said: {line}")))
            .collect()
    }
}

#[test]
#[ignore = "needs root and perf: cargo xtask test"]
fn monitor_and_perf_agree_on_every_drop() {
    let folder = std::env::temp_dir().join(format!("skbdrop-perf-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let lab = Lab::new();
    let mut monitor = Monitor::builder().build().unwrap();
    let perf = Perf::start(&folder.join("perf.data"));

    let start = monotonic_ns();
    let made = lab.make_all();
    let end = monotonic_ns();

    let theirs = perf.stop();
    let ours = drain(&mut monitor);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(monitor.stats().unwrap().lost, 0);

    let window = start..=end;
    let mut theirs: Vec<Drop> = theirs
        .into_iter()
        .filter(|(time, _)| window.contains(time))
        .map(|(_, drop)| drop)
        .collect();
    let mut ours: Vec<Drop> = ours
        .iter()
        .filter(|event| window.contains(&event.timestamp_ns))
        .map(Drop::of)
        .collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);

    let reasons: BTreeSet<&str> = ours.iter().map(|drop| drop.reason.as_str()).collect();
    println!(
        "{} drops of {} reasons, no difference: {reasons:?}",
        ours.len(),
        reasons.len()
    );
    for made in &made {
        assert!(reasons.contains(made.reason), "{made:?} was not seen");
    }
    assert!(reasons.len() >= 8, "{reasons:?}");
    let locations: BTreeSet<&str> = ours
        .iter()
        .map(|drop| drop.location.split('+').next().unwrap())
        .collect();
    for function in ["tcp_v4_rcv", "tcp_v6_rcv"] {
        assert!(locations.contains(function), "{locations:?}");
    }
}

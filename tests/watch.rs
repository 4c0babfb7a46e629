//! `examples/watch` as a person or a script runs it.
#![allow(clippy::unwrap_used)] // tests panic

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

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
fn a_reader_that_leaves_ends_it() {
    let program = support::example("watch");
    let line = format!("{} --demo | head -n 1", program.display());
    let output = Command::new("timeout")
        .args(["30", "sh", "-c", &line])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn what_is_not_there_is_said() {
    let output = watch(&["--backend", "pcap"]);
    assert!(!output.status.success());
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
    let program = support::example("watch");
    // A reader that is slower than the drops.
    let line = format!(
        "{} --json --seconds 2 2>summary | (sleep 1; cat) | grep -c '\"netns\":{{\"inode\":{}[,}}]'",
        program.display(),
        netns.inode
    );
    let folder = std::env::temp_dir().join(format!("skbdrop-watch-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let watching = Command::new("sh")
        .args(["-c", &line])
        .current_dir(&folder)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let sent = 10_000;
    netns.run(move || support::drops::flood(sent));
    let output = watching.wait_with_output().unwrap();
    let summary = std::fs::read_to_string(folder.join("summary")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let shown: usize = text(&output.stdout).trim().parse().unwrap();
    let lost = summary
        .rsplit(" shown, ")
        .next()
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(shown + lost.parse::<usize>().unwrap(), sent, "{summary}");
}

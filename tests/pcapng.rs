//! `examples/pcapng`, read by tshark.
#![allow(clippy::unwrap_used)] // tests panic

use std::{
    io::Read as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
};
use support::{drops::Lab, netns::NetNs};

/// A running one, which sees drops already.
fn start(arguments: &[&str]) -> Child {
    let mut child = Command::new(support::example("pcapng"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The file's head is written when the monitor is open; it begins with a section's.
    let mut head = [0; 4];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut head)
        .unwrap();
    assert_eq!(head, 0x0a0d_0d0a_u32.to_ne_bytes());
    child
}

/// Ends it; the whole file.
fn finish(child: Child) -> Vec<u8> {
    support::run("kill", &[&child.id().to_string()]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    [&0x0a0d_0d0a_u32.to_ne_bytes()[..], &output.stdout].concat()
}

/// What tshark says of fields of the packets that a filter picks, a packet an element.
fn tshark(file: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let output = Command::new("tshark")
        .args(["-n", "-r", file.to_str().unwrap(), "-Y", filter])
        .args(["-T", "fields"])
        .args(fields)
        .output()
        .expect("tshark is there: cargo xtask test installs it");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let packet = |line: &str| line.split('\t').map(str::to_owned).collect();
    text.lines().map(packet).collect()
}

/// A file that goes with this value.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("skbdrop-{name}-{}.pcapng", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
#[ignore = "needs root, ip, nft, tc and tshark: cargo xtask test"]
fn wireshark_finds_each_drop_with_its_reason() {
    let lab = Lab::new();
    let running = start(&["--snaplen", "200"]);
    let made = lab.make_all();
    let file = File::new("lab", &finish(running));
    let packets = tshark(&file.0, "frame.comment", &["frame.comment", "eth.type"]);
    for made in made {
        let (why, at) = (
            format!("{} at ", made.reason),
            format!("netns {},", made.netns),
        );
        let protocol = format!("0x{:04x}", made.protocol);
        let found: Vec<&str> = packets
            .iter()
            .filter(|packet| packet[1] == protocol)
            .map(|packet| packet[0].as_str())
            .filter(|comment| comment.starts_with(&why) && comment.contains(&at))
            .collect();
        assert!(found.len() >= made.count, "{}: {packets:#?}", made.kind);
        let meaning = skbdrop::explain(made.reason).unwrap().meaning();
        for comment in found {
            let (_, told) = comment.split_once(": ").unwrap();
            assert!(meaning.starts_with(told), "{comment}");
        }
    }
}

#[test]
#[ignore = "needs root and tshark: cargo xtask test"]
fn ports_interfaces_lengths_and_times_are_the_packets() {
    let netns = NetNs::new();
    let before = std::time::SystemTime::now();
    let running = start(&["--snaplen", "60"]);
    netns.run(|| support::drops::flood(5));
    let after = std::time::SystemTime::now();
    let file = File::new("flood", &finish(running));
    let filter = format!("frame.comment contains \"netns {},\"", netns.inode);
    let fields = [
        "udp.dstport",
        "ip.dst",
        "frame.interface_name",
        "frame.interface_description",
        "frame.len",
        "frame.cap_len",
        "frame.time_epoch",
    ];
    let packets = tshark(&file.0, &filter, &fields);
    assert_eq!(packets.len(), 5, "{packets:?}");
    let port = support::drops::CLOSED.to_string();
    let netns = format!("in network namespace {}", netns.inode);
    for packet in packets {
        // Ethernet, IPv4, UDP and 32 bytes.
        assert_eq!(
            packet[..6],
            [&port, "127.0.0.1", "lo", &netns, "74", "60"],
            "{packet:?}"
        );
        let time: f64 = packet[6].parse().unwrap();
        let seconds = |time: std::time::SystemTime| {
            let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH);
            since.unwrap().as_secs_f64()
        };
        // The two clocks are compared when an event is read.
        assert!(
            (seconds(before) - 0.1..seconds(after) + 0.1).contains(&time),
            "{packet:?}"
        );
    }
}

#[test]
#[ignore = "needs root, tracefs and tshark: cargo xtask test"]
fn a_backend_without_packets_has_comments() {
    let netns = NetNs::new();
    let running = start(&["--backend", "perf"]);
    netns.run(|| support::drops::flood(5));
    let file = File::new("perf", &finish(running));
    let filter = "frame.comment contains \"NO_SOCKET at __udp4_lib_rcv\"";
    let packets = tshark(&file.0, filter, &["frame.cap_len"]);
    assert!(packets.len() >= 5, "{packets:?}");
    assert!(packets.iter().all(|packet| packet[0] == "0"), "{packets:?}");
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_reader_that_leaves_ends_it() {
    let mut child = start(&["--demo"]);
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(String::from_utf8(stderr).unwrap(), "");
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_full_disk_is_told() {
    let output = Command::new(support::example("pcapng"))
        .args(["/dev/full", "--demo"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    let told = "pcapng: cannot write `/dev/full`: No space left on device";
    assert!(errors.starts_with(told), "{errors}");
}

#[test]
fn what_is_not_there_is_said() {
    let folder = std::env::temp_dir().join("skbdrop-nowhere/x.pcapng");
    let output = Command::new(support::example("pcapng"))
        .arg(&folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.starts_with("pcapng: cannot create `"), "{errors}");
}

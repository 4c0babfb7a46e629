//! `examples/reason` as a person runs it, on files and on the running kernel.
#![allow(clippy::unwrap_used)] // tests panic

use std::{fs, path::PathBuf, process::Command};
use support::btf::Encoder;

/// Whether it succeeded, and what it said.
fn reason(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(support::example("reason"))
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn kernel(name: &str, reasons: &[(&str, u32)]) -> PathBuf {
    let mut btf = Encoder::new();
    btf.enumeration("skb_drop_reason", reasons);
    let path = std::env::temp_dir().join(format!("skbdrop-reason-{}-{name}", std::process::id()));
    fs::write(&path, btf.finish()).unwrap();
    path
}

#[test]
fn numbers_and_names_of_another_kernel() {
    let path = kernel(
        "names",
        &[("SKB_DROP_REASON_NO_SOCKET", 7), ("SKB_DROP_REASON_X", 9)],
    );
    let file = path.to_str().unwrap();
    let by = format!("7  NO_SOCKET\n   by the BTF in `{file}`\n");
    for asked in [
        "7",
        "0x7",
        "NO_SOCKET",
        "no_socket",
        "SKB_DROP_REASON_NO_SOCKET",
    ] {
        let (ok, text) = reason(&["--btf", file, asked]);
        assert!(ok && text.starts_with(&by), "{asked}: {text}");
        for part in ["   means: ", "   causes: ", "   look at: ss -"] {
            assert!(text.contains(part), "{text}");
        }
    }
    let (ok, text) = reason(&["--btf", file, "8"]);
    assert!(ok && text.contains("8  has no name"), "{text}");
    let (ok, text) = reason(&["--btf", file, "SOCKET"]);
    assert!(!ok && text.contains("it has NO_SOCKET"), "{text}");
    let (ok, text) = reason(&["--vmlinux", file, "--list"]);
    assert!(ok && text == "       7  NO_SOCKET\n       9  X\n", "{text}");
    fs::remove_file(path).unwrap();
}

#[test]
fn what_moved_came_and_went() {
    let old = kernel(
        "old",
        &[
            ("SKB_DROP_REASON_A", 1),
            ("SKB_DROP_REASON_B", 2),
            ("SKB_DROP_REASON_C", 3),
        ],
    );
    let new = kernel(
        "new",
        &[
            ("SKB_DROP_REASON_A", 1),
            ("SKB_DROP_REASON_D", 2),
            ("SKB_DROP_REASON_B", 3),
        ],
    );
    let (ok, text) = reason(&["--diff", old.to_str().unwrap(), new.to_str().unwrap()]);
    assert!(ok);
    assert_eq!(text, "moved  B  2 -> 3\nwent   C  3\ncame   D  2\n");
    let (ok, text) = reason(&["--diff", old.to_str().unwrap(), old.to_str().unwrap()]);
    assert!(ok && text.starts_with("the same reasons"), "{text}");
    for path in [old, new] {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_running_kernel() {
    let (ok, list) = reason(&["--list"]);
    assert!(ok && list.contains("NO_SOCKET"), "{list}");
    let (ok, text) = reason(&["--diff", "running", "/sys/kernel/btf/vmlinux"]);
    assert!(ok, "{text}");
    assert!(!text.contains("moved") && !text.contains("came"), "{text}");
    let (ok, text) = reason(&["no_socket"]);
    assert!(ok && text.contains("/sys/kernel/btf/vmlinux"), "{text}");
}

#[test]
fn mistakes_are_told() {
    for (arguments, expected) in [
        (&[][..], "a number or a name is missing"),
        (&["--btf", "/nonexistent", "3"], "/nonexistent"),
        (&["--btf", "/proc/self/status", "3"], "not BTF"),
        (&["--format", "/proc/self/status", "3"], "not the `format`"),
        (&["--diff", "running"], "missing argument"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let (ok, text) = reason(arguments);
        assert!(!ok && text.contains(expected), "{arguments:?}: {text}");
    }
}

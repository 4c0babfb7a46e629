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
    let (ok, text) = reason(&["--btf", file, "7", "SOCKET"]);
    assert!(
        !ok && text.starts_with(&by) && text.contains("it has NO_SOCKET"),
        "{text}"
    );
    let (ok, text) = reason(&["--btf", file, "OVS_DROP_LAST_ACTION"]);
    assert!(
        ok && text.contains("is no reason of this kernel\n   means: "),
        "{text}"
    );
    let (ok, text) = reason(&["--vmlinux", file, "--list"]);
    assert!(ok && text == "       7  NO_SOCKET\n       9  X\n", "{text}");
    fs::remove_file(path).unwrap();
}

#[test]
fn names_that_are_another_kernels_do_not_agree() {
    let path = kernel("check", &[("SKB_DROP_REASON_NO_SOCKET", 7)]);
    let format = path.with_extension("format");
    let list =
        "name: kfree_skb\nprint fmt: \"%s\", __print_symbolic(REC->reason, { 8, \"NO_SOCKET\" })\n";
    fs::write(&format, list).unwrap();
    let (file, text) = (path.to_str().unwrap(), format.to_str().unwrap());
    let (ok, said) = reason(&["--check", "--btf", file, "--format", text]);
    assert!(
        !ok && said.contains("8 is nothing here and NO_SOCKET in print fmt"),
        "{said}"
    );
    let (ok, said) = reason(&["--check", "--btf", file, "--format", "/dev/null"]);
    assert!(!ok && said.contains("not the `format`"), "{said}");
    for path in [path, format] {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn modules_are_compared_too() {
    let fixture = |folder: &str, file: &str| {
        format!(
            "{}/fixtures/{folder}/{file}.btf",
            env!("CARGO_MANIFEST_DIR")
        )
    };
    let side = |folder| {
        format!(
            "{},{}",
            fixture(folder, "vmlinux"),
            fixture(folder, "openvswitch")
        )
    };
    let (ok, text) = reason(&[
        "--diff",
        &side("6.12.117+deb13-amd64"),
        &side("6.16.12+deb13-amd64"),
    ]);
    assert!(
        ok && text.contains("moved  OVS_DROP_LAST_ACTION  196609 -> 131073"),
        "{text}"
    );
}

#[test]
fn a_reader_that_leaves_is_no_failure_and_a_full_disk_is() {
    let example = support::example("reason");
    let run = |script: &str| {
        let status = Command::new("bash")
            .args(["-o", "pipefail", "-c", script, "bash"])
            .arg(&example)
            .status();
        status.unwrap().code()
    };
    assert_eq!(run("\"$1\" --list | true"), Some(0));
    assert_eq!(run("\"$1\" --list >/dev/full 2>&1"), Some(1));
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
    let (ok, text) = reason(&["skb_consumed"]);
    assert!(ok && text.contains("CONSUMED"), "{text}");
    let (ok, text) = reason(&["no_socket"]);
    assert!(ok && text.contains("/sys/kernel/btf/vmlinux"), "{text}");
}

#[test]
fn mistakes_are_told() {
    for (arguments, expected) in [
        (&[][..], "a number or a name is missing"),
        (&["4294967296"], "is no number of a reason"),
        (&["", "3"], "no drop reason ``"),
        (&["--list", "3"], "one thing at a time"),
        (&["--list", "--check"], "one thing at a time"),
        (&["--btf", "a", "--btf", "b", "3"], "one kernel at a time"),
        (
            &["--module", "x", "--format", "y", "3"],
            "name their kernel by `vmlinux`",
        ),
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

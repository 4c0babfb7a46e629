//! Records what the running kernel says of drop reasons, for the tests of the resolver: the argument is a
//! folder, which gets one named as `uname -r` says it. See `tests/fixtures/HOW.md`.

use std::{fs, path::Path, process::Command};

/// Where the kernel shows its BTF, and its modules' beside it.
const BTF: &str = "/sys/kernel/btf";
const FORMAT: &str = "/sys/kernel/tracing/events/skb/kfree_skb/format";

fn main() {
    let folder = std::env::args().nth(1).expect("a folder");
    let release = read("/proc/sys/kernel/osrelease");
    let folder = Path::new(&folder).join(String::from_utf8_lossy(&release).trim());
    fs::create_dir_all(&folder).expect("created");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).expect("written");

    let vmlinux = format!("{BTF}/vmlinux");
    let base = read(&vmlinux);
    let pruned = skbdrop::prune_btf(&base).expect("the kernel's BTF");
    write("vmlinux.btf", &pruned.bytes);
    let mut reasons = enumerators("vmlinux", &["btf", "dump", "file", &vmlinux]);
    for module in modules() {
        let path = format!("{BTF}/{module}");
        let pruned = skbdrop::prune_module_btf(&read(&path), &base).expect("a module's BTF");
        let said = enumerators(&module, &["-B", &vmlinux, "btf", "dump", "file", &path]);
        if !said.is_empty() {
            write(&format!("{module}.btf"), &pruned.bytes);
            reasons += &said;
        }
    }
    write("reasons.txt", reasons.as_bytes());
    write("kfree_skb.format", &read(FORMAT));
}

/// Names of the loaded modules with BTF, in order.
fn modules() -> Vec<String> {
    let entries = fs::read_dir(BTF).expect(BTF);
    let names = entries.map(|entry| entry.expect(BTF).file_name().into_string().expect("ASCII"));
    let mut names: Vec<String> = names.filter(|name| name != "vmlinux").collect();
    names.sort();
    names
}

/// What bpftool reads in the enums of drop reasons, a line each: module, enum, enumerator, number. It reads
/// the whole BTF, and knows nothing of ours.
fn enumerators(module: &str, arguments: &[&str]) -> String {
    let output = Command::new("bpftool")
        .args(arguments)
        .args(["format", "raw"])
        .output()
        .expect("bpftool");
    assert!(output.status.success(), "bpftool {arguments:?}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("ASCII");
    let mut lines = String::new();
    let mut enumeration = None;
    for line in text.lines() {
        // [7] ENUM 'name' encoding=UNSIGNED size=4 vlen=2
        // 	'enumerator' val=0
        let quoted = line.split('\'').nth(1);
        if line.starts_with('[') {
            let is_enum = line.contains("] ENUM");
            enumeration = quoted.filter(|name| {
                // More than the library looks for: an enum that it does not know fails the test.
                is_enum && name.contains("drop_reason")
            });
        } else if let Some(enumeration) = enumeration {
            let number = line.split("val=").nth(1).expect("an enumerator's number");
            let name = quoted.expect("an enumerator's name");
            // A mask in the highest bits is negative where the enum is signed.
            let number = number.parse::<i64>().expect("a number") as u32;
            lines += &format!("{module} {enumeration} {name} {number}\n");
        }
    }
    lines
}

fn read(path: &str) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

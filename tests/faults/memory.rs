//! A control group that allows little memory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use support::backends;

/// Too little for the buffer that the probe asks for, and enough for everything else.
const LIMIT: &str = "100663296";

/// A control group of our own.
struct Group(PathBuf);

impl Group {
    fn new() -> Self {
        let name = format!("skbdrop-{}", std::process::id());
        let unified = Path::new("/sys/fs/cgroup");
        let (parent, limit) = if unified.join("cgroup.controllers").exists() {
            fs::write(unified.join("cgroup.subtree_control"), "+memory").unwrap();
            (unified.to_owned(), "memory.max")
        } else {
            (unified.join("memory"), "memory.limit_in_bytes")
        };
        let group = Self(parent.join(name));
        fs::create_dir(&group.0).expect("the memory controller");
        fs::write(group.0.join(limit), LIMIT).unwrap();
        group
    }

    /// What the probe says in it.
    fn probe(&self, what: &str) -> String {
        let script = "echo $$ >\"$0\" && exec \"$@\"";
        let processes = self.0.join("cgroup.procs");
        let output = Command::new("sh")
            .args(["-ec", script])
            .arg(processes)
            .args([env!("CARGO_BIN_EXE_probe"), what])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", output.status);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
#[ignore = "needs root to make a control group: cargo xtask test"]
fn a_buffer_beyond_the_memory_that_is_allowed() {
    let group = Group::new();
    for backend in backends() {
        let name = backend.name();
        let text = group.probe(&format!("large={name}"));
        println!("{name}: {text}");
        // What the kernel charges: maps of eBPF, but not the rings of perf.
        let refused = text.contains("Cannot allocate memory") && text.contains("cannot create");
        assert!(refused || text == "ok: no event", "{text}");
        assert_eq!(refused, name == "ebpf", "{text}");
        // With the usual buffer it works within the same limit.
        let text = group.probe(&format!("event={name}"));
        assert!(text.starts_with("ok: "), "{text}");
    }
}

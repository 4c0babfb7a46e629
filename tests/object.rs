//! The committed eBPF object is the one that was built from the committed sources. That these build to it
//! again is shown by `cargo xtask ebpf --check`, which needs the BPF toolchain.
#![allow(clippy::unwrap_used)] // tests panic

use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

#[test]
fn digests_are_the_recorded_ones() {
    for (folder, package) in [
        ("skbdrop/src/backend/ebpf/object", "skbdrop-ebpf"),
        ("benches/floor", "benches/ebpf"),
    ] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let recorded = std::fs::read_to_string(root.join(folder).join("BUILD.txt")).unwrap();
        let mut checked = Vec::new();
        for line in recorded.lines() {
            let Some((digest, path)) = line
                .strip_prefix("sha256 ")
                .and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            let bytes = std::fs::read(root.join(path)).unwrap();
            let found: String = Sha256::digest(&bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(
                found, digest,
                "{path} has changed since the object was built: cargo xtask ebpf"
            );
            checked.push(root.join(path));
        }
        let mut sources = files(&root.join(package).join("src"));
        sources.push(root.join(package).join("Cargo.toml"));
        let unrecorded: Vec<_> = sources
            .iter()
            .filter(|source| !checked.contains(source))
            .collect();
        assert!(unrecorded.is_empty(), "{unrecorded:?} came since the build");
        let objects: Vec<_> = files(&root.join(folder))
            .into_iter()
            .filter(|path| path.extension().is_some_and(|name| name == "o"))
            .collect();
        assert!(!objects.is_empty(), "no object in {folder}");
        for object in objects {
            assert!(checked.contains(&object), "{object:?} is not recorded");
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

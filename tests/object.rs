//! The committed eBPF object is the one that was built from the committed sources. That these build to it
//! again is shown by `cargo xtask ebpf --check`, which needs the BPF toolchain.
#![allow(clippy::unwrap_used)] // tests panic

use sha2::{Digest as _, Sha256};
use std::path::Path;

#[test]
fn digests_are_the_recorded_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let recorded =
        std::fs::read_to_string(root.join("skbdrop/src/backend/ebpf/object/BUILD.txt")).unwrap();
    let mut checked = 0;
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
        checked += 1;
    }
    assert_eq!(checked, 4, "BUILD.txt names three sources and the object");
}

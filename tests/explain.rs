//! Every reason that a kernel names has an explanation: the recorded kernels' and the running one's.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{Resolver, explain};
use std::path::{Path, PathBuf};

#[test]
fn every_reason_of_the_recorded_kernels_is_explained() {
    let files = recorded();
    assert!(!files.is_empty(), "no `*.btf` below {FIXTURES}");
    let mut named = 0;
    let mut unexplained = Vec::new();
    for path in &files {
        let btf = std::fs::read(path).unwrap();
        let resolver = Resolver::from_btf_bytes(&btf)
            .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        named += resolver.reasons().count();
        let source = path.strip_prefix(FIXTURES).unwrap().display().to_string();
        unexplained.extend(lacking(&resolver).map(|name| format!("{name} ({source})")));
    }
    assert!(named > 0, "none of {files:?} names a reason");
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}

#[test]
fn every_reason_of_the_running_kernel_is_explained() {
    let mut resolver = Resolver::from_kernel().unwrap();
    resolver.refresh();
    assert!(resolver.reasons().count() > 5, "a kernel with reasons");
    let unexplained: Vec<_> = lacking(&resolver).collect();
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}

#[test]
fn a_reason_is_explained_by_its_name_and_one_without_is_not() {
    let resolver = Resolver::from_kernel().unwrap();
    let number = resolver.number("NO_SOCKET").unwrap();
    let explanation = resolver.reason(number).explain().unwrap();
    assert_eq!(explanation.name(), "NO_SOCKET");
    assert_eq!(Some(explanation), explain("NO_SOCKET"));
    assert_eq!(resolver.reason(u32::MAX).explain(), None);
}

/// The names that have none.
fn lacking(resolver: &Resolver) -> impl Iterator<Item = String> + '_ {
    resolver
        .reasons()
        .filter(|reason| reason.explain().is_none())
        .map(|reason| reason.to_string())
}

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

/// The `*.btf` files: a folder per kernel, a file for vmlinux and for each module.
fn recorded() -> Vec<PathBuf> {
    let mut files: Vec<_> = entries(Path::new(FIXTURES))
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| entries(&folder))
        .filter(|path| path.extension().is_some_and(|extension| extension == "btf"))
        .collect();
    files.sort();
    files
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
}

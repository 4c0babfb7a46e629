//! Every reason that a kernel names has an explanation: the recorded kernels' and the running one's.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{Resolver, explain};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

#[test]
fn every_reason_of_the_recorded_kernels_is_explained() {
    let files = recorded("btf");
    assert!(!files.is_empty(), "no `*.btf` below {FIXTURES}");
    let mut unexplained = Lacking::default();
    for file in files {
        let vmlinux = file.with_file_name("vmlinux.btf");
        let alone = Resolver::from_btf_file(&vmlinux).unwrap();
        if file == vmlinux {
            unexplained.note(&alone, &file);
            continue;
        }
        // A module's enums are read with its kernel's, which say what is a subsystem's number.
        let builder = Resolver::builder().vmlinux(&vmlinux).module(&file);
        let resolver = builder.build().unwrap();
        let more = resolver.reasons().count() > alone.reasons().count();
        assert!(more, "{} names no reason", file.display());
        unexplained.note(&resolver, &file);
    }
    // Kernels of which there is only the tracepoint's `format`.
    for file in recorded("format") {
        let text = std::fs::read_to_string(&file).unwrap();
        // Before 5.17 it lists no reasons.
        if text.contains("__print_symbolic(REC->reason") {
            unexplained.note(&Resolver::from_format(&text).unwrap(), &file);
        }
    }
    unexplained.assert_none();
}

#[test]
fn every_reason_of_the_running_kernel_is_explained() {
    let mut resolver = Resolver::from_kernel().unwrap();
    resolver.refresh();
    let mut unexplained = Lacking::default();
    unexplained.note(&resolver, Path::new("this kernel"));
    unexplained.assert_none();
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

/// Names without an explanation, and where each was read.
#[derive(Default)]
struct Lacking {
    names: BTreeMap<String, BTreeSet<PathBuf>>,
    /// How many reasons were looked up.
    checked: usize,
}

impl Lacking {
    fn note(&mut self, resolver: &Resolver, source: &Path) {
        for reason in resolver.reasons() {
            self.checked += 1;
            if reason.explain().is_none() {
                let sources = self.names.entry(reason.to_string()).or_default();
                sources.insert(source.to_owned());
            }
        }
    }

    fn assert_none(&self) {
        assert!(self.checked > 5, "only {} reasons were found", self.checked);
        assert!(
            self.names.is_empty(),
            "without explanation: {:#?}",
            self.names
        );
    }
}

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

/// The files with that extension; a folder per kernel, a file for vmlinux and for each module.
fn recorded(extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = entries(Path::new(FIXTURES))
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| entries(&folder))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
}

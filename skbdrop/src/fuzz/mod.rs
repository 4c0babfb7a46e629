//! What the fuzz targets call: a function per parser, which takes any bytes and asserts what must hold
//! whatever they are. It is not part of the API: only fuzzing (`--cfg fuzzing`) and this crate's own
//! tests have it.
//!
//! A new target is a function here or beside its parser, a line in [`TARGETS`], a file in
//! `fuzz/fuzz_targets`, and seeds in `fuzz/corpus`.

mod btf;
#[cfg(any(
    feature = "ebpf",
    feature = "perf",
    feature = "netlink",
    feature = "replay"
))]
mod events;
#[cfg(feature = "replay")]
mod filter;
mod format;
#[cfg(feature = "image")]
mod image;
mod kallsyms;
mod packet;
mod proc;
#[cfg(feature = "replay")]
mod replay;

#[cfg(feature = "netlink")]
pub use crate::backend::fuzz::netlink;
#[cfg(feature = "perf")]
pub use crate::backend::fuzz::perf;
#[cfg(feature = "ebpf")]
pub use crate::backend::fuzz::record;
#[cfg(feature = "source-lines")]
pub use crate::source_lines::fuzz::lines;
pub use btf::btf;
#[cfg(any(
    feature = "ebpf",
    feature = "perf",
    feature = "netlink",
    feature = "replay"
))]
pub(crate) use events::delivered;
#[cfg(feature = "replay")]
pub use filter::filter;
pub use format::format;
#[cfg(feature = "image")]
pub use image::image;
pub use kallsyms::kallsyms;
pub use packet::packet;
pub use proc::proc;
#[cfg(feature = "replay")]
pub use replay::replay;

/// A target's name, and what it calls.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("btf", btf),
    #[cfg(feature = "replay")]
    ("filter", filter),
    ("format", format),
    #[cfg(feature = "image")]
    ("image", image),
    ("kallsyms", kallsyms),
    #[cfg(feature = "source-lines")]
    ("lines", lines),
    #[cfg(feature = "netlink")]
    ("netlink", netlink),
    ("packet", packet),
    #[cfg(feature = "perf")]
    ("perf", perf),
    ("proc", proc),
    #[cfg(feature = "ebpf")]
    ("record", record),
    #[cfg(feature = "replay")]
    ("replay", replay),
];

/// The folders of the fuzzing crate, which the published crate is without.
#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    fn files(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz")
            .join(folder);
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        files
    }

    #[test]
    fn the_corpus_passes() {
        for (name, target) in TARGETS {
            for path in files(&format!("corpus/{name}")) {
                let data = fs::read(&path).unwrap();
                // Shown when it fails.
                println!("{}", path.display());
                target(&data);
                for end in [data.len() / 2, data.len().saturating_sub(1)] {
                    target(&data[..end]);
                }
            }
        }
    }

    #[test]
    #[cfg(all(
        feature = "ebpf",
        feature = "perf",
        feature = "netlink",
        feature = "replay",
        feature = "image",
        feature = "source-lines"
    ))]
    fn each_target_has_a_program_and_a_corpus() {
        use std::collections::BTreeSet;

        let names = |folder| -> BTreeSet<String> {
            let files = files(folder);
            let stems = files.iter().map(|path| path.file_stem().unwrap());
            stems
                .map(|stem| stem.to_str().unwrap().to_owned())
                .collect()
        };
        let targets: BTreeSet<String> =
            TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("fuzz_targets"), targets);
        assert_eq!(names("corpus"), targets);
    }
}

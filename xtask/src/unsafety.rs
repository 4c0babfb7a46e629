//! `cargo xtask unsafe`: the list of what is `unsafe` in the published crates, each with the reason that makes it sound, in the words of the
//! sources. A change of it is seen in review.

use crate::{Result, host};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The list, in the workspace.
const LIST: &str = "docs/unsafe.md";
/// The sources of the published crates.
const SOURCES: [&str; 2] = ["skbdrop/src", "skbdrop-ebpf/src"];

/// What stands before a reason, in comments of blocks and in the documentation of functions.
const SAFETY: &str = "// SAFETY: ";
const SECTION: &str = "/// # Safety";
/// What a function is called in the list.
const FUNCTION: &str = "function";

/// Writes the list.
pub(crate) fn write() -> Result {
    host::write(&host::workspace().join(LIST), list()?.as_bytes())?;
    println!("xtask: wrote {LIST}");
    Ok(())
}

/// Compares the list with the sources.
pub(crate) fn check() -> Result {
    let recorded = host::read(&host::workspace().join(LIST))?;
    if recorded != list()?.into_bytes() {
        return Err(format!(
            "`{LIST}` is not what is `unsafe` in the sources\nremedy: run `cargo xtask unsafe`, look at what has changed, and commit it"
        ));
    }
    println!("xtask: {LIST} is what the sources have");
    Ok(())
}

/// Something that is `unsafe`.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    /// The function that it is in, or the function itself.
    function: String,
    what: &'static str,
    reason: String,
}

fn list() -> Result<String> {
    let mut text = "\
        # What is `unsafe`\n\n\
        All of it in the published crates, in the order of the sources, each with the reason that stands beside it there: of a block, why it is sound; \
        of a function, what its caller has to see to. Everything else in `skbdrop` is under `#![deny(unsafe_code)]`. `cargo xtask unsafe` \
        writes this file, and `cargo xtask test` compares it.\n"
        .to_owned();
    for folder in SOURCES {
        let mut files = Vec::new();
        find(&host::workspace().join(folder), &mut files)?;
        files.sort();
        let mut rows = String::new();
        let mut count = 0;
        for file in files {
            let source = String::from_utf8_lossy(&host::read(&file)?).into_owned();
            let name = file.strip_prefix(host::workspace().join(folder));
            let name = name.unwrap_or(&file).display().to_string();
            let places = places(&source).map_err(|e| format!("`{folder}/{name}`: {e}"))?;
            count += places.len();
            for place in places {
                let reason = place.reason.replace('|', "\\|");
                rows += &format!(
                    "| `{name}` | `{}` | {} | {reason} |\n",
                    place.function, place.what
                );
            }
        }
        text += &format!(
            "\n## `{folder}`: {count}\n\n| file | function | what | reason |\n| --- | --- | --- | --- |\n{rows}"
        );
    }
    Ok(text)
}

/// All Rust files of a folder.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result {
    let failed = |e| format!("cannot read `{}`: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// What is `unsafe` in a source that rustfmt has written. Each has its reason before it, which clippy sees to for blocks.
fn places(source: &str) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    let mut function = String::new();
    let mut reason = Reason::default();
    for (number, line) in source.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("//") {
            reason.comment(line);
            continue;
        }
        reason.code(line);
        if let Some(name) = name_of(line) {
            function = name.to_owned();
        }
        for what in kinds(line) {
            // What implements a function of a trait has its contract there.
            let is_declared = |place: &Place| place.what == what && place.function == function;
            let of_trait = || {
                let is_function = what == FUNCTION && places.iter().any(is_declared);
                is_function.then(|| format!("As the trait says of its `{function}`."))
            };
            let told = reason.take().or_else(of_trait).ok_or_else(|| {
                format!(
                    "line {}: `unsafe` without a reason (`{SAFETY}…`, or `{SECTION}`)",
                    number + 1
                )
            })?;
            places.push(Place {
                function: function.clone(),
                what,
                reason: told,
            });
        }
    }
    Ok(places)
}

/// The name of the function that this line begins.
fn name_of(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_qualifier = |word: &str| {
        word.starts_with("pub") || matches!(word, "const" | "async" | "unsafe" | "extern" | "\"C\"")
    };
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    before
        .split_whitespace()
        .all(is_qualifier)
        .then(|| &after[..end])
}

/// What of this line is `unsafe`.
fn kinds(line: &str) -> impl Iterator<Item = &'static str> {
    let after = line
        .match_indices("unsafe ")
        .map(|(at, word)| &line[at + word.len()..]);
    after.filter_map(|after| match after.split([' ', '(']).next()? {
        "{" => Some("block"),
        "fn" | "extern" => Some(FUNCTION),
        "impl" => Some("implementation"),
        _ => None,
    })
}

/// The reason that was read last and goes with nothing yet.
#[derive(Debug, Default)]
struct Reason {
    words: Vec<String>,
    is_open: bool,
}

impl Reason {
    fn comment(&mut self, line: &str) {
        if let Some(text) = line.strip_prefix(SAFETY) {
            self.words = vec![text.to_owned()];
            self.is_open = true;
        } else if line == SECTION {
            self.words = Vec::new();
            self.is_open = true;
        } else if self.is_open {
            let text = line.trim_start_matches('/').trim();
            self.words
                .extend((!text.is_empty()).then(|| text.to_owned()));
        }
    }

    fn code(&mut self, line: &str) {
        // Between a function and its documentation there may be attributes.
        if !line.starts_with("#[") {
            self.is_open = false;
        }
    }

    fn take(&mut self) -> Option<String> {
        let words = std::mem::take(&mut self.words);
        (!words.is_empty()).then(|| words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str, what: &'static str, reason: &str) -> Place {
        Place {
            function: function.to_owned(),
            what,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn each_unsafe_is_found_with_its_reason() {
        let source = "\
//! Nothing here is unsafe { } at all.

/// Reads.
///
/// # Safety
///
/// The pointer is good,
/// and stays so.
#[inline(always)]
pub(crate) unsafe fn read(from: *const u8) -> u8 {
    let text = \"an unsafe word\";
    // SAFETY: as the caller
    // promised.
    unsafe { from.read() }
}

// SAFETY: it is a plain number.
unsafe impl Send for Number {}

impl Number {
    const fn get<T>(&self) -> u8 {
        // SAFETY: it is ours.
        let Some(a) = (unsafe { self.0.as_ref() }) else {
            return 0;
        };
        *a
    }
}
";
        assert_eq!(
            places(source).as_deref(),
            Ok(&[
                place("read", "function", "The pointer is good, and stays so."),
                place("read", "block", "as the caller promised."),
                place("read", "implementation", "it is a plain number."),
                place("get", "block", "it is ours."),
            ][..])
        );
    }

    #[test]
    fn a_traits_function_has_its_reason_there() {
        let source = "trait T {\n    /// # Safety\n    ///\n    /// Fine.\n    unsafe fn f();\n}\n\
            impl T for u8 {\n    unsafe fn f() {}\n}\n";
        let of_trait = "As the trait says of its `f`.";
        assert_eq!(
            places(source).as_deref(),
            Ok(&[
                place("f", "function", "Fine."),
                place("f", "function", of_trait)
            ][..])
        );
        assert!(places("impl T for u8 {\n    unsafe fn f() {}\n}\n").is_err());
    }

    #[test]
    fn one_without_a_reason_is_told() {
        let source =
            "fn f() {\n    // SAFETY: fine.\n    unsafe { a() };\n    unsafe { b() };\n}\n";
        let error = places(source).unwrap_err();
        assert!(error.starts_with("line 4: "), "{error}");
    }
}

//! `cargo xtask api`: the list of what the library makes public. A change of it is seen in review, and is never an accident.

use crate::{
    Result,
    host::{self, run},
    test::cargo,
};
use std::{collections::BTreeSet, path::PathBuf};

/// Writes the list.
pub(crate) fn write() -> Result {
    let path = list();
    host::write(&path, public()?.as_bytes())?;
    println!("xtask: wrote {}", path.display());
    Ok(())
}

/// Compares the list with what is public.
pub(crate) fn check() -> Result {
    let path = list();
    let recorded = String::from_utf8_lossy(&host::read(&path)?).into_owned();
    let public = public()?;
    let difference = difference(&recorded, &public);
    if difference.is_empty() {
        println!(
            "xtask: {} lines of {} are what is public",
            public.lines().count(),
            path.display()
        );
        return Ok(());
    }
    Err(format!(
        "what is public is not what {} lists\n{difference}\
         remedy: if this is meant, run `cargo xtask api`, commit the list and say so in CHANGELOG.md",
        path.display()
    ))
}

fn list() -> PathBuf {
    host::workspace().join("skbdrop/public-api.txt")
}

/// An item a line, with all features.
fn public() -> Result<String> {
    let target = host::workspace().join("target/api");
    run(cargo(&[
        "rustdoc",
        "--quiet",
        "-p",
        "skbdrop",
        "--all-features",
        "--lib",
    ])
    .arg("--target-dir")
    .arg(&target)
    .args([
        "--",
        "-Z",
        "unstable-options",
        "--output-format",
        "json",
        "--cap-lints",
        "allow",
    ])
    // The JSON is not stable yet.
    .env("RUSTC_BOOTSTRAP", "1"))?;
    let json = target.join("doc/skbdrop.json");
    let api = public_api::Builder::from_rustdoc_json(&json)
        // What the compiler derives from the rest; a test asserts what is promised of it.
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .map_err(|e| {
            format!(
                "cannot read `{}`: {e} (its format is that of the Rust that wrote it: needs one that `public-api` in xtask/Cargo.toml reads)",
                json.display()
            )
        })?;
    Ok(api.to_string())
}

/// Lines that went and lines that came.
fn difference(recorded: &str, public: &str) -> String {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) =
        (recorded.lines().collect(), public.lines().collect());
    let gone = old.difference(&new).map(|line| format!("- {line}\n"));
    let came = new.difference(&old).map(|line| format!("+ {line}\n"));
    gone.chain(came).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_and_what_came() {
        assert_eq!(difference("a\nb\n", "b\nc\n"), "- a\n+ c\n");
        assert_eq!(difference("a\nb\n", "a\nb\n"), "");
    }
}

//! The crate of live tests, built without shared libraries for a guest that has none.

use crate::{Result, architecture::Architecture, host, test::cargo};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// A built program of the tests' crate.
#[derive(Debug, PartialEq)]
pub(crate) struct Executable {
    pub(crate) name: String,
    /// A test, or a program that tests call.
    pub(crate) is_test: bool,
    pub(crate) path: PathBuf,
}

/// Builds the crate's tests and programs.
pub(crate) fn build(architecture: &Architecture) -> Result<Vec<Executable>> {
    build_by(&["test", "--no-run"], architecture)
}

/// Builds one of its programs, and gives the path.
pub(crate) fn build_program(name: &str, architecture: &Architecture) -> Result<PathBuf> {
    let built = build_by(&["build", "--bin", name], architecture)?;
    let program = built.into_iter().find(|executable| executable.name == name);
    Ok(program
        .ok_or_else(|| format!("no program `{name}` was built"))?
        .path)
}

fn build_by(arguments: &[&str], architecture: &Architecture) -> Result<Vec<Executable>> {
    // A folder of its own, for the other flags would have everything built anew each time.
    let target = host::workspace().join("target/static");
    let mut command: Command = cargo(arguments);
    command
        .args(["--quiet", "-p", "skbdrop-tests"])
        .args(["--message-format=json-render-diagnostics"])
        .args(["--target", architecture.target, "--target-dir"])
        .arg(target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // A guest's memory holds it all; the places of panics are told without it.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        // An emulated processor is slow: the tests are three to six times faster for it.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "2")
        .stderr(Stdio::inherit());
    if !architecture.is_own() {
        host::need(&architecture.compiler)?;
        host::rust_target(architecture.target)?;
        let target = architecture.target.to_uppercase().replace('-', "_");
        let (linker, _) = architecture.compiler[0];
        command.env(format!("CARGO_TARGET_{target}_LINKER"), linker);
    }
    let output = command
        .output()
        .map_err(|e| format!("cannot start `cargo`: {e}"))?;
    if !output.status.success() {
        return Err(format!("the tests do not build: {}", output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(parse).collect())
}

/// An executable in a line of cargo's messages. They are JSON without blanks, and what is looked for
/// in them, names and paths of the workspace, has nothing in it that JSON escapes.
fn parse(message: &str) -> Option<Executable> {
    let after = |text: &'_ str, key: &str| {
        let at = text.find(key)? + key.len();
        Some(text[at..].to_owned())
    };
    let value = |text: &str| text.split('"').next().unwrap_or_default().to_owned();
    let target = after(message, "\"target\":{\"kind\":[\"")?;
    // The library's unit tests are not for a guest.
    let kind = value(&target);
    if kind != "test" && kind != "bin" {
        return None;
    }
    Some(Executable {
        name: value(&after(&target, "\"name\":\"")?),
        is_test: kind == "test",
        path: value(&after(message, "\"executable\":\"")?).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_programs_are_taken_from_the_messages() {
        let message = |kind: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"path+file:///x#skbdrop-tests@0.1.0","target":{{"kind":["{kind}"],"crate_types":["bin"],"name":"live","src_path":"/x/live.rs","test":true}},"features":[],"executable":{executable},"fresh":true}}"#
            )
        };
        let live = |is_test| Executable {
            name: "live".to_owned(),
            is_test,
            path: "/t/live-d0".into(),
        };
        assert_eq!(parse(&message("test", "\"/t/live-d0\"")), Some(live(true)));
        assert_eq!(parse(&message("bin", "\"/t/live-d0\"")), Some(live(false)));
        assert_eq!(parse(&message("lib", "\"/t/live-d0\"")), None);
        assert_eq!(parse(&message("test", "null")), None);
        assert_eq!(parse(r#"{"reason":"build-finished","success":true}"#), None);
    }
}

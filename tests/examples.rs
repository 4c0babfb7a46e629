//! What holds for each of the examples, and those that need no kernel, as a script runs them.
#![allow(clippy::unwrap_used)] // tests panic

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Instant,
};

/// Runs an example with its output going there.
fn run(name: &str, arguments: &[&str], output: impl Into<Stdio>) -> Output {
    Command::new(support::example(name))
        .args(arguments)
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap()
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe whose reader has left.
fn closed_pipe() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

fn recording() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../skbdrop/fuzz/corpus/replay/hand");
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_cannot_be_written_is_told() {
    for (name, arguments) in [("doctor", vec![]), ("replay", vec![recording()])] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run(name, &arguments, full());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        let told = format!("{name}: cannot write to standard output: ");
        assert!(errors.starts_with(&told), "{errors}");
    }
}

#[test]
fn a_reader_that_left_is_no_error() {
    let output = run("replay", &[&recording()], closed_pipe());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
    let output = run("doctor", &[], closed_pipe());
    assert_eq!(output.stderr, b"");
}

/// All that the manifest has.
fn names() -> Vec<String> {
    let manifest = std::fs::read_to_string(examples().join("Cargo.toml")).unwrap();
    let sections = manifest.split("[[example]]").skip(1);
    let name = |section: &str| section.split('"').nth(1).unwrap().to_owned();
    let names: Vec<String> = sections.map(name).collect();
    assert!(names.len() >= 8, "{names:?}");
    names
}

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

#[test]
fn each_has_help_and_a_line_in_the_table() {
    let table = std::fs::read_to_string(examples().join("README.md")).unwrap();
    for name in names() {
        let output = run(&name, &["--help"], Stdio::piped());
        assert!(output.status.success(), "{output:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.starts_with(&format!("{name}: ")), "{help}");
        assert_eq!(output.stderr, b"");
        // Who has seen enough of it is no error either.
        let output = run(&name, &["--help"], closed_pipe());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stderr, b"");
        assert!(table.contains(&format!("\n| `{name}` | ")), "no `{name}`");
    }
}

#[test]
fn each_refuses_options_that_it_has_not() {
    for name in names() {
        let output = run(&name, &["--nonsense"], Stdio::piped());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(output.stdout, b"");
        let errors = String::from_utf8(output.stderr).unwrap();
        let told = format!("{name}: invalid option '--nonsense' (see {name} --help)\n");
        assert_eq!(errors, told);
    }
}

#[test]
fn the_recording_and_the_foreign_backend_play() {
    let recording = examples().join("drops.jsonl");
    let output = run("replay", &[recording.to_str().unwrap()], Stdio::piped());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text.matches(" NETFILTER_DROP at nft_do_chain+").count(),
        5,
        "{text}"
    );
    let output = run("custom_backend", &[], Stdio::piped());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(" TCP_CSUM at ") && text.ends_with("\n1 could not be decoded\n"),
        "{text}"
    );
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_recording_that_is_interrupted_is_whole() {
    let path = std::env::temp_dir().join(format!("skbdrop-{}.jsonl", std::process::id()));
    let file = path.to_str().unwrap();
    let recorder = Command::new(support::example("replay"))
        .args(["--record", file, "1000000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + support::PATIENCE;
    while std::fs::metadata(file).map_or(0, |file| file.len()) == 0 {
        assert!(Instant::now() < deadline, "nothing is recorded");
        support::drops::flood(10);
    }
    support::run("kill", &["-INT", &recorder.id().to_string()]);
    let Output { status, stderr, .. } = recorder.wait_with_output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{told}");
    let output = run("replay", &[file], Stdio::piped());
    std::fs::remove_file(file).unwrap();
    let played = String::from_utf8(output.stdout).unwrap().lines().count();
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(told, format!("replay: {played} drops in `{file}`\n"));
}

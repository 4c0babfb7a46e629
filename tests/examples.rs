//! `examples/doctor` and `examples/replay` as a script runs them: where their output goes nowhere.
#![allow(clippy::unwrap_used)] // tests panic

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Output, Stdio},
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

#[test]
fn doctor_refuses_arguments() {
    let output = run("doctor", &["--backend"], Stdio::piped());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(output.stdout, b"");
    assert!(
        output
            .stderr
            .starts_with(b"doctor: invalid option '--backend'"),
        "{output:?}"
    );
}

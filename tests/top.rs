//! `examples/top` on a terminal.
#![allow(clippy::unwrap_used)] // tests panic

use std::process::{Command, Stdio};
use support::terminal::Terminal;

/// What leaves the screen that the shell's text is not on.
const LEAVE: &str = "\x1b[?1049l";

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn drops_are_shown_and_q_quits() {
    let mut top = Terminal::start(&support::example("top"), "--demo", &[]);
    top.wait_for("NO_SOCKET");
    top.wait_for("__udp4_lib_rcv");
    top.press("\r");
    top.wait_for("PACKETS");
    top.press("\x1b");
    top.press("q");
    let (status, shown) = top.end();
    assert!(status.success(), "{status}: {shown}");
    assert!(shown.contains(LEAVE), "{shown}");
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn signals_leave_the_terminal_as_it_was() {
    for signal in ["TERM", "INT"] {
        let mut top = Terminal::start(&support::example("top"), "", &[]);
        top.wait_for("REASON");
        top.signal(signal);
        let (status, shown) = top.end();
        assert!(status.success(), "{signal}: {status}: {shown}");
        assert!(shown.contains(LEAVE), "{signal}: {shown}");
    }
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn control_c_quits() {
    let mut top = Terminal::start(&support::example("top"), "", &[]);
    top.wait_for("REASON");
    top.press("\x03");
    let (status, shown) = top.end();
    assert!(status.success() && shown.contains(LEAVE), "{shown}");
}

#[test]
fn it_takes_a_terminal() {
    let output = Command::new(support::example("top"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("takes a terminal"), "{errors}");
}
